"""The actual state of devices, which are attached and staged once for all pods. No I/O."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from pykubelet.base.errors import Left

from .orders import DeviceState
from .plugin import Device
from .state import Attachment, Condition


@dataclass(slots=True)
class _Record:
    device: Device
    plugin: str
    attachable: bool = False
    attached: Attachment = "no"
    path: str = ""
    staged: Condition | None = None
    found: bool = False
    label: str | None = None


class Devices:
    """What is known of each device by its unique name."""

    def __init__(self) -> None:
        self._records: dict[str, _Record] = {}
        #: Whether the node's status was read since an earlier life's devices were found.
        self.attachments_known = True

    def states(self) -> dict[str, DeviceState]:
        """All of them, as the core sees them."""
        return {
            name: DeviceState(record.attachable, record.attached, record.staged, record.found, record.label)
            for name, record in self._records.items()
        }

    def device(self, name: str) -> tuple[Device, str] | None:
        """The device and the name of its plug-in."""
        record = self._records.get(name)
        return None if record is None else (record.device, record.plugin)

    def path(self, name: str) -> str:
        """What the node's status says of it; empty when nothing."""
        record = self._records.get(name)
        return "" if record is None else record.path

    def label(self, name: str) -> str | None:
        """The SELinux label that it is staged with; None when it is not, or that is not known."""
        record = self._records.get(name)
        return None if record is None else record.label

    def is_attached(self, name: str) -> bool:
        """Whether the controller attached it."""
        record = self._records.get(name)
        return record is not None and record.attached == "yes"

    def found(self, device: Device, plugin: str) -> None:
        """An earlier life left it: staged perhaps, attached perhaps."""
        if device.unique_name not in self._records:
            self._records[device.unique_name] = _Record(
                device, plugin, attached="uncertain", staged="uncertain", found=True
            )
            self.attachments_known = False
        record = self._records[device.unique_name]
        if record.label is None:
            record.label = device.label

    def know(self, attached: Mapping[str, str]) -> None:
        """The node's status was read: device paths by unique name."""
        self.attachments_known = True
        for name, record in self._records.items():
            if record.attached == "uncertain":
                record.attachable = name in attached
                record.attached = "yes" if name in attached else "no"
                record.path = attached.get(name, "")

    def attached(self, device: Device, plugin: str, path: str) -> None:
        """The controller attached it."""
        record = self._record(device, plugin)
        record.attachable, record.attached, record.path = True, "yes", path

    def staged(self, device: Device, plugin: str, label: str) -> None:
        """It is there for the pods of the node, with that SELinux label if any."""
        record = self._record(device, plugin)
        record.staged, record.found, record.label = "mounted", False, label

    def stage_failed(self, device: Device, plugin: str, label: str, left: Left) -> None:
        """It could not be staged with that label, and *left* what is told."""
        record = self._record(device, plugin)
        if left == "nothing" and record.staged == "uncertain" and not record.found:
            record.staged = record.label = None
        elif left == "something" and record.staged is None:
            record.staged, record.label = "uncertain", label

    def uncertain(self, name: str) -> None:
        """It is being unstaged, or that failed."""
        if name in self._records:
            self._records[name].staged = "uncertain"

    def unstaged(self, name: str) -> None:
        """Nothing of it is left but that it is attached."""
        if name in self._records:
            record = self._records[name]
            record.staged = record.label = None

    def detached(self, name: str) -> None:
        """Nothing is known of it any more."""
        self._records.pop(name, None)

    def keep(self, names: Collection[str]) -> None:
        """Forget of the others those of which nothing is there."""
        for name, record in list(self._records.items()):
            if name not in names and record.staged is None and record.attached == "no":
                del self._records[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._records)

    def _record(self, device: Device, plugin: str) -> _Record:
        return self._records.setdefault(device.unique_name, _Record(device, plugin))
