"""The manager of all pods' volumes: carries out what the core decides, and lets pods wait for it.

It works when it is told of a change, when a wait of the back-off is over or contents are to be
renewed, and in a slow safety pass. What is there is read from the disk at the start: nothing
else is remembered.
"""

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Any, Final

from pykubelet.api.core import Pod
from pykubelet.api.mounted import MountedVolume
from pykubelet.api.podinfo import pod_ref
from pykubelet.api.volumes import Volume
from pykubelet.base.clock import Clock
from pykubelet.base.errors import VolumeError
from pykubelet.base.gotext import go_list
from pykubelet.base.journal import Events, Journal, PodRef
from pykubelet.base.layout import Layout
from pykubelet.base.tasks import TaskOwner

from . import disk, errors, payload, subpaths
from .book import Book
from .content_volume import content_volumes
from .doors import Feeds
from .empty_dir import EmptyDir
from .host_path import HostPath
from .image import ImageVolume
from .plugin import ContentPlugin, Plugin, Remover
from .reconcile import Kind, Order, Target, next_look, reconcile
from .state import VolumeKey, Wanted
from .story import VolumeStory
from .waiters import Waiters

log = logging.getLogger(__name__)

#: Seconds that a pod waits for its volumes, and for their end.
WAIT_LIMIT: Final = 123.0
#: Seconds between passes when nothing changes.
SAFETY_PERIOD: Final = 30.0
#: Operations at once; a path that hangs (a dead server) holds one.
_WORKERS: Final = 8
#: Seconds for a look at the directory of pods.
_LOOK_LIMIT: Final = 10.0
#: Seconds in which all that a volume is made of must have been fetched.
_GATHER_LIMIT: Final = 30.0
#: Seconds between looks at contents of which no change is told, where changes are pushed.
REFRESH_PERIOD: Final = 300.0

#: How the journal calls each kind of order; its end adds ``Done`` or ``Failed``.
_DECISIONS: Final[Mapping[Kind, str]] = MappingProxyType(
    {
        "mount": "VolumeMount",
        "refresh": "VolumeRefresh",
        "unmount": "VolumeUnmount",
        "clean": "PodDirectoryClean",
    }
)

OffLoop = Callable[[Callable[[], Any]], Awaitable[Any]]


