"""What volumes fail with, and the kernel's refusals in the words that users of Kubernetes know."""

from typing import Literal

from pykubelet.base.errors import Left, VolumeError

#: Why a volume did not grow: it never will become that large; not while it is in use; its driver does
#: no such thing; or something else.
NotGrown = Literal["infeasible", "in use", "unsupported", "other"]


class ExpandError(VolumeError):
    """A volume did not get its new size; *left* is *nothing* when the driver is surely done with it."""

    def __init__(self, message: str, *, why: NotGrown = "other", left: Left = "nothing") -> None:
        super().__init__(message, left=left)
        self.why: NotGrown = why


def reason(error: OSError) -> str:
    """The errno's text, its first letter small as in Go."""
    text = error.strerror or str(error)
    return text[:1].lower() + text[1:]


def told(operation: str, path: str, error: OSError) -> str:
    """``mkdir /some/path: file exists``."""
    return f"{operation} {path}: {reason(error)}"


def describe(error: BaseException) -> str:
    """The text of any failure of a volume operation."""
    if isinstance(error, OSError) and error.errno is not None:
        return f"{error.filename}: {reason(error)}" if error.filename else reason(error)
    return str(error) or type(error).__name__
