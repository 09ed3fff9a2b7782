"""fsGroup: giving a volume's files to the pod's group.

The walk goes by descriptors and never through a link, so that a path that is swapped
meanwhile hits nothing outside. A file that refuses is logged and passed. Blocking.
"""

import logging
import os
import stat
from dataclasses import dataclass
from typing import Final

from pykubelet.linux import safeopen

log = logging.getLogger(__name__)

ON_ROOT_MISMATCH: Final = "OnRootMismatch"

_READ_WRITE: Final = 0o660
_READ_ONLY: Final = 0o440
_DIRECTORY: Final = 0o110 | stat.S_ISGID
_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
#: Directories held open at once; below that a volume keeps its ownership, with a warning.
_MAX_DEPTH: Final = 256


@dataclass(slots=True)
class Progress:
    """How far a change has come; whoever waits for it sets *stopped* to end it."""

    files: int = 0
    stopped: bool = False

    def step(self) -> None:
        """One more file.

        :raises InterruptedError: nobody waits any more; a later change completes this one.
        """
        if self.stopped:
            raise InterruptedError("the change of ownership was stopped")
        self.files += 1


def wanted_mode(mode: int, *, read_only: bool) -> int:
    """The permission bits of a file that the group may use."""
    bits = stat.S_IMODE(mode) | (_READ_ONLY if read_only else _READ_WRITE)
    return bits | _DIRECTORY if stat.S_ISDIR(mode) else bits


def root_matches(mode: int, gid: int, group: int, *, read_only: bool) -> bool:
    """Whether a volume's root directory already is as the change would leave it."""
    return (
        stat.S_ISDIR(mode) and gid == group and stat.S_IMODE(mode) == wanted_mode(mode, read_only=read_only)
    )


def give_to_group(
    path: str,
    group: int,
    *,
    read_only: bool = False,
    policy: str = "Always",
    progress: Progress | None = None,
) -> int:
    """Give *path* and all below to *group*; how many files are the group's now.

    What is right already is not written, so that a change that was cut off goes on quickly.

    With the policy ``OnRootMismatch`` nothing is done where the root directory is right:
    it is changed last, so that it tells of the rest.

    :raises OSError: *path* is no directory, or cannot be opened.
    :raises InterruptedError: *progress* says so.
    """
    change = _Change(group, read_only, progress or Progress())
    with safeopen.opened(path, _OPEN) as root:
        status = os.fstat(root)
        if policy == ON_ROOT_MISMATCH and root_matches(
            status.st_mode, status.st_gid, group, read_only=read_only
        ):
            return 0
        return change.below(root, path, 0) + change.directory(root, path)


class _Change:
    def __init__(self, group: int, read_only: bool, progress: Progress) -> None:
        self._group = group
        self._read_only = read_only
        self._progress = progress

    def below(self, directory: int, path: str, depth: int) -> int:
        """Change all that is in *directory*, which is at *path*; how many files."""
        if depth >= _MAX_DEPTH:
            log.warning("%s is nested too deep, its files keep their group", path)
            return 0
        changed = 0
        with os.scandir(directory) as entries:
            names = [(entry.name, entry.is_dir(follow_symlinks=False)) for entry in entries]
        for name, is_directory in names:
            below = f"{path}/{name}"
            try:
                if not is_directory:
                    changed += self._file(directory, name)
                    continue
                child = os.open(name, _OPEN, dir_fd=directory)
                try:
                    changed += self.below(child, below, depth + 1)
                    changed += self.directory(child, below)
                finally:
                    os.close(child)
            except InterruptedError:
                raise
            except OSError as error:
                log.warning("the group of %s was not changed: %s", below, error)
        return changed

    def directory(self, directory: int, path: str) -> int:
        """Change the directory itself, after all that is in it."""
        self._progress.step()
        try:
            status = os.fstat(directory)
            mode = wanted_mode(status.st_mode, read_only=self._read_only)
            if status.st_gid != self._group:
                os.fchown(directory, -1, self._group)
            if stat.S_IMODE(status.st_mode) != mode:
                os.fchmod(directory, mode)
        except OSError as error:
            log.warning("the group of %s was not changed: %s", path, error)
            return 0
        return 1

    def _file(self, directory: int, name: str) -> int:
        self._progress.step()
        found = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
        try:
            status = os.fstat(found)
            changed = status.st_gid != self._group
            if changed:
                # It takes no such descriptor either; what a swapped name hits lies in this directory.
                os.chown(name, -1, self._group, dir_fd=directory, follow_symlinks=False)
            mode = wanted_mode(status.st_mode, read_only=self._read_only)
            # The kernel takes setuid away from what changes hands: it is given back.
            if not stat.S_ISLNK(status.st_mode) and (changed or stat.S_IMODE(status.st_mode) != mode):
                # chmod takes no such descriptor; this link leads to the very file.
                os.chmod(f"/proc/self/fd/{found}", mode)
        finally:
            os.close(found)
        return 1
