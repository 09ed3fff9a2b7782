"""Volumes that are a directory of the pod, perhaps with a tmpfs on it: their marker and their end.

So are emptyDir and, as the Go kubelet makes them, configMap, secret, downwardAPI and
projected volumes: what it left on a node that changed hands is taken away here. Blocking.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

from pykubelet.base.layout import Layout
from pykubelet.linux import mounts, removetree

EMPTY_DIR: Final = "kubernetes.io/empty-dir"
#: Plug-ins of the Go kubelet whose volumes have this form.
INHERITED: Final = (
    "kubernetes.io/configmap",
    "kubernetes.io/downward-api",
    "kubernetes.io/projected",
    "kubernetes.io/secret",
)
#: Directory and file names that the Go kubelet leaves beside such a volume's own emptyDir.
_WRAPPED: Final = "wrapped_"
_READY: Final = "ready"


def make_directories(path: str) -> None:
    """Make *path* and what is missing above it, closed to others.

    :raises OSError: refused.
    """
    try:
        os.mkdir(path, 0o750)
    except FileExistsError:
        return
    except FileNotFoundError:
        make_directories(os.fspath(Path(path).parent))
        with contextlib.suppress(FileExistsError):
            os.mkdir(path, 0o750)


def is_marked_ready(layout: Layout, uid: str, volume: str) -> bool:
    """Whether the emptyDir volume was fully set up once."""
    return (layout.pod_plugin(uid, EMPTY_DIR, volume) / _READY).exists()


def mark_ready(layout: Layout, uid: str, volume: str) -> None:
    """Note that the emptyDir volume is fully set up.

    :raises OSError: the note cannot be written.
    """
    directory = layout.pod_plugin(uid, EMPTY_DIR, volume)
    make_directories(os.fspath(directory))
    os.close(os.open(directory / _READY, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o640))


def unmark_ready(layout: Layout, uid: str, plugin: str, volume: str) -> None:
    """Forget the note, and the one of an emptyDir wrapped by another plug-in.

    :raises OSError: it cannot be removed.
    """
    removetree.remove_tree(os.fspath(layout.pod_plugin(uid, plugin, volume)))
    if plugin != EMPTY_DIR:
        removetree.remove_tree(os.fspath(layout.pod_plugin(uid, EMPTY_DIR, _WRAPPED + volume)))


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


class Inherited:
    """A plug-in of the Go kubelet, as far as taking its volumes away goes."""

    def __init__(self, layout: Layout, name: str) -> None:
        self.name = name
        self._layout = layout

    def tear_down(self, uid: str, volume: str) -> None:
        """See :class:`~pykubelet.volumes.plugin.Plugin`."""
        tear_down(self._layout, uid, self.name, volume)
