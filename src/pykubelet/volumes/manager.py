"""The manager of all pods' volumes: carries out what the core decides, and lets pods wait for it.

It works when it is told of a change, when a wait of the back-off is over or contents are to be
renewed, and in a slow safety pass. What is there is read from the disk at the start: nothing
else is remembered.
"""

import asyncio
import logging
import random
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from typing import Final

from pykubelet.api.core import Pod
from pykubelet.api.mounted import MountedVolume
from pykubelet.api.volumes import Volume
from pykubelet.base.apart import Apart
from pykubelet.base.clock import Clock
from pykubelet.base.errors import Left, VolumeError
from pykubelet.base.journal import Events, Journal
from pykubelet.base.layout import Layout
from pykubelet.base.metrics import Metrics
from pykubelet.base.tasks import TaskOwner

from . import disk, errors, kinds, payload, subpaths
from .attaching import Attaching
from .book import Book
from .content_volume import content_volumes
from .doors import Attachments, Claims, Feeds, NoAttachments, NoClaims, NoOnlooker, Onlooker
from .empty_dir import EmptyDir
from .host_path import HostPath
from .image import ImageVolume
from .label_measures import labels_for
from .measures import Measures, Totals, plugin_label
from .orders import Order
from .patient_threads import SLOW, PatientThreads
from .plugin import ContentPlugin, PersistentPlugin, Plugin, Remover
from .rebuild import Rebuild
from .reconcile import in_use, reconcile
from .resolver import Resolver
from .selinux import Labelling
from .state import DeviceKey, VolumeKey, Wanted
from .stories import stories
from .story import VolumeStory
from .telling import Telling
from .waits import Waits
from .work import LOOK_LIMIT, Look, OffLoop, Work

log = logging.getLogger(__name__)

