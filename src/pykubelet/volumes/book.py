"""The manager's book: desired and actual volumes side by side, what runs, and what failed.

Only the manager writes to it, on the event loop; it does no I/O.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from types import MappingProxyType
from typing import Final

from pykubelet.api.core import Pod
from pykubelet.api.mounted import MountedVolume
from pykubelet.api.volumes import Volume
from pykubelet.base.errors import Left

from .devices import Devices
from .doors import Attachments
from .flight import Flight
from .labels import Labels
from .orders import SERVING, Kind, Order, Renewal, Setback, Situation, Target, uid_of
from .plugin import Found
from .sizes import Sizes
from .state import Condition, DeviceKey, SourceKey, VolumeKey, Wanted
from .wants import Wants

_MOUNTING: Final[tuple[Kind, ...]] = ("mount", "refresh")


class Book:
    """Desired state (asked for anew each time) and actual state (kept) of all volumes."""

    def __init__(
        self,
        plugins: Mapping[str, str],
        desired_pods: Callable[[], Sequence[Pod]],
        may_remove: Callable[[str], bool],
        ending: Callable[[str], bool],
        renewed: AbstractSet[str] = frozenset(),
        sources: Collection[str] = (),
        node_labels: Callable[[], Mapping[str, str]] = dict,
        labels: Labels | None = None,
    ) -> None:
        """*plugins* tells the plug-in's name for each kind of volume that is made from the pod's spec.

        *renewed* are names of plug-ins whose volumes' contents may change while pods use them;
        *sources* the kinds of volume behind which something is to be found out; *labels* decides
        the SELinux labels.
        """
        self._renewed = renewed
        self._desired_pods = desired_pods
        self._may_remove = may_remove
        self._ending = ending
        self._node_labels = node_labels
        self.wants = Wants(plugins, sources, labels)
        self.devices = Devices()
        self.sizes = Sizes()
        self.flight = Flight()
        #: UIDs of pods that have a directory, as last seen.
        self.directories: frozenset[str] = frozenset()
        self._actual: dict[VolumeKey, Condition] = {}
        self._left: dict[VolumeKey, Found] = {}
        self._mounted: dict[VolumeKey, MountedVolume] = {}
        self._renewals: dict[VolumeKey, Renewal] = {}
        self._since: dict[VolumeKey, float] = {}

    # --- desired --------------------------------------------------------------

    def doubt(self, uid: str) -> None:
        """The pod changed: whether it leaves a directory is to be looked at again."""
        self.directories |= {uid}

    def ask(self, uid: str, now: float) -> None:
        """The pod is synced: what is behind its volumes is found out anew, and some are set up again."""
        asked = self.wants.resolutions.ask(lambda source: source.uid == uid)
        self.flight.retry(asked, ("resolve",), now)
        for wanted in self.wants.of(uid):
            if wanted.resolved is not None and wanted.resolved.republished:
                self._renewals.setdefault(wanted.key, Renewal(now, "the pod is synced", routine=True))

    def ask_unattached(self, now: float) -> None:
        """What drivers need may have changed: find it out anew for what is not there yet."""
        waiting = {
            SourceKey(each.key.uid, name)
            for each in self.wants.all()
            if not self.is_mounted(each.key)
            for name in each.names
        }
        asked = self.wants.resolutions.ask(lambda source: source in waiting)
        self.flight.retry(asked, ("resolve",), now)

    def retry_attaching(self, now: float) -> None:
        """The controller may have done its part: see at once."""
        devices = {DeviceKey(each.unique_name) for each in self.wants.all() if each.device is not None}
        self.flight.retry(devices, ("attach",), now)

    def retry_looked_at(self, path: Hashable, now: float) -> None:
        """What is at *path* answers again: what could not be mounted for it may be now."""
        keys = [each.key for each in self.wants.all() if each.host_path == path]
        self.flight.retry(keys, _MOUNTING, now)

    def retry_all_of(self, uids: Collection[str], now: float) -> None:
        """What these pods lacked is there now: see at once; an empty UID: also devices that none has."""
        devices = {
            DeviceKey(each.unique_name)
            for uid in uids
            for each in self.wants.of(uid)
            if each.device is not None
        }

        def concerned(target: Target) -> bool:
            if isinstance(target, DeviceKey):
                return target in devices or "" in uids
            return isinstance(target, VolumeKey) and target.uid in uids

        slots = [(target, kind) for target, kind in self.flight.setbacks if concerned(target)]
        for target, kind in slots:
            self.flight.retry([target], [kind], now)

    def situation(self, now: float, *, sources_ready: bool, attachments: Attachments) -> Situation:
        """All that the core decides from."""
        pods = {pod.metadata.uid: pod for pod in self._desired_pods()}
        kept = {uid for uid in {*pods, *self.directories, *self._uids()} if not self._may_remove(uid)}
        live = (pod for uid, pod in pods.items() if uid in kept and not self._ending(uid))
        for key in self.wants.update(live, now, kept, self._label):
            self._renew(key, "the pod changed", now)
        needs = self.wants.needs(self._node_labels(), self.is_mounted)
        attachable = {need.device for need in needs.values() if need.attachable}
        self._prune(set(pods), {need.device for need in needs.values()})
        return Situation(
            wanted=self.wants.keys(),
            kept=kept,
            named=pods.keys(),
            actual=self._actual,
            directories=self.directories,
            running=self.flight.running,
            setbacks=self.flight.setbacks,
            renewals=self._renewals,
            sources_ready=sources_ready,
            now=now,
            unresolved=self.wants.resolutions.open(self.wants.sources),
            needs=needs,
            rests={key: device for key in self._actual if (device := self.device_of(key))},
            devices=self.devices.states(),
            told=frozenset(name for name in attachable if attachments.told(name)),
            visible=frozenset(name for name in attachable if attachments.seen(name) is not False),
            growing=frozenset(key for key in self._mounted if self._grows(key)),
            vacant=frozenset(key for key in self._left if self._is_vacant(key)),
            obscure=not all(each.readable for each in self._left.values()),
            attachments_known=self.devices.attachments_known,
            by_controller=attachments.by_controller,
        )

    def _is_vacant(self, key: VolumeKey) -> bool:
        """Whether its pod cannot have it now, and nothing is mounted, as its label tells."""
        left = self._left[key]
        device = left.device if left.readable and not left.block else None
        return self.wants.refuses(key) and device is not None and device.label is None

    def _label(self, wanted: Wanted) -> str | None:
        """The SELinux label that the pod has the volume with; None when it has not, or that is not told."""
        left = self._left.get(wanted.key)
        if left is not None and left.readable:
            return left.device.label if left.device is not None else None
        # Of what cannot be read its device tells: it must not be taken from a pod that runs.
        return self.devices.label(wanted.unique_name) if wanted.key in self._actual else None

    def _grows(self, key: VolumeKey) -> bool:
        wanted = self.wants.get(key)
        return wanted is not None and self.sizes.grows(wanted)

    def _uids(self) -> set[str]:
        return {key.uid for key in self._actual}

    def _prune(self, named: set[str], needed: set[str]) -> None:
        """Forget pods of which nothing is left, and what is noted of what is wanted or there no more."""
        running = {uid_of(target) for target in self.flight.running}
        alive = named | self._uids() | self.directories | running
        self.wants.prune(alive, self._concerns)
        self.devices.keep({*needed, *(order.device for order in self.flight.running.values())})
        self.sizes.keep({*self.devices, *(each.unique_name for each in self.wants.all_resolved())})
        self.flight.prune(self._concerns)
        for notes in (self._since, self._renewals):
            for key in notes.keys() - self.wants.keys():
                if not self._concerns(key):
                    del notes[key]

    def _concerns(self, target: Target) -> bool:
        if target in self.flight.running:
            return True
        if isinstance(target, VolumeKey):
            return self.wants.get(target) is not None or target in self._actual
        if isinstance(target, DeviceKey):
            name = target.unique_name
            return name in self.devices or any(each.unique_name == name for each in self.wants.all())
        if isinstance(target, SourceKey):
            return target in self.wants.sources
        return target in self.directories

    # --- actual ---------------------------------------------------------------

    def found(self, key: VolumeKey, what: Found) -> None:
        """An earlier life left it."""
        self._actual[key] = "uncertain"
        self._left[key] = what
        if what.device is not None:
            self.devices.found(what.device, key.plugin)

    def left_unreadable(self, key: VolumeKey) -> bool:
        """Whether an earlier life left it, and nothing more is known of it."""
        return key in self._left and not self._left[key].readable

    def device_of(self, key: VolumeKey) -> str:
        """The device that the volume rests on; empty when on none."""
        known, left = self.wants.known(key), self._left.get(key)
        if known is not None:
            return known.device.unique_name if known.device is not None else ""
        return left.device.unique_name if left is not None and left.device is not None else ""

    def unique_name(self, key: VolumeKey) -> str:
        """Upstream's name of the volume on this node."""
        return self.device_of(key) or key.unique_name

    def is_block(self, key: VolumeKey) -> bool:
        """Whether it is given to containers as a device."""
        known, left = self.wants.known(key), self._left.get(key)
        return known.block if known is not None else left is not None and left.block

    def mounted(
        self, key: VolumeKey, volume: MountedVolume, now: float, renewal: Renewal | None = None
    ) -> None:
        """It is there, with contents that are good until *renewal*."""
        if self._actual.get(key) != "mounted":
            self._since[key] = now
        self._actual[key] = "mounted"
        self._mounted[key] = volume
        self._left.pop(key, None)
        if renewal is not None:
            # What changed meanwhile is not in it yet.
            self._renewals.setdefault(key, renewal)

    def _mount_failed(self, key: VolumeKey, left: Left) -> None:
        """It could not be set up, and *left* what is told; what was mounted stays so."""
        condition = self._actual.get(key)
        if left == "nothing" and condition == "uncertain" and key not in self._left:
            del self._actual[key]
        elif left == "something" and condition is None:
            self._actual[key] = "uncertain"

    def refresh(self, uid: str, cause: str, now: float, shows: Callable[[Volume], bool]) -> None:
        """What the pod's volumes are made of changed: each that *shows* it is due at once."""
        for wanted in self.wants.of(uid):
            if wanted.key.plugin in self._renewed and shows(wanted.volume):
                self._renew(wanted.key, cause, now)

    def _renew(self, key: VolumeKey, cause: str, now: float) -> None:
        if key.plugin in self._renewed:
            self._renewals[key] = Renewal(now, cause)
            # What was missing may be there now.
            self.flight.retry([key], _MOUNTING, now)

    def is_mounted(self, key: VolumeKey) -> bool:
        """Whether it is there."""
        return self._actual.get(key) == "mounted"

    def gone(self, key: VolumeKey, now: float) -> None:
        """Nothing of it is left."""
        device = self.device_of(key)
        self._actual.pop(key, None)
        self._left.pop(key, None)
        self._mounted.pop(key, None)
        self._since.pop(key, None)
        self._renewals.pop(key, None)
        self.flight.clear(key)
        if device:
            # Another pod may have it now.
            others = [each.key for each in self.wants.all() if each.unique_name == device]
            self.flight.retry(others, _MOUNTING, now)

    def present(self, uid: str) -> list[VolumeKey]:
        """What is or may be there of the pod's volumes, or is being made."""
        running = {target for target in self.flight.running if isinstance(target, VolumeKey)}
        return [key for key in {*self._actual, *running} if key.uid == uid]

    def ready(self, uid: str) -> Mapping[str, MountedVolume]:
        """The pod's volumes that are there, by name."""
        told: dict[str, MountedVolume] = {}
        for key, volume in self._mounted.items():
            if key.uid == uid:
                known = self.wants.known(key)
                told |= known.named(volume) if known is not None else {volume.name: volume}
        return MappingProxyType(told)

    def missing(self, pod: Pod) -> list[str]:
        """Names of the volumes that the pod's containers mount and that are not there."""
        ready = self.ready(pod.metadata.uid)
        return [name for name in self.wants.asked_by(pod).names if name not in ready]

    # --- flight ---------------------------------------------------------------

    def begin(self, order: Order, now: float) -> None:
        """The order runs."""
        self.flight.begin(order)
        target = order.target
        if isinstance(target, SourceKey):
            self.wants.resolutions.begun(target)
        elif isinstance(target, DeviceKey) and order.kind == "unstage":
            self.devices.uncertain(target.unique_name)
        elif isinstance(target, VolumeKey) and order.kind != "expand":
            self._renewals.pop(target, None)
            if order.kind != "refresh":
                self._since[target] = now
            if order.kind == "unmount":
                self._actual[target] = "uncertain"
                self._mounted.pop(target, None)

    def pointless(self, order: Order) -> bool:
        """Whether what the order is for is not wanted any more: its pod is being ended, or is gone."""
        uid = order.uid
        if order.kind not in SERVING or not uid:
            return False
        wanted = any(pod.metadata.uid == uid for pod in self._desired_pods())
        return not wanted or self._ending(uid) or self._may_remove(uid)

    def failed(self, order: Order, error: str, now: float, left: Left, wanted: Wanted | None) -> Setback:
        """The order failed, and *left* what is told; the wait that follows."""
        target = order.target
        setback = self.flight.failed(order, error, now)
        if isinstance(target, SourceKey):
            self.wants.resolutions.failed(target, error)
        elif order.kind == "stage" and wanted is not None and wanted.device is not None:
            label = wanted.resolved.spec.label if wanted.resolved is not None else ""
            self.devices.stage_failed(wanted.device, wanted.key.plugin, label, left)
        elif isinstance(target, VolumeKey) and order.kind in _MOUNTING:
            self._mount_failed(target, left)
            if target in self._renewals:
                # Something changed meanwhile: it may go well now.
                self.flight.retry([order.slot], [order.kind], now)
            elif order.kind == "refresh":
                self._renewals[target] = Renewal(now, order.cause)
            setback = self.flight.setbacks[order.slot, order.kind]
        elif isinstance(target, VolumeKey) and order.kind == "unmount" and self.left_unreadable(target):
            # As upstream it is tried once: what is left keeps the pod's directory.
            self.gone(target, now)
        return setback

    # --- what its stories are made of -----------------------------------------

    def condition(self, key: VolumeKey) -> Condition | None:
        """Whether it is there."""
        return self._actual.get(key)

    def keys_of(self, uid: str) -> list[VolumeKey]:
        """All volumes of the pod that are wanted or there."""
        return [key for key in {*self.wants.keys(), *self._actual} if key.uid == uid]

    def all_mounted(self) -> Iterable[VolumeKey]:
        """All volumes that are there."""
        return self._mounted.keys()

    def since(self, key: VolumeKey) -> float | None:
        """When it came into its state; seconds of the monotonic clock."""
        return self._since.get(key)
