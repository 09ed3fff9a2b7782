"""One look at a manifest path: which files are there, what they hold, what is wrong with them.

Blocking; runs off the loop. A file that has not changed is not read again.
"""

import os
import stat
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from pykubelet.base.files import read_limited

from .static import MAX_MANIFEST, ManifestError, Origin, StaticPod, read_whatever

#: A file whose time stamp is younger than this (seconds) may change again without a new stamp.
_YOUNG: Final = 2.0
#: More entries than this in a manifest directory are not looked at.
_MAX_ENTRIES: Final = 10_000

#: What tells two states of a file apart.
Stamp = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one file, in words that name it."""

    file: str
    text: str
    field: str = ""


@dataclass(frozen=True, slots=True)
class FileState:
    """What one file held when it was read."""

    stamp: Stamp
    #: False while the file may change without its stamp changing.
    settled: bool
    pods: tuple[StaticPod, ...] = ()
    problems: tuple[Problem, ...] = ()
    #: What the file holds itself, while ``pods`` are still those of an earlier, sound state.
    held_back: tuple[StaticPod, ...] | None = None

    @property
    def changed_at(self) -> int:
        """When the file was last written or put into its place, in nanoseconds since the epoch."""
        return max(self.stamp[2:])


@dataclass(frozen=True, slots=True)
class Scan:
    """What all files hold, in the order of their names; *missing* if the path itself is not there."""

    files: Mapping[str, FileState]
    missing: bool = False


def scan(
    path: Path, node: str, before: Mapping[str, FileState], forced: frozenset[str], *, recheck: bool
) -> Scan:
    """Look at *path*, a directory or a single manifest.

    *before* is what the last look found; files named in *forced* are read whatever their
    stamp says. A file that has become unreadable keeps its pods until a *recheck* finds
    it just as an earlier look did: a write may still be under way.

    :raises OSError: the path cannot be looked at; what is known stays valid.
    """
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return Scan({}, missing=True)
    if stat.S_ISDIR(status.st_mode):
        names = sorted(name for name in os.listdir(path) if not name.startswith("."))
        files = [path / name for name in names[:_MAX_ENTRIES]]
    elif stat.S_ISREG(status.st_mode):
        files = [path]
    else:
        raise OSError(f"{path}: path is not a directory or file")
    found: dict[str, FileState] = {}
    for file in files:
        state = _look(file, node, before.get(str(file)), file.name in forced, recheck=recheck)
        if state is not None:
            found[str(file)] = state
    return Scan(found)


def _look(file: Path, node: str, last: FileState | None, forced: bool, *, recheck: bool) -> FileState | None:
    """The file's state; None if it is gone."""
    try:
        status = os.stat(file)
        stamp = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        same = last is not None and last.stamp == stamp
        if last is not None and same and last.settled and not forced:
            return _settle(last, recheck=recheck)
        if not stat.S_ISREG(status.st_mode):
            what = (
                "a directory, not recursing into it"
                if stat.S_ISDIR(status.st_mode)
                else "not a directory or file"
            )
            return FileState(stamp, settled=True, problems=(Problem(str(file), f"Manifest path is {what}"),))
        pods, errors = _read(file, node)
    except FileNotFoundError:
        return None
    except OSError as error:
        stamp, same = (0, 0, 0, 0), last is not None and last.stamp == (0, 0, 0, 0)
        pods, errors = [], [ManifestError(f"Could not get metadata or read: {error.strerror}")]
    settled = abs(time.time() - stamp[3] / 1e9) > _YOUNG
    problems = tuple(Problem(str(file), str(error), error.field) for error in errors)
    state = FileState(stamp, settled, tuple(pods), problems)
    if not errors or last is None or not last.pods:
        return state
    if recheck and same:
        return state
    return replace(state, pods=last.pods, held_back=state.pods)


def _settle(last: FileState, *, recheck: bool) -> FileState:
    """An unchanged file: what was kept over from better days ends with a recheck."""
    if last.held_back is None or not recheck:
        return last
    return replace(last, pods=last.held_back, held_back=None)


def _read(file: Path, node: str) -> tuple[list[StaticPod], list[ManifestError]]:
    try:
        data = read_limited(file, MAX_MANIFEST)
    except ValueError:
        return [], [ManifestError(f"the read limit is reached: larger than {MAX_MANIFEST} bytes")]
    return read_whatever(data, Origin("file", str(file)), node)
