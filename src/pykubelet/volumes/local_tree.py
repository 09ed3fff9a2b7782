"""Volumes that are a directory of the pod, perhaps with memory mounted on it: their making and their end.

So are emptyDir and what wraps one: configMap, secret, downwardAPI and projected volumes. Paths
and markers are the Go kubelet's, so that each finds and ends what the other made. Blocking.
"""

import contextlib
import errno
import logging
import os
from pathlib import Path
from typing import Final

from pykubelet.base.layout import Layout
from pykubelet.linux import mounts, removetree

from . import ownership
from .medium import Mounted

log = logging.getLogger(__name__)

EMPTY_DIR: Final = "kubernetes.io/empty-dir"
#: What the emptyDir that another plug-in wraps is called, before that volume's name.
_WRAPPED: Final = "wrapped_"
_READY: Final = "ready"
_MODE: Final = 0o777
#: The Go kubelet's, umask 022: of the directory of one plug-in's volumes, and of the marker.
_PLUGIN_MODE: Final = 0o755
_READY_MODE: Final = 0o644


def set_up(
    layout: Layout, uid: str, plugin: str, volume: str, *, medium: Mounted | None, group: int | None
) -> str:
    """Make the volume's directory, and mount *medium* on it; what was fully made before stays. Its path.

    *medium* is None for a directory on disk. *group* is given the directory, whatever the pod's
    change policy says.

    :raises OSError: the kernel refused.
    :raises VolumeError: a medium of another size is there.
    """
    path = os.fspath(layout.pod_volume(uid, plugin, volume))
    on_medium = medium is not None and medium.is_on(path)
    there = on_medium if medium is not None else os.path.isdir(path)  # noqa: PTH112
    if there and is_marked_ready(layout, uid, plugin, volume):
        return path
    make_directories(os.fspath(Path(path).parent), _PLUGIN_MODE)
    _make_directory(path)
    if medium is not None and not on_medium:
        medium.mount(path)
    if group is not None:
        try:
            ownership.give_to_group(path, group)
        except OSError as error:
            log.warning("%s could not be given to group %d: %s", path, group, error)
    mark_ready(layout, uid, plugin, volume)
    return path


def _make_directory(path: str) -> None:
    try:
        os.mkdir(path, _MODE)
    except FileExistsError:
        if os.path.islink(path) or not os.path.isdir(path):  # noqa: PTH112, PTH114
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path) from None
    os.chmod(path, _MODE)


def make_directories(path: str, mode: int = 0o750) -> None:
    """Make *path* with *mode*, and what is missing above it, closed to others.

    :raises OSError: refused.
    """
    try:
        os.mkdir(path, mode)
    except FileExistsError:
        return
    except FileNotFoundError:
        make_directories(os.fspath(Path(path).parent))
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, mode)


def _notes(layout: Layout, uid: str, plugin: str, volume: str) -> Path:
    """Directory of the notes on the emptyDir that the volume is, or wraps."""
    return layout.pod_plugin(uid, EMPTY_DIR, volume if plugin == EMPTY_DIR else _WRAPPED + volume)


def is_marked_ready(layout: Layout, uid: str, plugin: str, volume: str) -> bool:
    """Whether the volume's directory was fully set up once."""
    return (_notes(layout, uid, plugin, volume) / _READY).exists()


def mark_ready(layout: Layout, uid: str, plugin: str, volume: str) -> None:
    """Note that the volume's directory is fully set up.

    :raises OSError: the note cannot be written.
    """
    directory = _notes(layout, uid, plugin, volume)
    make_directories(os.fspath(directory))
    os.close(os.open(directory / _READY, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, _READY_MODE))


def unmark_ready(layout: Layout, uid: str, plugin: str, volume: str) -> None:
    """Forget the note, and what an older kubelet noted under the plug-in's own name.

    :raises OSError: it cannot be removed.
    """
    removetree.remove_tree(os.fspath(_notes(layout, uid, plugin, volume)))
    removetree.remove_tree(os.fspath(layout.pod_plugin(uid, plugin, volume)))


def tear_down(layout: Layout, uid: str, plugin: str, volume: str) -> None:
    """Unmount what is on the volume's directory or was left mounted inside it, and remove it.

    :raises OSError: something is in use; nothing that is mounted is ever emptied.
    """
    # The note goes first: a set-up after an end half way starts from the beginning.
    unmark_ready(layout, uid, plugin, volume)
    path = layout.pod_volume(uid, plugin, volume)
    # The mount table has no links; the last name must not be followed if it is one.
    directory = f"{os.path.realpath(path.parent)}/{path.name}"
    mounts.unmount_below(directory)
    removetree.remove_tree(directory)
