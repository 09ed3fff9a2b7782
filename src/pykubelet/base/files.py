"""Writing state to disk so that a crash at any instant leaves the old or the new, never half."""

import contextlib
import os
import re
import secrets
from pathlib import Path
from typing import Final

#: How the file is called that :func:`write_atomic` writes before it renames it, and for which file.
_TEMPORARY: Final = re.compile(r"\.(.+)\.[0-9a-f]{8}")


def write_atomic(path: Path, data: bytes | str, *, mode: int = 0o600, fsync: bool = True) -> None:
    """Replace *path* by *data* in one step; blocking, so call it off the loop.

    :raises OSError: the directory is missing, full or not writable; the old file stays.
    """
    if isinstance(data, str):
        data = data.encode()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), mode)
            file.write(data)
            file.flush()
            if fsync:
                os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def remove_temporary(directory: Path, of: str = "") -> None:
    """Remove what :func:`write_atomic` left in *directory* when it was killed; blocking.

    Only for a directory that nobody writes to now, or *of* the file of that name, which nobody writes now.
    """
    for path in directory.glob(".*") if directory.is_dir() else ():
        found = _TEMPORARY.fullmatch(path.name)
        if found and of in ("", found[1]):
            with contextlib.suppress(OSError):
                path.unlink()


def read_limited(path: Path, limit: int) -> bytes:
    """Read at most *limit* bytes of a regular file.

    :raises OSError: unreadable.
    :raises ValueError: larger than *limit*.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"{path} is larger than {limit} bytes")
    return data
