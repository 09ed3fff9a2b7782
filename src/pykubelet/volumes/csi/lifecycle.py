"""What CSIDriver and VolumeAttachment say: persistent or ephemeral, attached or not. Pure."""

from typing import Final

from pykubelet.api.storage import CSIDriver, VolumeAttachment
from pykubelet.base.gotext import go_quote

#: What drivers answer when a node has as many volumes as it can (a gRPC code).
_EXHAUSTED: Final = 8
#: Seconds that the API server takes for the period at least.
_SHORTEST_PERIOD: Final = 10


def refusal(name: str, driver: CSIDriver | None, mode: str) -> str:
    """Why the driver *name* gives no volumes of *mode* (``Persistent``, ``Ephemeral``); empty if it does."""
    if driver is None:
        if mode == "Persistent":
            return ""
        return f"volume mode {go_quote(mode)} not supported by driver {name} (no CSIDriver object)"
    modes = driver.spec.volumeLifecycleModes
    if mode in modes:
        return ""
    told = "[" + " ".join(map(go_quote, modes)) + "]"
    return f"volume mode {go_quote(mode)} not supported by driver {name} (only supports {told})"


def attached(driver: CSIDriver | None) -> bool:
    """Whether volumes of the driver are attached by the controller before they are used."""
    return driver is None or driver.spec.attachRequired is not False


def republished(driver: CSIDriver | None) -> bool:
    """Whether the driver wants to be asked again with each sync of a pod."""
    return driver is not None and driver.spec.requiresRepublish is True


def unattached(handle: str, name: str, attachment: VolumeAttachment | None) -> str:
    """Why the volume is not attached, by its attachment called *name*; empty if it is."""
    if attachment is None:
        return unread(handle, name, no_attachment(name))
    if attachment.metadata.deletionTimestamp is not None:
        return "volume attachment is being deleted"
    if attachment.status.attached:
        return ""
    if attachment.status.attachError is not None:
        return attachment.status.attachError.message
    return f"volume {handle} is not attached for volume attachment {name}"


def hindrance(name: str, attachment: VolumeAttachment | None) -> str:
    """What the attachment called *name* tells those who ask why a volume waits; empty if it is attached."""
    if attachment is None:
        return f"there is no VolumeAttachment {name} yet: the attach/detach controller makes it"
    if attachment.metadata.deletionTimestamp is not None:
        return f"VolumeAttachment {name} is being deleted"
    if attachment.status.attached:
        return ""
    if attachment.status.attachError is not None:
        return f"VolumeAttachment {name} has an error: {attachment.status.attachError.message}"
    return f"VolumeAttachment {name} is not attached yet: the driver's attacher does that"


def unread(handle: str, name: str, why: str) -> str:
    """The text for an attachment that could not be had."""
    return f"volume {handle} has GET error for volume attachment {name}: {why}"


def no_attachment(name: str) -> str:
    """The API server's text for an attachment that is missing."""
    return f"volumeattachments.storage.k8s.io {go_quote(name)} not found"


def exhausted(driver: CSIDriver | None, attachment: VolumeAttachment | None) -> bool:
    """Whether a volume is not attached since the node is full, with a driver that tells when that changes."""
    if not refresh_period(driver) or attachment is None:
        return False
    error = attachment.status.attachError
    return error is not None and error.errorCode == _EXHAUSTED


def refresh_period(driver: CSIDriver | None) -> float:
    """Seconds between questions how many volumes the node can have; zero: the driver is asked once."""
    period = driver.spec.nodeAllocatableUpdatePeriodSeconds if driver is not None else None
    return float(max(period, _SHORTEST_PERIOD)) if period else 0.0
