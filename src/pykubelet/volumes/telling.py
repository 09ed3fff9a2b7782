"""What is told of operations on volumes: the journal, the pods' events, the metrics."""

import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, Literal

from pykubelet.api.mounted import MountedVolume
from pykubelet.api.podinfo import pod_ref
from pykubelet.base.errors import VolumeError
from pykubelet.base.journal import Events, Journal, ObjectRef, PodRef

from . import errors
from .book import Book
from .measures import Measures, plugin_label
from .orders import Kind, Order, Refusal, Setback, Target, uid_of
from .spec import VolumeSpec
from .state import DeviceKey, SourceKey, VolumeKey, Wanted

log = logging.getLogger(__name__)

#: How the journal calls each kind of order; its end adds ``Done`` or ``Failed``.
_DECISIONS: Final[Mapping[Kind, str]] = MappingProxyType(
    {
        "resolve": "VolumeResolve",
        "attach": "VolumeAttach",
        "stage": "VolumeStage",
        "mount": "VolumeMount",
        "refresh": "VolumeRefresh",
        "expand": "VolumeExpand",
        "unmount": "VolumeUnmount",
        "unstage": "VolumeUnstage",
        "detach": "VolumeDetach",
        "clean": "PodDirectoryClean",
    }
)
#: The step that an event names when the error does not: of a file system, and of a block device.
_STEPS: Final[Mapping[Kind, tuple[str, str]]] = MappingProxyType(
    {
        "stage": ("MountDevice", "SetUpDevice"),
        "mount": ("SetUp", "MapPodDevice"),
        "refresh": ("SetUp", "MapPodDevice"),
    }
)