class VolumeManager:
    """Implements the doors ``PodVolumes`` of pods and ``VolumePaths`` of containers."""

    def __init__(
        self,
        layout: Layout,
        clock: Clock,
        journal: Journal,
        events: Events,
        *,
        desired_pods: Callable[[], Sequence[Pod]],
        may_remove: Callable[[str], bool],
        sources_ready: Callable[[], bool],
        node_allocatable_memory: Callable[[], int],
        ending: Callable[[str], bool] = lambda uid: False,
        feeds: Feeds | None = None,
        refresh_period: float = REFRESH_PERIOD,
        rng: random.Random | None = None,
        plugins: Sequence[Plugin] | None = None,
        contents: Sequence[ContentPlugin] | None = None,
        off_loop: OffLoop | None = None,
    ) -> None:
        """Join the manager to the others.

        *desired_pods* gives all pods that the sources name, with their UIDs; *may_remove* tells
        of a UID whether nothing of that pod runs or will run any more, so that its volumes may
        go (False too for a named pod that its worker has not been told of yet); *ending*
        whether the pod is being ended, so that nothing is mounted for it any more;
        *sources_ready* whether every source was seen; *node_allocatable_memory* is in bytes.
        *feeds* is where contents come from (by default there is no cluster); *refresh_period* is
        how many seconds pass before contents are looked at again when no change is told, spread
        by *rng*.
        *off_loop* runs blocking work (by default on threads of the manager's own, so that a
        path that hangs does not hold up others' work).
        """
        self._layout = layout
        self._clock = clock
        self._journal = journal
        self._events = events
        self._may_remove = may_remove
        self._sources_ready = sources_ready
        self._refresh_period = refresh_period
        self._rng = rng or random.Random()  # noqa: S311 - spreads load, guards nothing
        if plugins is None:
            plugins = (EmptyDir(layout, node_allocatable_memory), HostPath(), ImageVolume())
        if contents is None:
            contents = content_volumes(layout, clock, feeds or Feeds(), node_allocatable_memory)
        self._plugins = {plugin.name: plugin for plugin in plugins}
        self._contents = {plugin.name: plugin for plugin in contents}
        self._removers: Mapping[str, Remover] = {**self._plugins, **self._contents}
        names = {plugin.kind: plugin.name for plugin in self._removers.values()}
        self._book = Book(names, desired_pods, may_remove, ending, self._contents.keys())
        self._threads: ThreadPoolExecutor | None = None
        self._off_loop = off_loop if off_loop is not None else self._on_a_thread
        self._tasks = TaskOwner("volumes")
        self._wake = asyncio.Event()
        self._waiters = Waiters()

    # --- its life -------------------------------------------------------------

    async def start(self) -> None:
        """Find what an earlier life left, and begin to work.

        :raises OSError: the directory of pods cannot be read.
        """
        found = await self._off_loop(lambda: disk.volumes_found(self._layout))
        taken = sorted(key for key in found if key.plugin in self._removers)
        for key in taken:
            self._book.found(key)
            self._record("VolumeFound", f"volume {key.name} was left by an earlier life", key)
        for key in sorted(found.difference(taken)):
            log.warning("no plug-in here takes %s of pod %s: it stays as it is", key.unique_name, key.uid)
        await self._look()
        self._tasks.forever("reconcile", self._work, pause=self._clock.sleep)

    async def stop(self) -> None:
        """Stop working; everything stays mounted. Operations under way end by themselves."""
        await self._tasks.close()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None

    def reconsider(self, uid: str) -> None:
        """Something about the pod changed: its spec, its phase, or that it is gone."""
        self._book.doubt(uid)
        self._wake.set()

    def refresh(self, uid: str, cause: str, *, config_map: str = "", secret: str = "") -> None:
        """The config map or secret of that name changed (without names: anything may have).

        The pod's volumes that show it are gathered anew at once; one that could not be had is
        tried again. *cause* tells what changed, never its value.
        """

        def shows(volume: Volume) -> bool:
            needs = payload.needed(volume)
            return not (config_map or secret) or config_map in needs.config_maps or secret in needs.secrets

        self._book.refresh(uid, cause, self._clock.monotonic(), shows)
        self._wake.set()

    async def _on_a_thread(self, work: Callable[[], Any]) -> Any:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_WORKERS, "volumes")
        return await asyncio.get_running_loop().run_in_executor(self._threads, work)

    async def _work(self) -> None:
        looked = self._clock.monotonic()
        while True:
            self._wake.clear()
            now = self._clock.monotonic()
            if now - looked >= SAFETY_PERIOD:
                await self._look()
                looked = now = self._clock.monotonic()
            plan = reconcile(self._book.situation(now, sources_ready=self._sources_ready()))
            for order in plan.orders:
                self._launch(order, now)
            until = looked + SAFETY_PERIOD if plan.wake_at is None else plan.wake_at
            await self._rest(min(until, looked + SAFETY_PERIOD) - now)

    def _launch(self, order: Order, now: float) -> None:
        target = order.target
        wanted = self._book.wanted(target) if isinstance(target, VolumeKey) else None
        self._book.begin(order, now)
        name = target if isinstance(target, str) else target.unique_name
        self._tasks.spawn(f"{order.kind} {name}", self._carry_out(order, wanted))

    async def _rest(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(max(0.01, seconds)):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _look(self) -> None:
        """See which pods have directories."""
        try:
            # Bounded: threads that all hang in dead paths must not stop the deciding too.
            async with asyncio.timeout(_LOOK_LIMIT):
                self._book.directories = await self._off_loop(lambda: disk.pod_directories(self._layout))
        except OSError as error:
            log.warning("the directory of pods cannot be read: %s", error)

    # --- orders ---------------------------------------------------------------

    async def _carry_out(self, order: Order, wanted: Wanted | None) -> None:
        decision, called = _DECISIONS[order.kind], _called(order.target)
        if not order.routine:
            attempt = self._book.attempt(order)
            text = f"{order.kind} {called}"
            self._record(decision, text, order.target, cause=order.cause, attempt=attempt)
        try:
            changed = await self._do(order, wanted)
        except Exception as error:  # noqa: BLE001 - whatever a plug-in meets, it is told and tried again
            self._failed(order, wanted, error)
        else:
            if changed or not order.routine:
                text = f"{order.kind} of {called} is done"
                cause = order.cause if order.routine else ""
                text = text if changed else f"{text}, nothing had to be written"
                self._record(f"{decision}Done", text, order.target, cause=cause)
        finally:
            self._book.end(order.target)
            self._tell(order.uid)

    async def _do(self, order: Order, wanted: Wanted | None) -> bool:
        """Carry the order out; whether anything is different now."""
        if isinstance(order.target, str):
            await self._clean(order.target)
        elif order.kind == "unmount":
            await self._unmount(order.target)
        elif wanted is not None:
            content = self._contents.get(order.target.plugin)
            if content is not None:
                return await self._fill(wanted, content)
            await self._mount(wanted, self._plugins[order.target.plugin])
        return True

    async def _mount(self, wanted: Wanted, plugin: Plugin) -> None:
        # From here on something may be there, whatever comes out.
        self._book.uncertain(wanted.key)
        mounted = await self._off_loop(lambda: plugin.set_up(wanted.pod, wanted.volume))
        self._book.mounted(wanted.key, mounted, self._clock.monotonic())

    async def _fill(self, wanted: Wanted, plugin: ContentPlugin) -> bool:
        """Set up a volume with contents, or renew them: it stays mounted meanwhile, and if that fails."""
        key = wanted.key
        try:
            async with asyncio.timeout(_GATHER_LIMIT):
                content = await plugin.gather(wanted.pod, wanted.volume)
        except TimeoutError:
            raise VolumeError(f"its contents could not be fetched in {_GATHER_LIMIT:.0f} s") from None
        if not self._book.is_mounted(key):
            self._book.uncertain(key)
        mounted, changed = await self._off_loop(lambda: plugin.set_up(wanted.pod, wanted.volume, content))
        now = self._clock.monotonic()
        spread = self._refresh_period * self._rng.uniform(0.8, 1.2)
        renewal = next_look(content.refresh_at, self._clock.now(), now, spread)
        self._book.mounted(key, mounted, now, renewal)
        return bool(changed)

    async def _unmount(self, key: VolumeKey) -> None:
        plugin = self._removers[key.plugin]
        self._book.uncertain(key)

        def work() -> None:
            subpaths.clean(self._layout, key.uid, key.name)
            plugin.tear_down(key.uid, key.name)

        await self._off_loop(work)
        self._book.gone(key)
        if key.plugin in self._contents:
            self._contents[key.plugin].gone(key.uid)

    async def _clean(self, uid: str) -> None:
        await self._off_loop(lambda: disk.remove_pod_directory(self._layout, uid))
        self._book.directories -= {uid}

    def _failed(self, order: Order, wanted: Wanted | None, error: Exception) -> None:
        text = errors.describe(error)
        called = _called(order.target)
        if not isinstance(error, OSError | VolumeError):
            log.error("%s of %s failed", order.kind, called, exc_info=error)
        now = self._clock.monotonic()
        setback = self._book.failed(order, text, now)
        self._record(
            f"{_DECISIONS[order.kind]}Failed",
            f"{order.kind} of {called} failed, next try in {setback.not_before - now:.1f} s",
            order.target,
            cause=text,
            attempt=setback.failures,
        )
        log.warning("%s of %s of pod %s: %s", order.kind, called, order.uid, text)
        if order.kind in ("mount", "refresh") and wanted is not None:
            message = f'MountVolume.SetUp failed for volume "{wanted.key.name}" : {text}'
            self._events.pod_event(pod_ref(wanted.pod), "Warning", "FailedMount", message)

    # --- those who wait -------------------------------------------------------

    async def wait_ready(self, pod: Pod) -> None:
        """Return when all volumes that containers mount are there.

        :raises VolumeError: one cannot be had (at once, ``real``), or is not there after 2 m 3 s.
        """
        asked = self._book.asked_by(pod)
        if not asked.names:
            return
        if asked.problems:
            problems = "; ".join(asked.problems[name] for name in sorted(asked.problems))
            missing = self._book.missing(pod)
            raise VolumeError(_unready(missing, sorted(asked.problems), problems))
        if not self._book.missing(pod):
            return
        self._journal.record(
            "VolumesAwaited", "the pod waits for its volumes", pod=pod_ref(pod), volumes=" ".join(asked.names)
        )
        if await self._wait(pod.metadata.uid, lambda: not self._book.missing(pod)):
            return
        missing = self._book.missing(pod)
        unknown = self._book.unprocessed(pod)
        text = _unready(missing, unknown, "context deadline exceeded")
        self._journal.record("VolumesMissing", text, pod=pod_ref(pod), cause="time-out", seconds=WAIT_LIMIT)
        raise VolumeError(text, real=False)

    async def wait_gone(self, pod: Pod) -> None:
        """Return when nothing of the pod's volumes is mounted any more.

        :raises VolumeError: something still is after 2 m 3 s.
        """
        uid = pod.metadata.uid
        if await self._wait(uid, lambda: not self._book.present(uid)):
            return
        left = go_list(sorted(key.unique_name for key in self._book.present(uid)))
        raise VolumeError(f"mounted volumes={left}: context deadline exceeded", real=False)

    async def _wait(self, uid: str, done: Callable[[], bool]) -> bool:
        self.reconsider(uid)
        return await self._waiters.until(uid, done, WAIT_LIMIT)

    def _tell(self, uid: str) -> None:
        self._waiters.tell(uid)
        self._wake.set()

    # --- what containers ask --------------------------------------------------

    def mounted(self, pod_uid: str) -> Mapping[str, MountedVolume]:
        """The volumes of the pod that are ready now, by their name in the spec."""
        return self._book.ready(pod_uid)

    async def prepare_subpath(
        self, pod_uid: str, volume: MountedVolume, container: str, index: int, subpath: str
    ) -> str:
        """Bind *subpath* of the volume where it cannot be swapped, creating it if missing; its host path.

        :raises VolumeError: it leaves the volume, or cannot be made.
        """
        path: str = await self._off_loop(
            lambda: subpaths.prepare(self._layout, pod_uid, volume, container, index, subpath)
        )
        return path

    async def clean_subpaths(self, pod_uid: str) -> None:
        """Undo all of the pod's subPath mounts; done by itself before a volume is taken away.

        :raises OSError: one is in use.
        """
        await self._off_loop(lambda: subpaths.clean(self._layout, pod_uid))

    def explain(self, uid: str) -> tuple[VolumeStory, ...]:
        """Where each of the pod's volumes stands, by name; why it waits, and until when."""
        return self._book.stories(uid, self._clock.monotonic())

    def _record(
        self, decision: str, text: str, target: Target, *, cause: str = "", attempt: int | None = None
    ) -> None:
        uid = target if isinstance(target, str) else target.uid
        pod = self._book.pod(uid)
        ref = pod_ref(pod) if pod is not None else PodRef("", "", uid)
        volume = None if isinstance(target, str) else target.name
        self._journal.record(decision, text, pod=ref, cause=cause, volume=volume, attempt=attempt)


def _called(target: Target) -> str:
    return "the pod's directory" if isinstance(target, str) else f"volume {target.name}"


def _unready(missing: Sequence[str], unprocessed: Sequence[str], why: str) -> str:
    return (
        f"unmounted volumes={go_list(missing)}, unattached volumes=[], "
        f"failed to process volumes={go_list(unprocessed)}: {why}"
    )
