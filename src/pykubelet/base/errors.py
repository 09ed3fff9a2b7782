"""Errors that cross the doors between rooms; each carries the text its user reads."""


class StartError(Exception):
    """A container could not be started; *reason* is what its status shows as waiting reason."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(f"{reason}: {message}")
        self.reason = reason
        self.message = message


class SandboxError(Exception):
    """A sandbox could not be made or looked at; the message goes into the event."""


class VolumeError(Exception):
    """A volume the pod needs cannot be had; *real* is False for a mere time-out."""

    def __init__(self, message: str, *, real: bool = True) -> None:
        super().__init__(message)
        self.real = real
