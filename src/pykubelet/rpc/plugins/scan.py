"""Looking through the directory of plug-in sockets; blocks."""

import logging
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

#: How deep below the directory sockets are looked for, and how many entries are looked at.
_DEPTH: Final = 8
_ENTRIES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Mark:
    """Tells a socket from a later one at the same path; a change of its mode changes nothing."""

    device: int
    inode: int
    made_ns: int


#: A directory's device and inode: another one may stand at its path later.
Identity = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Found:
    """What is there: sockets by path, and every directory that one may appear in, with what it is."""

    sockets: Mapping[str, Mark]
    directories: Mapping[str, Identity]


def scan(top: Path) -> Found:
    """Find all sockets below *top*, which is made if need be.

    Names that begin with a dot, links and all other files are passed over, as are
    directories that cannot be read and whatever is beyond our bounds.

    :raises OSError: *top* itself cannot be made or read.
    """
    top.mkdir(mode=0o750, parents=True, exist_ok=True)
    sockets: dict[str, Mark] = {}
    directories: dict[str, Identity] = {}
    left = _ENTRIES
    todo = [(str(top), _identity(top.stat()), 0)]
    while todo:
        path, identity, depth = todo.pop()
        try:
            entries = _entries(path, left)
        except OSError as error:
            if path == str(top):
                raise
            if not isinstance(error, FileNotFoundError):
                log.warning("no plug-ins are looked for in %s: %s", path, error)
            continue
        directories[path] = identity
        left -= len(entries)
        for name, status in entries:
            child = f"{path}/{name}"
            if stat.S_ISSOCK(status.st_mode):
                sockets[child] = Mark(status.st_dev, status.st_ino, status.st_mtime_ns)
            elif stat.S_ISDIR(status.st_mode) and depth < _DEPTH:
                todo.append((child, _identity(status), depth + 1))
    if left <= 0:
        log.warning("more than %d files below %s: not all plug-ins may be found", _ENTRIES, top)
    return Found(sockets, directories)


def _identity(status: os.stat_result) -> Identity:
    return status.st_dev, status.st_ino


def _entries(path: str, most: int) -> list[tuple[str, os.stat_result]]:
    found: list[tuple[str, os.stat_result]] = []
    with os.scandir(path) as entries:
        for entry in entries:
            if len(found) >= most:
                break
            if entry.name.startswith("."):
                continue
            try:
                found.append((entry.name, entry.stat(follow_symlinks=False)))
            except FileNotFoundError:
                continue
    return found
