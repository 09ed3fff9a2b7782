"""Directories of volumes that something is mounted on: is it there, does it answer, taking it off.

What is mounted is told by the mount table alone: a look at the path itself can hang when its
server is gone. Blocking, but for :func:`healthy` never for long.
"""

import contextlib
import errno
import os
from pathlib import Path
from typing import Final

from pykubelet.linux import mountinfo, mounts

#: What a look at a mount tells whose server or daemon is gone (upstream's IsCorruptedMnt).
_CORRUPT: Final = frozenset(
    {
        errno.ENOTCONN,
        errno.ESTALE,
        errno.EIO,
        errno.EACCES,
        errno.EHOSTDOWN,
        errno.EWOULDBLOCK,
        errno.ENODEV,
    }
)


def real(path: str | Path) -> str:
    """*path* as the mount table has it: no links above the last name, which is not followed."""
    where = Path(path)
    return f"{os.path.realpath(where.parent)}/{where.name}"


def is_mounted(path: str | Path) -> bool:
    """Whether something is mounted on *path*."""
    return mountinfo.is_mount_point(mountinfo.read(), real(path))


def is_corrupt(error: OSError) -> bool:
    """Whether a look at a mount failed as it does when what serves it is gone."""
    return error.errno in _CORRUPT


def healthy(path: str | Path) -> bool:
    """Whether what is mounted on *path* answers; may hang with a dead server.

    :raises OSError: another error than that of a mount whose server is gone.
    """
    try:
        os.stat(path)
    except PermissionError:
        # A server that trusts no foreign root says so of a good mount.
        return True
    except OSError as error:
        if is_corrupt(error):
            return False
        raise
    return True


def take_off(path: str | Path) -> None:
    """Unmount what is on *path* and below, and remove the empty directory; gone already is fine.

    Never lazily, so that nobody loses sight of what is still in use; never anything in it.

    :raises OSError: it is in use, or what is there is no mount and not empty.
    """
    directory = real(path)
    # What a container mounted in the volume goes from here, not from where the volume comes from.
    mounts.unmount_below(directory)
    remove_unmounted(directory)


def remove_unmounted(path: str | Path) -> None:
    """Remove the empty directory *path*; gone already is fine.

    :raises OSError: something is mounted on it or in it.
    """
    with contextlib.suppress(FileNotFoundError):
        os.rmdir(path)
