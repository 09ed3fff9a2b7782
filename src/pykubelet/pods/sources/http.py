"""The source of static pods at a URL (``staticPodURL``): asked again and again, the last good set stays.

A document is taken as a whole: with one pod in it that is not sound, nothing of it is.
"""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Final

import aiohttp

from pykubelet.api import wellknown
from pykubelet.api.core import Pod
from pykubelet.base.clock import Clock
from pykubelet.base.journal import Events, Journal

from .adopt import Adoption, Running, nothing_runs
from .fetch import Answer, FetchError, fetch, make_session, shown_url, tls_context
from .ignored import warn_of_ignored
from .mux import Send
from .static import MAX_MANIFEST, Origin, StaticPod, read_whatever

log = logging.getLogger(__name__)

#: Shortest time between two questions, in seconds, whatever ``httpCheckFrequency`` says.
_SHORTEST: Final = 0.1
#: Failures in a row that are logged; the later ones only for those who debug.
_LOGGED: Final = 4


class UrlSource:
    """Asks a URL for manifests and sends the complete set of their pods whenever it changed."""

    def __init__(
        self,
        url: str,
        headers: Mapping[str, Sequence[str]],
        node: str,
        send: Send,
        journal: Journal,
        events: Events,
        clock: Clock,
        *,
        running: Running = nothing_runs,
        period: float = 20.0,
    ) -> None:
        """*period* is the time between questions, in seconds (``httpCheckFrequency``).

        Before the first set of pods is sent, *running* is asked, once, under which UIDs they run.
        """
        self._url = url
        self._headers = headers
        self._origin = Origin("http", url, shown_url(url))
        self._node = node
        self._send = send
        self._journal = journal
        self._events = events
        self._clock = clock
        self._adoption = Adoption(wellknown.SOURCE_HTTP, running, journal)
        self._period = max(period, _SHORTEST)
        #: The content that was read last, what the server calls it, and what is wrong with it.
        self._data: bytes | None = None
        self._etag = ""
        self._problem = ""
        self._statics: Sequence[StaticPod] = ()
        self._sent: list[Pod] | None = None
        self._failures = 0
        self._told = ""

    async def run(self) -> None:
        """Ask and send until cancelled; give this to ``TaskOwner.forever``."""
        log.info("manifests are asked for at %s", self._origin)
        session = make_session(await asyncio.to_thread(tls_context))
        try:
            while True:
                await self._look(session)
                await self._clock.sleep(self._period)
        finally:
            await session.close()

    async def _look(self, session: aiohttp.ClientSession) -> None:
        try:
            answer = await fetch(session, self._url, self._headers, limit=MAX_MANIFEST, etag=self._etag)
            problem = await self._take(answer)
        except FetchError as error:
            problem = str(error)
        if problem:
            self._failed(problem)
        else:
            self._succeeded()

    async def _take(self, answer: Answer) -> str:
        """Send what the answer holds if it is new; what is wrong with it, empty if nothing is."""
        if answer.data is not None and answer.data != self._data:
            self._problem = await self._use(answer.data, answer.changed_at)
            # Only now: what could not be sent is not known yet, and is tried again.
            self._data, self._etag = answer.data, answer.etag
        return self._problem

    async def _use(self, data: bytes, changed_at: int | None) -> str:
        if not data:
            # Nothing is a set too, so that the source counts as seen.
            self._statics = ()
            await self._tell_pods([])
            return f"zero-length data received from {self._origin}"
        statics, errors = await asyncio.to_thread(read_whatever, data, self._origin, self._node)
        if errors:
            return "; ".join(str(error) for error in errors)
        warn_of_ignored(self._journal, self._events, statics, self._statics, f'manifest URL "{self._origin}"')
        self._statics = statics
        if changed_at is not None:
            # Without it nobody knows whether what runs was started from this manifest.
            await self._adoption.look([(static, changed_at) for static in statics])
        await self._tell_pods([self._adoption.named(static.pod) for static in statics])
        return ""

    async def _tell_pods(self, pods: list[Pod]) -> None:
        if pods == self._sent:
            return
        added, changed, removed = differences(self._sent or [], pods)
        self._journal.record(
            "ManifestUrlChanged",
            f"the manifest URL names {len(pods)} pods",
            cause="the URL was asked",
            url=str(self._origin),
            added=", ".join(added),
            changed=", ".join(changed),
            removed=", ".join(removed),
        )
        await self._send(pods)
        self._sent = pods

    def _failed(self, problem: str) -> None:
        """The first failures in a row are logged, as often as upstream does it; the journal hears of news."""
        self._failures += 1
        last = " (the next failures are logged only with verbosity 4)" if self._failures == _LOGGED else ""
        log.log(
            logging.INFO if self._failures <= _LOGGED else logging.DEBUG,
            "Failed to read pods from URL: %s%s",
            problem,
            last,
        )
        if problem != self._told:
            self._journal.record(
                "ManifestUrlFailed",
                f"{problem}; what was read before stays" if self._sent else problem,
                cause="the URL was asked",
                url=str(self._origin),
            )
            self._told = problem

    def _succeeded(self) -> None:
        if not self._failures:
            return
        log.info("Successfully read pods from URL")
        self._journal.record(
            "ManifestUrlRecovered",
            "the manifest URL can be read again",
            url=str(self._origin),
            failures=self._failures,
        )
        self._failures, self._told = 0, ""


def differences(old: Sequence[Pod], new: Sequence[Pod]) -> tuple[list[str], list[str], list[str]]:
    """Names of the pods that came, changed and went between two sets; a changed manifest's UID differs."""
    before = {pod.metadata.name: pod for pod in old}
    after = {pod.metadata.name: pod for pod in new}
    added = [name for name in after if name not in before]
    changed = [name for name, pod in after.items() if name in before and pod != before[name]]
    return added, changed, [name for name in before if name not in after]
