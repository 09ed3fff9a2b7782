"""What goes wrong with a CSI driver, and what that says about the volume."""

from pykubelet.rpc.errors import Code, RpcError

#: After these the driver may still be at work on the volume.
_MAYBE_AT_WORK = frozenset(
    {Code.Canceled, Code.DeadlineExceeded, Code.Unavailable, Code.ResourceExhausted, Code.Aborted}
)
_INFEASIBLE = frozenset({Code.InvalidArgument, Code.OutOfRange, Code.NotFound})


class CsiError(RpcError):
    """A call to a driver failed; its text is ``rpc error: code = X desc = Y``."""

    @property
    def uncertain(self) -> bool:
        """The driver may still be at work on the volume, or have done it: keep files, try again."""
        return self.code in _MAYBE_AT_WORK

    @property
    def final(self) -> bool:
        """Nothing was done, and the driver is not at work: what was prepared can go."""
        return not self.uncertain

    @property
    def in_use(self) -> bool:
        """Of NodeExpandVolume: it cannot grow while it is published."""
        return self.code is Code.FailedPrecondition

    @property
    def infeasible(self) -> bool:
        """Of NodeExpandVolume: it will never become that large."""
        return self.code in _INFEASIBLE


class DriverNotFoundError(LookupError):
    """No driver of that name is registered now; says nothing about the volume."""

    def __init__(self, driver: str) -> None:
        text = f"driver name {driver} not found in the list of registered CSI drivers"
        super().__init__(text if driver else "driver name is empty")
        self.driver = driver
