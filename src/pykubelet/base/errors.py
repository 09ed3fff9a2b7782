"""Errors that cross the doors between rooms; each carries the text its user reads."""

from typing import Final, Literal


class StartError(Exception):
    """A container could not be started; *reason* is what its status shows as waiting reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


class SandboxError(Exception):
    """A sandbox could not be made or looked at; the message goes into the event."""


#: What a failed operation on a volume left behind: *nothing*; perhaps *something*, which must
#: be undone or done again; or all *unchanged*, since it did not even begin.
Left = Literal["nothing", "something", "unchanged"]


class VolumeError(Exception):
    """A volume the pod needs cannot be had; *real* is False for a mere time-out.

    *step* names the part of mounting that failed as upstream's events do (``NewMounter
    initialization``, ``WaitForAttach``); empty: the whole of what was asked for.
    """

    def __init__(self, message: str, *, real: bool = True, left: Left = "something", step: str = "") -> None:
        super().__init__(message)
        self.real = real
        self.left: Left = left
        self.step = step


class VolumeLimitError(VolumeError):
    """A volume is not attached since the node has as many as it can: the pod is to be refused."""

    #: Of the status of the pod, and of its event.
    reason: Final = "VolumeAttachmentLimitExceeded"


#: Why a volume did not grow: its driver can never make it that large (*infeasible*), cannot while it
#: is *in use* (asked again when it is mounted anew), cannot grow any volume (*unsupported*), or *failed*.
Hindrance = Literal["infeasible", "in use", "unsupported", "failed"]


class ExpandError(VolumeError):
    """A volume was not expanded on this node; *left* tells whether the driver's answer was final."""

    def __init__(self, message: str, hindrance: Hindrance = "failed", *, left: Left = "something") -> None:
        super().__init__(message, left=left)
        self.hindrance: Hindrance = hindrance
