"""The files and directories that containers need on the host. All functions block."""

import contextlib
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

from pykubelet.base.layout import Layout
from pykubelet.linux.removetree import remove_tree
from pykubelet.linux.safeopen import open_beneath, opened

_LOG_FILE = re.compile(r"(\d+)\.log(\..*)?")
_MAX_HOSTS = 1 << 20


def make_pod_dirs(layout: Layout, uid: str) -> None:
    """Make the directories of a pod.

    :raises OSError: they cannot be made.
    """
    for directory in (layout.pod(uid), layout.pod_volumes(uid), layout.pod(uid) / "plugins"):
        directory.mkdir(mode=0o750, parents=True, exist_ok=True)


def make_log_dir(path: Path) -> None:
    """Make a sandbox's or a container's log directory.

    :raises OSError: it cannot be made.
    """
    path.mkdir(mode=0o755, parents=True, exist_ok=True)


def next_restart_count(names: Iterable[str]) -> int:
    """One more than the highest number among a container's log files; 0 without any.

    A runtime that lost its state over a reboot would else append to old logs.
    """
    numbers = [int(found[1]) for name in names if (found := _LOG_FILE.fullmatch(name))]
    return max(numbers, default=-1) + 1


def restart_count_from_logs(directory: Path) -> int:
    """As :func:`next_restart_count`, from a directory that need not be there."""
    try:
        return next_restart_count(os.listdir(directory))
    except OSError:
        return 0


def write_hosts(layout: Layout, uid: str, content: bytes) -> Path:
    """Write the pod's hosts file, in place: containers that run have this very file mounted.

    :raises OSError: it cannot be written.
    """
    path = layout.pod_etc_hosts(uid)
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o644), "r+b") as file:
        os.fchmod(file.fileno(), 0o644)
        if file.read(_MAX_HOSTS) != content:
            file.seek(0)
            file.write(content)
            file.truncate()
    return path


def make_termination_log(layout: Layout, uid: str, container: str) -> Path:
    """An empty file for the container's termination message, writable for whoever it runs as.

    :raises OSError: it cannot be made.
    """
    directory = layout.pod_containers(uid) / container
    for made in (directory.parent, directory):
        made.mkdir(mode=0o750, parents=True, exist_ok=True)
    path = directory / secrets.token_hex(4)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        os.fchmod(descriptor, 0o666)
    finally:
        os.close(descriptor)
    return path


def remove_termination_logs(layout: Layout, uid: str, host_paths: Iterable[str]) -> None:
    """Remove the files among *host_paths* that :func:`make_termination_log` made for the pod."""
    ours = layout.pod_containers(uid)
    for path in map(Path, host_paths):
        if uid and path.parent.parent == ours:
            with contextlib.suppress(OSError):
                os.unlink(path)


def link_log(log: Path, link: Path) -> bool:
    """Make the flat link to a container's log; False if there is no log to link to.

    :raises OSError: it cannot be made.
    """
    if not log.exists():
        return False
    link.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        os.symlink(log, link)
    return True


def remove_logs(layout: Layout, log_path: str) -> None:
    """Remove a container's log and its rotated ones, if it lies among the pods' logs.

    :raises OSError: it cannot be removed.
    """
    path = Path(log_path)
    if path.parent.parent.parent != layout.pod_logs or ".." in path.parts:
        return
    with contextlib.suppress(FileNotFoundError), opened(layout.pod_logs) as logs:
        directory = open_beneath(logs, "/".join(path.parts[-3:-1]), follow=False)
        try:
            for name in os.listdir(f"/proc/self/fd/{directory}"):
                if name == path.name or name.startswith(f"{path.name}."):
                    os.unlink(name, dir_fd=directory)
        finally:
            os.close(directory)


def links_into(layout: Layout, directory: Path) -> list[Path]:
    """The flat links whose targets lie below *directory*."""
    with contextlib.suppress(FileNotFoundError), os.scandir(layout.container_log_links) as entries:
        links = [Path(entry.path) for entry in entries if entry.is_symlink()]
        return [link for link in links if os.readlink(link).startswith(f"{directory}/")]
    return []


def remove_pod_files(layout: Layout, uid: str, namespace: str, name: str) -> None:
    """Remove the pod's logs, the links to them, its hosts file and its termination messages.

    :raises OSError: something cannot be removed.
    """
    logs = layout.pod_log_dir(namespace, name, uid)
    for link in links_into(layout, logs):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(link)
    remove_tree(str(logs))
    if not uid:
        return
    remove_tree(str(layout.pod_containers(uid)))
    with contextlib.suppress(FileNotFoundError):
        os.unlink(layout.pod_etc_hosts(uid))
