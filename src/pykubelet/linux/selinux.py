"""SELinux: whether the kernel labels, and the labels that this host's policy has for containers.

What is read, and in which order, is as go-selinux has it, which the Go kubelet and the runtimes
use: all of them must come to the same labels. Blocking.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from . import mountinfo

_CONFIG: Final = "etc/selinux/config"
#: The containers' own package comes before the policy.
_CONTEXTS: Final = "usr/share/containers/selinux/contexts"
#: The label of every process while no policy is loaded.
_NO_POLICY: Final = "kernel"
_ATTRIBUTE: Final = "security.selinux"


@dataclass(frozen=True, slots=True)
class SELinux:
    """A host where SELinux is on, enforcing or not.

    Labels are ``USER:ROLE:TYPE[:LEVEL]``; empty where the policy tells none.
    """

    #: The label of a container's process.
    process: str = ""
    #: The label of a container's files.
    file: str = ""


def read(root: Path = Path("/")) -> SELinux | None:
    """What this host has, read below *root*; None where SELinux is off."""
    if not _mounted(root) or _own_label(root) == _NO_POLICY:
        return None
    contexts = _contexts(root)
    return SELinux(contexts.get("process", ""), contexts.get("file", ""))


def set_file_label(path: Path, label: str) -> None:
    """Label the directory or file at *path* itself.

    :raises OSError: the kernel, or the file system, refused.
    """
    os.setxattr(path, _ATTRIBUTE, label.encode() + b"\0")


def _mounted(root: Path) -> bool:
    """Whether there is a file system of SELinux to which can be written."""
    try:
        lines = (root / "proc/self/mountinfo").read_bytes().split(b"\n")
    except OSError:
        return False
    # A table may have thousands of lines: only those of interest are parsed.
    mounts = [mountinfo.parse_line(line) for line in lines if b" - selinuxfs " in line]
    return any("ro" not in (*mount.options, *mount.super_options) for mount in mounts)


def _own_label(root: Path) -> str:
    try:
        return (root / "proc/thread-self/attr/current").read_text(errors="replace").rstrip("\0")
    except OSError:
        return ""


def _contexts(root: Path) -> dict[str, str]:
    policy = dict(_pairs(root / _CONFIG)).get("SELINUXTYPE", "")
    for path in (root / _CONTEXTS, root / "etc/selinux" / policy / "contexts/lxc_contexts"):
        if path.is_file():
            return dict(_pairs(path))
    return {}


def _pairs(path: Path) -> Iterator[tuple[str, str]]:
    """The settings of a file of lines ``KEY = "VALUE"``; none where it cannot be read."""
    try:
        lines = path.read_text(errors="replace").splitlines()
    except OSError:
        return
    for line in map(str.strip, lines):
        key, separator, value = line.partition("=")
        if separator and line[0] not in ";#":
            yield key.strip(), value.strip().strip('"')
