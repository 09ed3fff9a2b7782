"""Lifecycle hooks: commands, HTTP requests and sleeps after a start and before a stop (core/v1 Lifecycle)."""

import asyncio
from collections.abc import Sequence
from typing import Literal

import aiohttp

from pykubelet.api.core import Container, HTTPGetAction, LifecycleHandler, Pod
from pykubelet.api.http_action import action_headers, action_url
from pykubelet.api.podinfo import pod_ref
from pykubelet.base.clock import Clock
from pykubelet.base.gotext import go_list, go_quote
from pykubelet.base.http_get import PLAIN_ANSWER, Get, answered_in_plain, failure, make_session
from pykubelet.base.journal import Events, Journal, PodRef
from pykubelet.base.lookup import Lookups
from pykubelet.base.metrics import Metrics
from pykubelet.cri.door import RuntimeService
from pykubelet.cri.errors import CriError

_USER_AGENT = "kube-lifecycle/1.36"
_CONNECT_TIMEOUT = 30.0
#: Bytes of a command's output that its error tells.
_OUTPUT_LIMIT = 10 * 1024


class HookError(Exception):
    """A hook failed; the text goes to the container's status.

    *brief* is for the journal: without what the command or the server said, which may be secret.
    """

    def __init__(self, text: str, brief: str) -> None:
        super().__init__(text)
        self.brief = brief


class Hooks:
    """Runs the hooks of containers."""

    def __init__(
        self, runtime: RuntimeService, clock: Clock, journal: Journal, events: Events, metrics: Metrics
    ) -> None:
        self._runtime = runtime
        self._clock = clock
        self._journal = journal
        self._events = events
        self._lookups = Lookups()
        self._fallbacks = metrics.counter(
            "kubelet_lifecycle_handler_http_fallbacks_total",
            "The number of times lifecycle handlers successfully fell back to http from https.",
        )
        self._cut_sleeps = metrics.counter(
            "kubelet_sleep_action_terminated_early_total",
            "The number of times lifecycle sleep handler got terminated before it finishes",
        )

    async def run(
        self,
        pod: Pod,
        container: Container,
        container_id: str,
        which: Literal["postStart", "preStop"],
        hook: LifecycleHandler,
        ips: Sequence[str],
    ) -> None:
        """Run one hook, however long it takes; cancel it to bound it.

        :raises HookError: it failed.
        """
        began, how, problem = self._clock.monotonic(), "was cut short", ""
        try:
            await self._run(pod, container, container_id, hook, ips)
            how = "ended"
        except HookError as error:
            how, problem = "failed", error.brief
            raise
        finally:
            self._journal.record(
                "Hook",
                f"the {which} hook of {container.name} {how}",
                pod=pod_ref(pod),
                container=container.name,
                cause=problem,
                seconds=round(self._clock.monotonic() - began, 3),
            )

    async def _run(
        self,
        pod: Pod,
        container: Container,
        container_id: str,
        hook: LifecycleHandler,
        ips: Sequence[str],
    ) -> None:
        ref = pod_ref(pod)
        where = f'for Container "{container.name}" in Pod "{ref}" failed - error:'
        if hook.exec is not None:
            await self._exec(container_id, hook.exec.command, where)
        elif hook.httpGet is not None:
            try:
                await self._http(ref, container, hook.httpGet, ips)
            except ValueError as error:
                text = f"HTTP lifecycle hook ({hook.httpGet.path}) {where} {error}"
                raise HookError(text, "there was no answer to its request") from error
        elif hook.sleep is not None:
            await self._sleep(hook.sleep.seconds)
        else:
            # A TCP socket was never a hook that does anything.
            kind = "tcpSocket" if hook.tcpSocket is not None else "none"
            text = f"invalid handler: {kind}"
            raise HookError(f"Cannot run handler: {text}", text)

    async def _exec(self, container_id: str, command: Sequence[str], where: str) -> None:
        title = f"Exec lifecycle hook ({go_list(command)}) {where}"
        try:
            result = await self._runtime.exec_sync(container_id, command, 0)
        except CriError as error:
            text = f'{title} {error}, message: ""'
            raise HookError(text, f"the runtime could not run its command ({error.code.name})") from error
        if result.exit_code:
            stderr = result.stderr[:_OUTPUT_LIMIT].decode(errors="replace")
            output = go_quote((result.stdout + result.stderr)[:_OUTPUT_LIMIT].decode(errors="replace"))
            said = f"command '{' '.join(command)}' exited with {result.exit_code}: {stderr}"
            raise HookError(
                f"{title} {said}, message: {output}", f"its command exited with {result.exit_code}"
            )

    async def _sleep(self, seconds: int) -> None:
        try:
            await self._clock.sleep(seconds)
        except asyncio.CancelledError:
            self._cut_sleeps.inc()
            raise

    async def _http(
        self, ref: PodRef, container: Container, action: HTTPGetAction, ips: Sequence[str]
    ) -> None:
        """GET; any answer is good.

        :raises ValueError: there was none; in the words of Go's client.
        """
        if not action.host and not ips:
            raise ValueError("failed to find networking container: the pod has no IP")
        url = action_url(action, container, ips[0] if ips else "")
        headers, skip = action_headers(action, _USER_AGENT)
        # A session of its own: nothing of a hook's connection outlives it.
        async with make_session(self._lookups, connect_timeout=_CONNECT_TIMEOUT) as session:
            try:
                await Get(session, url, headers, skip, 0).answer(None)
            except (aiohttp.ClientError, OSError, ValueError) as error:
                if url.scheme != "https" or not answered_in_plain(error):
                    raise ValueError(failure(url, error)) from error
            else:
                return
            headers.popall("Authorization", None)
            plain = url.with_scheme("http").with_port(url.port)
            try:
                await Get(session, plain, headers, skip, 0).answer(None)
            except (aiohttp.ClientError, OSError, ValueError):
                # Told is what the hook asked for.
                raise ValueError(f'Get "{url}": {PLAIN_ANSWER}') from None
        self._fallbacks.inc()
        self._events.pod_event(
            ref,
            "Warning",
            "LifecycleHTTPFallback",
            f"request to HTTPS lifecycle hook {url.host_port_subcomponent} got HTTP response, "
            "retry with HTTP succeeded",
        )
