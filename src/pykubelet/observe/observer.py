"""Keeps the picture of what runs: reads pods, follows exits, relists as the safety net.

An exit seen through a pidfd, a runtime event, a returned call: each is only a hint
that makes that one pod be read again. Nothing but a reading enters the cache.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from pykubelet.base.clock import Clock
from pykubelet.base.tasks import TaskOwner
from pykubelet.cri.door import Runtime
from pykubelet.cri.errors import CriError
from pykubelet.cri.types import (
    ContainerState,
    ContainerStatus,
    ContainerSummary,
    SandboxState,
    SandboxStatus,
    SandboxSummary,
)

from .changes import ChangeKind, PodChange, compare, states_listed, states_of
from .exits import ExitWatch
from .types import ObservedPod

log = logging.getLogger(__name__)

#: Seconds without a successful relist after which the observation counts as unhealthy.
UNHEALTHY_AFTER = 180.0
#: Seconds between relists while every running container is watched through its pid.
RELIST_PERIOD = 5.0
#: Seconds between relists while some running container has no pid of its own (gVisor, Kata).
RELIST_PERIOD_BLIND = 1.0
#: The label by which everything of a pod is found in the runtime.
POD_UID_LABEL = "io.kubernetes.pod.uid"
#: Pods that a relist reads at the same time.
READERS = 8
#: Seconds a whole relist or reading may take before it is given up.
READ_TIMEOUT = 30.0


def settle_delays() -> Iterator[float]:
    """Waits (seconds) between looks at a container whose process is gone but which still counts as running.

    The runtime follows the kernel by some 60 ms, so the looks are close at first; after
    about 20 s the relist takes over.
    """
    yield from [0.01] * 15
    wait = 0.02
    while wait < 8:
        yield wait
        wait *= 2


def _age(listed: SandboxSummary | ContainerSummary) -> tuple[int, int]:
    """What orders instances; of two made in the same instant the later attempt is the newer."""
    return listed.created_at, listed.attempt


Enrich = Callable[[ContainerStatus], Awaitable[ContainerStatus]]


class Observer:
    """The cache of observed pods and all that keeps it true."""

    def __init__(
        self,
        runtime: Runtime,
        clock: Clock,
        *,
        on_change: Callable[[PodChange], None],
        enrich: Enrich | None = None,
        exits: ExitWatch | None = None,
        count_missed: Callable[[str], None] | None = None,
        observe_relist: Callable[[float], None] | None = None,
    ) -> None:
        """*enrich* completes the status of an exited container once (termination message)."""
        self._runtime = runtime
        self._clock = clock
        self._on_change = on_change
        self._enrich = enrich
        self._exits = exits if exits is not None else ExitWatch(self._exited)
        self._count_missed = count_missed or (lambda kind: None)
        self._observe_relist = observe_relist or (lambda seconds: None)
        self._cache: dict[str, ObservedPod] = {}
        self._states: dict[str, dict[str, str]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._dirty: set[str] = set()
        self._settling: set[str] = set()
        self._hints: set[str] = set()
        self._tasks = TaskOwner("observe")
        self._relist_now = asyncio.Event()
        #: When the runtime last answered a listing, the pods (UIDs) that it had, and whether all that one
        #: listed was looked at.
        self._listed_at: float | None = None
        self._listed: frozenset[str] = frozenset()
        self._relisted = asyncio.Event()

    # --- life -----------------------------------------------------------------

    async def start(self) -> None:
        """Begin to relist and to follow the runtime's events."""
        self._tasks.forever("relist", self._relist_forever, pause=self._clock.sleep)
        self._tasks.forever("events", self._follow_events, pause=self._clock.sleep)

    async def stop(self) -> None:
        """End all watching."""
        await self._tasks.close()
        await self._exits.close()

    def unhealthy(self) -> str:
        """Why the picture cannot be trusted, in upstream's words; empty if it can."""
        if self._listed_at is None:
            return "pleg has yet to be successful"
        age = self._clock.monotonic() - self._listed_at
        if age > UNHEALTHY_AFTER:
            minutes, seconds = divmod(int(age), 60)
            return f"pleg was last seen active {minutes}m{seconds}s ago; threshold is 3m0s"
        return ""

    # --- reading --------------------------------------------------------------

    def cached(self, uid: str) -> ObservedPod | None:
        """The last reading of the pod, however old."""
        return self._cache.get(uid)

    def uids(self) -> frozenset[str]:
        """UIDs of all pods of which the runtime has something."""
        return frozenset(self._states)

    def cached_uids(self) -> tuple[str, ...]:
        """UIDs of all pods in the cache, those of which nothing is left included."""
        return tuple(self._cache)

    @property
    def relisted(self) -> bool:
        """Whether the runtime was listed at least once."""
        return self._relisted.is_set()

    async def first_relist(self) -> None:
        """Return when everything in the runtime was seen once."""
        await self._relisted.wait()

    def unread(self, uid: str) -> bool:
        """Whether the last reading of the pod failed: nobody knows what of it runs."""
        return uid in self._dirty

    async def read(self, uid: str, *, newer_than: float | None = None, source: str = "read") -> ObservedPod:
        """A reading of the pod that began after *newer_than* (monotonic seconds; default: now).

        :raises CriError: the runtime did not answer; the cache keeps the reading before.
        """
        since = self._clock.monotonic() if newer_than is None else newer_than
        lock = self._locks.setdefault(uid, asyncio.Lock())
        async with lock:
            # From here on a hint means something that this reading may not see.
            self._hints.discard(uid)
            known = self._cache.get(uid)
            if known is not None and known.read_at > since and uid not in self._dirty:
                return known
            listed_at = self._listed_without(uid, since) if known is None else None
            if listed_at is not None:
                # The listing was a reading of this pod too: a new pod needs none of its own.
                pod = ObservedPod(uid=uid, read_at=listed_at)
            else:
                try:
                    async with asyncio.timeout(READ_TIMEOUT):
                        pod = await self._read(uid)
                except BaseException:
                    self._dirty.add(uid)
                    raise
            self._dirty.discard(uid)
            self._take(pod, source)
            return pod

    def _listed_without(self, uid: str, since: float) -> float | None:
        """When the last listing began, if that was after *since* and it had nothing of the pod."""
        if self._listed_at is None or self._listed_at <= since:
            return None
        return None if uid in self._listed or uid in self._dirty else self._listed_at

    async def _read(self, uid: str) -> ObservedPod:
        began = self._clock.monotonic()
        old = self._cache.get(uid)
        label = {POD_UID_LABEL: uid}
        listed_sandboxes, listed_containers = await asyncio.gather(
            self._runtime.list_sandboxes(labels=label), self._runtime.list_containers(labels=label)
        )
        sandboxes = [
            status
            for status in [
                await self._sandbox(s, old) for s in sorted(listed_sandboxes, key=_age, reverse=True)
            ]
            if status is not None
        ]
        containers = [
            status
            for status in [
                await self._container(c, old) for c in sorted(listed_containers, key=_age, reverse=True)
            ]
            if status is not None
        ]
        newest = sandboxes[0] if sandboxes else None
        ips = newest.ips if newest is not None and newest.state is SandboxState.READY else ()
        if not ips and old is not None:
            ips = old.ips
        labels: Mapping[str, str] = newest.labels if newest is not None else {}
        if newest is None and containers:
            labels = containers[0].labels
        return ObservedPod(
            uid=uid,
            name=labels.get("io.kubernetes.pod.name", old.name if old else ""),
            namespace=labels.get("io.kubernetes.pod.namespace", old.namespace if old else ""),
            ips=ips,
            sandboxes=tuple(sandboxes),
            containers=tuple(containers),
            read_at=began,
        )

    async def _sandbox(self, listed: SandboxSummary, old: ObservedPod | None) -> SandboxStatus | None:
        """The sandbox's status; a known one whose state did not change is not asked for again."""
        for known in old.sandboxes if old is not None else ():
            if known.id == listed.id and known.state is listed.state and (known.ips or known.host_network):
                return known
        try:
            return await self._runtime.sandbox_status(listed.id, verbose=True)
        except CriError as error:
            if error.not_found:
                return None
            raise

    async def _container(self, listed: ContainerSummary, old: ObservedPod | None) -> ContainerStatus | None:
        """The container's status; an exited one that is known is final."""
        for known in old.containers if old is not None else ():
            if known.id == listed.id and known.state is ContainerState.EXITED is listed.state:
                return known
        # The pid stands only in the dear verbose answer, and is needed once.
        verbose = not self._exits.watches(listed.id) and listed.state is not ContainerState.EXITED
        try:
            status = await self._runtime.container_status(listed.id, verbose=verbose)
        except CriError as error:
            if error.not_found:
                return None
            raise
        if status.state is ContainerState.EXITED and self._enrich is not None:
            status = await self._enrich(status)
        # What only the listing or the verbose answer tells is kept over the cheap answers.
        pid = (
            status.pid or next((c.pid for c in old.containers if c.id == listed.id), 0) if old else status.pid
        )
        return replace(status, sandbox_id=listed.sandbox_id, pid=pid)

    def _take(self, pod: ObservedPod, source: str) -> None:
        """Put a reading into the cache, watch what runs in it, tell what changed."""
        old_states = self._states.get(pod.uid, {})
        states = states_of(pod)
        names = {c.id: c.name for c in pod.containers}
        if states:
            self._states[pod.uid] = states
        else:
            self._states.pop(pod.uid, None)
        self._cache[pod.uid] = pod
        for container in pod.containers:
            if container.state is ContainerState.RUNNING:
                self._exits.watch(container.id, container.pid, pod.uid)
        for sandbox in pod.sandboxes:
            if sandbox.state is SandboxState.READY:
                self._exits.watch(sandbox.id, sandbox.pid, pod.uid)
        for key in old_states.keys() - states.keys():
            self._exits.forget(key)
        for change in compare(pod.uid, old_states, states, names, source):
            if change.kind is ChangeKind.DIED:
                self._exits.forget(change.id)
            if source == "relist" and change.kind is not ChangeKind.REMOVED:
                self._count_missed(change.kind.value)
            self._on_change(change)

    def forget(self, uid: str) -> None:
        """Drop a pod of which nothing is left and that nobody wants any more."""
        lock = self._locks.get(uid)
        if uid not in self._states and (lock is None or not lock.locked()):
            self._cache.pop(uid, None)
            self._locks.pop(uid, None)
            self._dirty.discard(uid)

    # --- hints ----------------------------------------------------------------

    def _exited(self, key: str, uid: str) -> None:
        """The process of a container or sandbox is gone; the runtime will say so soon."""
        if key not in self._settling:
            self._settling.add(key)
            self._tasks.spawn(f"settle-{key[:12]}", self._settle(key, uid))

    async def _settle(self, key: str, uid: str) -> None:
        known = self._cache.get(uid)
        sandbox = known is not None and any(s.id == key for s in known.sandboxes)
        try:
            for delay in settle_delays():
                if await self._ended(key, sandbox=sandbox):
                    break
                await self._clock.sleep(delay)
            await self.read(uid, source="pidfd")
        except (CriError, TimeoutError) as error:
            log.warning("looking at pod %s after the end of %s: %s", uid, key, error)
        finally:
            self._settling.discard(key)

    async def _ended(self, key: str, *, sandbox: bool) -> bool:
        try:
            if sandbox:
                status = await self._runtime.sandbox_status(key)
                return status.state is not SandboxState.READY
            return (await self._runtime.container_status(key)).state is not ContainerState.RUNNING
        except CriError as error:
            if error.not_found:
                return True
            raise

    async def _follow_events(self) -> None:
        """Take the runtime's own events as hints; a runtime without them is asked again rarely."""
        wait = 1.0
        while True:
            try:
                async with contextlib.aclosing(self._runtime.container_events()) as events:
                    async for event in events:
                        wait = 1.0
                        self._hint(event.pod_uid)
            except CriError as error:
                wait = 600.0 if error.unimplemented else min(wait * 2, 30.0)
            await self._clock.sleep(wait)

    def _hint(self, uid: str) -> None:
        """Read that pod; one reading that has not begun yet serves all hints until then."""
        if uid and uid not in self._hints:
            self._hints.add(uid)
            self._tasks.spawn(f"event-{uid}", self._hinted(uid))

    async def _hinted(self, uid: str) -> None:
        try:
            await self.read(uid, source="event")
        except (CriError, TimeoutError) as error:
            log.debug("reading pod %s after an event: %s", uid, error)

    # --- the safety net -------------------------------------------------------

    def request_relist(self) -> None:
        """Relist soon, for instance after the runtime came back."""
        self._relist_now.set()

    async def _relist_forever(self) -> None:
        while True:
            try:
                await self.relist()
            except (CriError, TimeoutError) as error:
                log.warning("listing the runtime's pods failed: %s", error)
            period = RELIST_PERIOD_BLIND if self._blind() else RELIST_PERIOD
            self._relist_now.clear()
            await self._wait_relist(period)

    async def _wait_relist(self, period: float) -> None:
        timer = self._tasks.spawn("relist-timer", self._clock.sleep(period))
        asked = self._tasks.spawn("relist-asked", self._relist_now.wait())
        try:
            await asyncio.wait({timer, asked}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
            asked.cancel()

    def _blind(self) -> bool:
        """Whether something runs whose end no pidfd would tell."""
        return bool(self._dirty) or any(
            not self._exits.watches(c.id)
            for pod in self._cache.values()
            for c in pod.containers
            if c.state is ContainerState.RUNNING
        )

    async def relist(self) -> None:
        """List everything once; read each pod that differs from the cache.

        :raises CriError: the runtime did not answer.
        """
        began = self._clock.monotonic()
        async with asyncio.timeout(READ_TIMEOUT):
            sandboxes, containers = await asyncio.gather(
                self._runtime.list_sandboxes(), self._runtime.list_containers()
            )
        # One pod of which the runtime will not speak must not keep the others waiting.
        self._listed_at = began
        listed = states_listed(sandboxes, containers)
        self._listed = frozenset(listed)
        # A pod that was read after the listing began is newer than the listing.
        differs = [
            uid
            for uid in listed.keys() | self._states.keys() | self._dirty
            if (uid in self._dirty or listed.get(uid, {}) != self._states.get(uid, {}))
            and not self._read_since(uid, began)
        ]
        await self._read_all(differs, began)
        self._relisted.set()
        self._observe_relist(self._clock.monotonic() - began)

    def _read_since(self, uid: str, moment: float) -> bool:
        known = self._cache.get(uid)
        return known is not None and known.read_at > moment and uid not in self._dirty

    async def _read_all(self, uids: Sequence[str], since: float) -> None:
        # A few at once: one pod of which the runtime will not speak must not hold up the others.
        places = asyncio.Semaphore(READERS)

        async def read(uid: str) -> None:
            async with places:
                try:
                    await self.read(uid, newer_than=since, source="relist")
                except (CriError, TimeoutError) as error:
                    log.warning("reading pod %s failed, it is read again at the next relist: %s", uid, error)

        await asyncio.gather(*(read(uid) for uid in uids))
