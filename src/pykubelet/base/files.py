"""Writing state to disk so that a crash at any instant leaves the old or the new, never half."""

import contextlib
import errno
import os
import re
import secrets
from pathlib import Path
from typing import Final

#: How the file is called that :func:`write_atomic` may rename, and for which file it is.
_TEMPORARY: Final = re.compile(r"\.(.+)\.[0-9a-f]{8}")
#: What opening a file without a name fails with where the file system or the kernel has none.
_NO_NAMELESS: Final = frozenset({errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL})


def write_atomic(path: Path, data: bytes | str, *, mode: int = 0o600, fsync: bool = True) -> None:
    """Replace *path* by *data* in one step; blocking, so call it off the loop.

    The data get a name when they are there, so that a kill leaves nothing beside *path*: the Go
    kubelet never takes away a volume's directory that has a file in it which it does not know.

    :raises OSError: the directory is missing, full or not writable; the old file stays.
    """
    if isinstance(data, str):
        data = data.encode()
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor, named = _open(temporary, mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, mode)
            file.write(data)
            file.flush()
            if fsync:
                os.fsync(descriptor)
            if not named:
                try:
                    _name(descriptor, path)
                except FileExistsError:
                    _name(descriptor, temporary)
                    named = True
        if named:
            os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def _open(temporary: Path, mode: int) -> tuple[int, bool]:
    """A file to write to beside *temporary*, and whether that is its name; else it has none."""
    try:
        return os.open(temporary.parent, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, mode), False
    except OSError as error:
        if error.errno not in _NO_NAMELESS:
            raise
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    return os.open(temporary, flags, mode), True


def _name(descriptor: int, path: Path) -> None:
    """Give the open file a name.

    :raises FileExistsError: another file has it.
    """
    # With a descriptor for a directory, which an absolute path does not need, Python follows the link.
    os.link(f"/proc/self/fd/{descriptor}", path, src_dir_fd=descriptor, follow_symlinks=True)


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
