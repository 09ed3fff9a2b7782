"""What goes wrong in a call to the runtime, in the words that upstream's users know."""

from collections.abc import Sequence

from pykubelet.base.gotext import format_duration, go_quote
from pykubelet.rpc.errors import Code, RpcError

__all__ = ["Code", "CommandTimedOutError", "CriError"]


class CriError(RpcError):
    """A call failed; its text is ``rpc error: code = X desc = Y``.

    *method* is the CRI method's name, *message* the runtime's own words.
    """

    def __init__(self, code: Code, method: str, message: str) -> None:
        super().__init__(code, message)
        self.method = method

    @property
    def not_found(self) -> bool:
        """The runtime does not know that sandbox, container or image."""
        return self.code is Code.NotFound

    @property
    def unimplemented(self) -> bool:
        """The runtime does not have this call."""
        return self.code is Code.Unimplemented

    @property
    def unavailable(self) -> bool:
        """The runtime cannot be reached now."""
        return self.code is Code.Unavailable

    @property
    def timeout(self) -> bool:
        """The deadline passed: ours, or one the runtime kept (ExecSync)."""
        return self.code is Code.DeadlineExceeded


class CommandTimedOutError(CriError):
    """ExecSync took longer than it was given (*seconds*); ``timeout`` is true of it."""

    def __init__(self, command: Sequence[str], seconds: float, message: str) -> None:
        super().__init__(Code.DeadlineExceeded, "ExecSync", message)
        self.command = tuple(command)
        self.seconds = seconds

    def __str__(self) -> str:
        """Upstream's text: ``command timed out: "sleep 5" timed out after 1s``."""
        after = format_duration(int(self.seconds * 1e9))
        return f"command timed out: {go_quote(' '.join(self.command))} timed out after {after}"
