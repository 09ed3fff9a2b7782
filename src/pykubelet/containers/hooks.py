"""Lifecycle hooks: commands, HTTP requests and sleeps after a start and before a stop (core/v1 Lifecycle)."""

from collections.abc import Sequence
from urllib.parse import quote

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from pykubelet.api.core import Container, HTTPGetAction, LifecycleHandler, Pod
from pykubelet.api.podinfo import pod_ref
from pykubelet.base.clock import Clock
from pykubelet.base.gotext import go_list, go_quote
from pykubelet.base.journal import Events, PodRef
from pykubelet.cri.door import RuntimeService
from pykubelet.cri.errors import CriError

_USER_AGENT = "kube-lifecycle/1.36"
_MAX_REDIRECTS = 10
_CONNECT_TIMEOUT = 30.0
_PATH_SAFE = "/?&=%:@!$'()*+,;~#[]"


class HookError(Exception):
    """A hook failed; the text goes to the container's status."""


def hook_port(port: int | str, container: Container) -> int:
    """The number of a hook's port, which may be a name of one of the container's ports.

    :raises ValueError: no such name, or no valid port.
    """
    if isinstance(port, str):
        named = next((p.containerPort for p in container.ports if p.name == port), None)
        if named is not None:
            port = named
        elif port.isdecimal():
            port = int(port)
        else:
            raise ValueError(f"couldn't find port: {port!r} of container {container.name}")
    if not 0 < port < 65536:
        raise ValueError(f"invalid port number: {port}")
    return port


def hook_url(action: HTTPGetAction, container: Container, host: str) -> URL:
    """Where an HTTP hook goes; *host* is the pod's IP unless the hook names one.

    :raises ValueError: the port is not valid.
    """
    host = action.host or host
    shown = f"[{host}]" if ":" in host else host
    path = quote(action.path, safe=_PATH_SAFE)
    slash = "" if path.startswith("/") else "/"
    scheme = action.scheme.lower() or "http"
    return URL(f"{scheme}://{shown}:{hook_port(action.port, container)}{slash}{path}", encoded=True)


def hook_headers(action: HTTPGetAction) -> CIMultiDict[str]:
    """An HTTP hook's headers; an empty ``Accept`` removes it."""
    headers: CIMultiDict[str] = CIMultiDict()
    for header in action.httpHeaders:
        headers.add(header.name, header.value)
    headers.setdefault("User-Agent", _USER_AGENT)
    if headers.setdefault("Accept", "*/*") == "":
        del headers["Accept"]
    return headers


def answered_in_plain(error: BaseException) -> bool:
    """Whether a TLS handshake failed because the other side speaks plain HTTP."""
    seen: BaseException | None = error
    while seen is not None:
        # aiohttp's own SSL error has no reason; the one inside it has.
        if getattr(seen, "reason", None) in ("WRONG_VERSION_NUMBER", "HTTP_REQUEST"):
            return True
        inner = getattr(seen, "os_error", None)
        seen = inner if isinstance(inner, BaseException) and inner is not seen else seen.__cause__
    return False


class Hooks:
    """Runs the hooks of containers."""

    def __init__(self, runtime: RuntimeService, clock: Clock, events: Events) -> None:
        self._runtime = runtime
        self._clock = clock
        self._events = events

    async def run(
        self,
        pod: Pod,
        container: Container,
        container_id: str,
        hook: LifecycleHandler,
        ips: Sequence[str],
    ) -> None:
        """Run one hook, however long it takes; cancel it to bound it.

        :raises HookError: it failed.
        """
        ref = pod_ref(pod)
        where = f'for Container "{container.name}" in Pod "{ref}" failed - error:'
        if hook.exec is not None:
            await self._exec(container_id, hook.exec.command, where)
        elif hook.httpGet is not None:
            try:
                await self._http(ref, container, hook.httpGet, ips)
            except (aiohttp.ClientError, OSError, ValueError) as error:
                raise HookError(f"HTTP lifecycle hook ({hook.httpGet.path}) {where} {error}") from error
        elif hook.sleep is not None:
            await self._clock.sleep(hook.sleep.seconds)
        else:
            # A TCP socket was never a hook that does anything.
            kind = "tcpSocket" if hook.tcpSocket is not None else "none"
            raise HookError(f"Cannot run handler: invalid handler: {kind}")

    async def _exec(self, container_id: str, command: Sequence[str], where: str) -> None:
        title = f"Exec lifecycle hook ({go_list(command)}) {where}"
        try:
            result = await self._runtime.exec_sync(container_id, command, 0)
        except CriError as error:
            raise HookError(f'{title} {error}, message: ""') from error
        if result.exit_code:
            stderr = result.stderr.decode(errors="replace")
            output = go_quote((result.stdout + result.stderr).decode(errors="replace"))
            said = f"command '{' '.join(command)}' exited with {result.exit_code}: {stderr}"
            raise HookError(f"{title} {said}, message: {output}")

    async def _http(
        self, ref: PodRef, container: Container, action: HTTPGetAction, ips: Sequence[str]
    ) -> None:
        if not action.host and not ips:
            raise ValueError("failed to find networking container: the pod has no IP")
        url = hook_url(action, container, ips[0] if ips else "")
        headers = hook_headers(action)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT)
        # A session of its own: nothing of a hook's connection outlives it.
        async with aiohttp.ClientSession(timeout=timeout, trust_env=False) as session:
            try:
                await _get(session, url, headers)
            except aiohttp.ClientConnectorError as error:
                if url.scheme != "https" or not answered_in_plain(error):
                    raise
                headers.popall("Authorization", None)
                await _get(session, url.with_scheme("http").with_port(url.port), headers)
                self._events.pod_event(
                    ref,
                    "Warning",
                    "LifecycleHTTPFallback",
                    f"request to HTTPS lifecycle hook {url.host_port_subcomponent} got HTTP response, "
                    "retry with HTTP succeeded",
                )


async def _get(session: aiohttp.ClientSession, url: URL, headers: CIMultiDict[str]) -> None:
    """GET *url*; any answer is good. Redirects are followed on the same host only."""
    host = url.host
    for _ in range(_MAX_REDIRECTS):
        # The certificate is not verified: a pod's IP is in none.
        async with session.get(url, headers=headers, ssl=False, allow_redirects=False) as response:
            target = response.headers.get("Location", "")
            if response.status not in (301, 302, 303, 307, 308) or not target:
                return
        url = url.join(URL(target))
        if url.host != host or url.scheme not in ("http", "https"):
            return
    raise ValueError(f"stopped after {_MAX_REDIRECTS} redirects")
