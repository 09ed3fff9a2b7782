"""The kernel's refusals in the words that users of Kubernetes know; failures of volumes of their own kind."""

from pykubelet.base.errors import VolumeError


class MismatchError(VolumeError):
    """A device holds another file system than the volume asks for, and could not be mounted."""


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