#: Seconds between passes when nothing changes.
SAFETY_PERIOD: Final = 30.0
#: Operations at once on the kubelet's own directories.
_WORKERS: Final = 8
#: Looks at paths that may lie on a server that is gone: at once, and given up but still hanging.
_LOOKS: Final = 32
_HANGING: Final = 256
#: Seconds for what a container wants of a volume, below a path that may hang.
_SUBPATH_LIMIT: Final = 60.0
#: Seconds between looks at contents of which no change is told, where changes are pushed.
REFRESH_PERIOD: Final = 300.0


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
        persistent: Sequence[PersistentPlugin] = (),
        claims: Claims | None = None,
        attachments: Attachments | None = None,
        node_labels: Callable[[], Mapping[str, str]] = dict,
        node_name: str = "",
        metrics: Metrics | None = None,
        off_loop: OffLoop | None = None,
        labelling: Labelling | None = None,
        onlooker: Onlooker | None = None,
    ) -> None:
        """Join the manager to the others.

        *desired_pods* gives all pods that the sources name, with their UIDs; *may_remove* tells
        of a UID whether nothing of that pod runs or will run any more, so that its volumes may
        go (False too for a named pod that its worker has not been told of yet); *ending*
        whether the pod is being ended, or may not run here at all, so that nothing is mounted for it;
        *sources_ready* whether every source was seen; *node_allocatable_memory* is in bytes.
        *feeds* is where contents come from (by default there is no cluster); *refresh_period* is
        how many seconds pass before contents are looked at again when no change is told, spread
        by *rng*.
        *persistent* are plug-ins of volumes that outlive pods; *claims* and *attachments* what the
        cluster says of those (by default there is none); *node_labels* decide which of them this
        node may mount.
        *off_loop* runs blocking work (by default on threads of the manager's own; looks at paths
        that may hang have others).
        *labelling* is how volumes are mounted with SELinux labels; None where SELinux is off.
        *onlooker* looks at what is mounted.
        """
        self._layout = layout
        self._clock = clock
        self._sources_ready = sources_ready
        if plugins is None:
            plugins = (EmptyDir(layout, node_allocatable_memory), HostPath(), ImageVolume())
        if contents is None:
            contents = content_volumes(layout, clock, feeds or Feeds(), node_allocatable_memory)
        self._attachments = attachments or NoAttachments()
        self._look_at = self._looks() if off_loop is None else _inline(off_loop)
        # Not a pool: its threads would keep the daemon from ending.
        self._off_loop = off_loop or Apart("volumes", _WORKERS, patience=None).run
        self._onlooker = onlooker or NoOnlooker()
        self._tasks = TaskOwner("volumes")
        self._wake = asyncio.Event()
        #: How many decisions were made, and whether the last one held something back.
        self._decisions = 0
        self._held_back = False
        own: Sequence[Remover] = [*plugins, *contents]
        self._contents = {plugin.name: plugin for plugin in contents}
        self._persistent = {plugin.name: plugin for plugin in persistent}
        names = {plugin.kind: plugin.name for plugin in own}
        simple = {kind: name for kind, name in names.items() if kind == kinds.HOST_PATH}
        claims = claims or NoClaims()
        resolver = Resolver(claims, persistent, simple, labels=labelling is not None)
        metrics = metrics or Metrics()
        self._book = Book(
            names,
            desired_pods,
            may_remove,
            ending,
            self._contents.keys(),
            resolver.sources,
            node_labels,
            labels_for(labelling, metrics),
        )
        measures = Measures(metrics)
        metrics.add(Totals(self._wanted_plugins, self._mounted_plugins))
        self._telling = Telling(journal, events, measures, self._book, node_name)
        self._work = Work(
            layout,
            clock,
            self._book,
            self._telling,
            self._off_loop,
            self._look_at,
            plugins={plugin.name: plugin for plugin in plugins},
            contents=self._contents,
            persistent=persistent,
            resolver=resolver,
            claims=claims,
            attachments=self._attachments,
            refresh_period=refresh_period,
            rng=rng or random.Random(),  # noqa: S311 - spreads load, guards nothing
        )
        self._attaching = Attaching(self._book, self._persistent, self._attachments)
        self._waits = Waits(self._book, journal, self.reconsider, self._attaching)
        self._rebuild = Rebuild(
            layout,
            clock,
            self._book,
            self._telling,
            measures,
            self._off_loop,
            own=[plugin.name for plugin in own],
            persistent=persistent,
            attachments=self._attachments,
        )

    # --- its life -------------------------------------------------------------

    async def start(self) -> None:
        """Find what an earlier life left, and begin to work.

        :raises OSError: the directory of pods cannot be read.
        """
        await self._rebuild.find()
        await self._look()
        self._tasks.forever("reconcile", self._run, pause=self._clock.sleep)
        if not self._book.devices.attachments_known:
            self._tasks.spawn("attachments", self._learn_attached())

    async def stop(self) -> None:
        """Stop working; everything stays mounted. Operations under way end by themselves."""
        await self._tasks.close()

    def reconsider(self, uid: str) -> None:
        """Something about the pod changed: its spec, its phase, or that it is gone."""
        self._book.doubt(uid)
        self._book.ask(uid, self._clock.monotonic())
        self._wake.set()

    def attachments_changed(self) -> None:
        """The node's status was written, or tells of other attached volumes."""
        self._book.retry_attaching(self._clock.monotonic())
        self._wake.set()

    def drivers_changed(self) -> None:
        """What is told of a driver changed: whether it attaches is asked again for what is not there yet."""
        self._book.ask_unattached(self._clock.monotonic())
        self._wake.set()

    def retry(self, uids: Collection[str]) -> None:
        """What these pods' volumes lacked came, a driver say: what failed is tried again at once.

        An empty UID among them stands for devices that no pod has any more.
        """
        self._book.retry_all_of(uids, self._clock.monotonic())
        self._wake.set()

    async def _learn_attached(self) -> None:
        await self._rebuild.learn_attached()
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

    async def _run(self) -> None:
        looked = self._clock.monotonic()
        used: frozenset[str] | None = None
        while True:
            self._wake.clear()
            now = self._clock.monotonic()
            if now - looked >= SAFETY_PERIOD:
                await self._look()
                looked = now = self._clock.monotonic()
            ready = self._sources_ready()
            situation = self._book.situation(now, sources_ready=ready, attachments=self._attachments)
            for uid in self._book.wants.refused:
                self._waits.waiters.tell(uid)
            # Until all is known that an earlier life left, what the status lists stays as it is.
            if situation.attachments_known and used != (names := in_use(situation)):
                used = names
                self._attachments.use(names)
            plan = reconcile(situation)
            self._decisions += 1
            self._held_back = plan.held_back
            for order in plan.orders:
                self._launch(order, now)
            until = looked + SAFETY_PERIOD if plan.wake_at is None else plan.wake_at
            await self._rest(min(until, looked + SAFETY_PERIOD) - now)

    def _launch(self, order: Order, now: float) -> None:
        key = order.target if isinstance(order.target, VolumeKey) else order.volume
        wanted = self._book.wants.get(key) or self._book.wants.known(key) if key is not None else None
        self._book.begin(order, now)
        target = order.target
        name = target.unique_name if isinstance(target, VolumeKey | DeviceKey) else str(target)
        self._tasks.spawn(f"{order.kind} {name}", self._carry_out(order, wanted, self._decisions))

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
            async with asyncio.timeout(LOOK_LIMIT):
                self._book.directories = await self._off_loop(lambda: disk.pod_directories(self._layout))
        except OSError as error:
            log.warning("the directory of pods cannot be read: %s", error)

    # --- orders ---------------------------------------------------------------

    async def _carry_out(self, order: Order, wanted: Wanted | None, decision: int) -> None:
        """Do it; *decision* is the number of the one that gave the order."""
        self._telling.begun(order)
        began = self._clock.monotonic()
        changed = True
        try:
            if order.kind == "unmount":
                await self._onlooker.leave(order.uid)
            changed = await self._work.do(order, wanted)
        except Exception as error:  # noqa: BLE001 - whatever a plug-in meets, it is told and tried again
            now = self._clock.monotonic()
            left: Left = error.left if isinstance(error, VolumeError) else "something"
            setback = self._book.failed(order, errors.describe(error), now, left, wanted)
            pointless = self._book.pointless(order)
            self._telling.failed(order, wanted, error, setback, now, now - began, quietly=pointless)
        else:
            self._book.flight.succeeded(order)
            now = self._clock.monotonic()
            self._telling.done(order, wanted, now, now - began, changed=changed)
            if order.kind in ("mount", "expand"):
                self._onlooker.changed(order.uid)
        finally:
            self._book.flight.end(order)
            self._waits.waiters.tell(order.uid)
            # After a look that found nothing new all is as it was decided about: at rest this is
            # what happens most, and a decision is about all volumes of the node.
            idle = order.kind == "refresh" and order.routine and not changed
            if not idle or self._held_back or self._decisions != decision:
                self._wake.set()

    # --- those who wait -------------------------------------------------------

    async def wait_ready(self, pod: Pod) -> None:
        """Return when all volumes that containers mount are there.

        :raises VolumeError: one cannot be had (at once, ``real``), or is not there after 2 m 3 s.
        :raises VolumeLimitError: one is not there, and never will be on this node.
        """
        await self._waits.ready(pod)

    async def wait_gone(self, pod: Pod) -> None:
        """Return when nothing of the pod's volumes is mounted any more.

        :raises VolumeError: something still is after 2 m 3 s.
        """
        await self._waits.gone(pod)

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
        inner = self._book.wants.directory_name(pod_uid, volume.name)

        def prepare() -> str:
            return subpaths.prepare(self._layout, pod_uid, volume, inner, container, index, subpath)

        try:
            path: str = await self._look_at(volume.host_path, prepare, _SUBPATH_LIMIT)
        except TimeoutError as error:
            what = subpaths.called(volume.name, container)
            raise VolumeError(
                f"failed to prepare subPath {what}: the volume does not answer: {error}"
            ) from error
        return path

    def explain(self, uid: str) -> tuple[VolumeStory, ...]:
        """Where each of the pod's volumes stands, by name; why it waits, and until when."""
        return stories(self._book, self._attachments, uid, self._clock.monotonic())

    async def unattached(self, uid: str) -> Mapping[str, str]:
        """Why the pod's volumes are not attached, as the cluster tells it now; those that wait, by name."""
        return await self._attaching.of_pod(uid)

    def _wanted_plugins(self) -> Sequence[str]:
        return [plugin_label(each.key.plugin, each, "") for each in self._book.wants.all()]

    def _mounted_plugins(self) -> Sequence[str]:
        keys, known = self._book.all_mounted(), self._book.wants.known
        return [plugin_label(key.plugin, known(key), self._book.device_of(key)) for key in keys]

    # --- paths that may hang --------------------------------------------------

    def _looks(self) -> Look:
        """A path that hangs is not looked at again, and holds none of the workers."""
        return PatientThreads(
            "volume looks",
            at_once=_LOOKS,
            given_up=_HANGING,
            slow_after=SLOW,
            on_back=self._answers_again,
        ).run

    def _answers_again(self, path: Hashable) -> None:
        self._book.retry_looked_at(path, self._clock.monotonic())
        self._wake.set()


def _inline(off_loop: OffLoop) -> Look:
    return lambda path, work, limit: off_loop(work)
