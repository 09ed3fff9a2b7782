"""What is made around a driver's mount: a directory with the data file, and its removal. Blocking.

Nothing is removed while something is mounted, and what a driver left inside is not touched.
"""

import contextlib
import os
from pathlib import Path

from pykubelet.linux import mountinfo

from .. import errors, local_tree
from . import data_file
from .data_file import DataError, VolumeData
from .paths import DATA_FILE, beside


def prepare(directory: str, data: VolumeData, mount: str = "") -> bool:
    """Make *directory* (and *mount*) for a driver, and note in it what it is asked for.

    False when something was noted there already.

    :raises OSError: refused; what was noted before stays.
    """
    fresh = not is_noted(directory)
    try:
        local_tree.make_directories(mount or directory)
        data_file.save(directory, data)
    except OSError:
        if fresh:
            with contextlib.suppress(OSError):
                remove(mount or f"{directory}/mount")
        raise
    return fresh


def is_noted(directory: str) -> bool:
    """Whether *directory* has a data file, whatever it says."""
    return os.path.lexists(f"{directory}/{DATA_FILE}")


def make(directory: str) -> None:
    """Make *directory*, closed to others, for a driver that keeps nothing there itself.

    :raises OSError: refused.
    """
    local_tree.make_directories(directory)


def is_mounted(path: str) -> bool:
    """Whether something is mounted on *path*; links above it are followed.

    :raises OSError: the mount table cannot be read.
    """
    return mountinfo.is_mount_point(mountinfo.read(), real(path))


def real(path: str) -> str:
    """*path* as the mount table has it: its last name is not followed if it is a link."""
    parent, name = os.path.split(path)
    return f"{os.path.realpath(parent)}/{name}"


def remove(mount: str) -> bool:
    """Remove *mount*, the data file beside it, and the directory of both; gone already is fine.

    False, and nothing is removed, while something is mounted there.

    :raises OSError: it is not empty, or otherwise refused.
    """
    if is_mounted(mount):
        return False
    remove_entry(mount)
    directory = beside(mount)
    if os.path.lexists(directory):
        data_file.remove(directory)
        remove_entry(directory)
    return True


def remove_entry(path: str) -> None:
    """Remove a file, a link or an empty directory; gone already is fine.

    :raises OSError: refused.
    """
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return
    except NotADirectoryError:
        os.unlink(path)


def is_bare(mount: str) -> bool:
    """Whether nothing is left beside *mount* but names without contents: an interrupted removal.

    :raises OSError: it cannot be looked at.
    """
    if is_mounted(mount):
        return False
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return not os.listdir(mount)
    return not os.path.lexists(mount)


def load(directory: str, text: str) -> VolumeData:
    """What is noted in *directory*; *text* stands before the cause when that cannot be read.

    :raises FileNotFoundError: nothing is noted.
    :raises DataError: it cannot be read; the field or the refusal is named.
    """
    path = Path(directory, DATA_FILE)
    try:
        return data_file.load(directory)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise DataError(f"{text}failed to open volume data file [{path}]: {errors.reason(error)}") from error
    except DataError as error:
        raise DataError(f"{text}failed to parse volume data file [{path}]: {error}") from None