class Telling:
    """Tells what is done, and what became of it."""

    def __init__(self, journal: Journal, events: Events, measures: Measures, book: Book, node: str) -> None:
        """*node* is the node's name, as upstream's events of expansions tell it."""
        self._journal = journal
        self._events = events
        self._measures = measures
        self._book = book
        self._node = node
        self._forced: set[VolumeKey] = set()

    def begun(self, order: Order) -> None:
        """The order is being carried out; asked before the book is told of anything."""
        target = order.target if order.kind == "unmount" else None
        if isinstance(target, VolumeKey) and self._book.left_unreadable(target):
            self._forced.add(target)
        if not order.routine:
            text = f"{order.kind} {called(order.target)}"
            attempt = self._book.flight.attempt(order)
            self.record(_DECISIONS[order.kind], text, order.target, order, cause=order.cause, attempt=attempt)

    def done(self, order: Order, wanted: Wanted | None, now: float, seconds: float, *, changed: bool) -> None:
        """It was carried out; *changed*: something is different now."""
        self._measure(order, wanted, seconds, good=True)
        if order.kind == "mount" and wanted is not None:
            whole = now - (self._book.wants.asked_since(wanted.key) or now)
            self._measures.mounted(plugin_label(wanted.key.plugin, wanted, ""), whole)
        if changed or not order.routine:
            text = f"{order.kind} of {called(order.target)} is done{self._behind(order.target)}"
            cause = order.cause if order.routine else ""
            text = text if changed else f"{text}, nothing had to be written"
            self.record(f"{_DECISIONS[order.kind]}Done", text, order.target, order, cause=cause)

    def _behind(self, target: Target) -> str:
        """What was found behind it."""
        found = self._book.wants.resolutions.get(target) if isinstance(target, SourceKey) else None
        if found is None or found.spec.pv is None:
            return ""
        device = f" ({found.device.unique_name})" if found.device is not None else ""
        what = "it is" if found.spec.inline else "it is the persistent volume"
        how = f", translated from {found.spec.migrated_from}" if found.spec.migrated else ""
        return f", {what} {found.spec.name}{device}{how}"

    def failed(
        self,
        order: Order,
        wanted: Wanted | None,
        error: Exception,
        setback: Setback,
        now: float,
        seconds: float,
        *,
        quietly: bool = False,
    ) -> None:
        """It failed, and is tried again after *setback*.

        *quietly*: nobody wants it any more, which may be why it failed; only the journal is told.
        """
        text = errors.describe(error)
        what = called(order.target)
        if not isinstance(error, OSError | VolumeError):
            log.error("%s of %s failed", order.kind, what, exc_info=error)
        self._measure(order, wanted, seconds, good=False)
        # What merely could not be looked at again is told once: an outage would fill the journal.
        if not order.routine or setback.failures == 1:
            wait = f"next try in {max(0.0, setback.not_before - now):.1f} s"
            self.record(
                f"{_DECISIONS[order.kind]}Failed",
                f"{order.kind} of {what} failed, {wait}",
                order.target,
                order,
                cause=text,
                attempt=setback.failures,
            )
            level = logging.DEBUG if quietly else logging.WARNING
            log.log(level, "%s of %s of pod %s: %s", order.kind, what, order.uid or "(none)", text)
        if quietly:
            return
        if wanted is not None and order.kind in _STEPS:
            self._event(order, wanted, error, text)
            if isinstance(error, errors.MismatchError):
                self._mismatched(wanted, text)
        elif order.kind == "attach" and order.refusal is not None:
            self._unattachable(order.target, order.refusal)
        elif wanted is not None and order.kind == "expand":
            reason = "VolumeResizeFailed"
            message = f'NodeExpandVolume.NodeExpandVolume failed for volume "{wanted.called}" : {text}'
            self._events.pod_event(pod_ref(wanted.pod), "Warning", reason, message)

    def _event(self, order: Order, wanted: Wanted, error: Exception, text: str) -> None:
        block = wanted.block
        step = error.step if isinstance(error, VolumeError) else ""
        step = step or _STEPS[order.kind][block]
        failed = step if " failed" in step else f"{step} failed"
        prefix = "MapVolume" if block else "MountVolume"
        # As upstream, whose check comes before there is an operation on the device.
        reason = "FailedMapVolume" if block and not step.startswith("NodeAffinity") else "FailedMount"
        message = f'{prefix}.{failed} for volume "{wanted.called}" : {text}'
        self._events.pod_event(pod_ref(wanted.pod), "Warning", reason, message)

    def _unattachable(self, target: Target, why: Refusal) -> None:
        """Tell all who wait for the device."""
        name = target.unique_name if isinstance(target, DeviceKey) else ""
        for each in [each for each in self._book.wants.all() if each.unique_name == name]:
            message = f'{why.step} failed for volume "{each.called}" : {why.text}'
            self._events.pod_event(pod_ref(each.pod), "Warning", "FailedAttachVolume", message)

    def _mismatched(self, wanted: Wanted, text: str) -> None:
        """Tell the persistent volume, too: the pod's owner can do nothing about it."""
        pv = wanted.resolved.spec.pv if wanted.resolved is not None else None
        if pv is not None:
            meta = pv.metadata
            about = ObjectRef("v1", "PersistentVolume", "", meta.name, meta.uid, meta.resourceVersion)
            message = f'MountVolume failed for volume "{meta.name}" {text}'
            self._events.object_event(about, "Warning", "FailedMountOnFilesystemMismatch", message)

    def mapped(self, wanted: Wanted, volume: MountedVolume, map_path: str) -> None:
        """A pod got a block device."""
        link = volume.device_path.rpartition("/")[0]
        for what in (f'globalMapPath "{map_path}"', f'volumeMapPath "{link}"'):
            message = f'MapVolume.MapPodDevice succeeded for volume "{wanted.called}" {what}'
            self._events.pod_event(pod_ref(wanted.pod), "Normal", "SuccessfulMountVolume", message)

    def expanded(self, wanted: Wanted, spec: VolumeSpec) -> None:
        """The driver let a volume have its new size; *spec* has the claim as it is now."""
        message = f'MountVolume.NodeExpandVolume succeeded for volume "{wanted.called}" {self._node}'
        self._of_size(wanted, spec, "Normal", "FileSystemResizeSuccessful", message)

    def not_expanded(self, wanted: Wanted, spec: VolumeSpec) -> None:
        """A volume grew that the pod only reads."""
        why = "requested read-only file system"
        message = f'MountVolume.NodeExpandVolume failed for volume "{wanted.called}" {why}'
        self._of_size(wanted, spec, "Warning", "FileSystemResizeFailed", message)

    def _of_size(
        self,
        wanted: Wanted,
        spec: VolumeSpec,
        kind: Literal["Normal", "Warning"],
        reason: str,
        message: str,
    ) -> None:
        """Tell the pod and its claim: who asked for the size need not know the pod."""
        self._events.pod_event(pod_ref(wanted.pod), kind, reason, message)
        if spec.claim is not None:
            meta = spec.claim.metadata
            about = ObjectRef(
                "v1", "PersistentVolumeClaim", meta.namespace, meta.name, meta.uid, meta.resourceVersion
            )
            self._events.object_event(about, kind, reason, message)

    def _measure(self, order: Order, wanted: Wanted | None, seconds: float, *, good: bool) -> None:
        target = order.target
        if order.kind == "attach" and order.refusal is not None:
            # Nobody looked at anything.
            return
        if target in self._forced and isinstance(target, VolumeKey):
            self._forced.discard(target)
            self._measures.forced(good=good)
        if isinstance(target, VolumeKey):
            plugin, device = target.plugin, self._book.device_of(target)
            block = self._book.is_block(target)
        elif isinstance(target, DeviceKey):
            device = target.unique_name
            known = self._book.devices.device(device)
            plugin = known[1] if known is not None else wanted.key.plugin if wanted is not None else ""
            block = wanted.block if wanted is not None else known is not None and known[0].block
        else:
            return
        label = plugin_label(plugin, wanted, device)
        migrated = wanted is not None and wanted.migrated
        self._measures.operation(
            order.kind, label, device, seconds, block=block, good=good, migrated=migrated
        )

    def record(
        self,
        decision: str,
        text: str,
        target: Target,
        order: Order | None = None,
        *,
        cause: str = "",
        attempt: int | None = None,
    ) -> None:
        """Tell the journal."""
        uid = order.uid if order is not None else uid_of(target)
        pod = self._book.wants.pod(uid)
        ref = pod_ref(pod) if pod is not None else PodRef("", "", uid) if uid else None
        self._journal.record(decision, text, pod=ref, cause=cause, volume=_name(target), attempt=attempt)


def called(target: Target) -> str:
    """How a text names it."""
    if isinstance(target, DeviceKey):
        return f"device {target.unique_name}"
    return "the pod's directory" if isinstance(target, str) else f"volume {_name(target)}"


def _name(target: Target) -> str | None:
    if isinstance(target, VolumeKey):
        return target.name
    if isinstance(target, SourceKey):
        return target.volume
    return target.unique_name if isinstance(target, DeviceKey) else None
