"""Writing all files of a volume at once: readers see the old ones or the new ones, never some of each.

Upstream's layout, so that a node can change hands: the files are in a directory named by the
time, the link ``..data`` leads to it, and each name that containers see is a link through
``..data``. An update is one rename of that link.

The work is done by descriptors from the volume's directory on and never through a link; only
names that this layout makes are removed (CVE-2017-1002102). It can be cut at any point: the
next write takes away what was left. Blocking.
"""

import contextlib
import logging
import os
import posixpath
import re
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from pykubelet.base.clock import from_ns
from pykubelet.base.errors import VolumeError
from pykubelet.linux import removetree, safeopen

from .payload import File

log = logging.getLogger(__name__)

#: The link that leads to the files that are seen.
DATA: Final = "..data"
_NEW_DATA: Final = "..data_tmp"
#: Directories of one version of the files, as upstream and we name them.
_VERSION: Final = re.compile(r"\.\.\d{4}(_\d\d){5}\.\d+")
_DIRECTORY_MODE: Final = 0o755
_LONGEST_PATH: Final = 4096
_LONGEST_NAME: Final = 255
_OPEN: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Tree:
    """The files by their clean path, and what each directory (``""`` is the top) must hold."""

    files: Mapping[str, File]
    directories: Mapping[str, frozenset[str]]

    @property
    def visible(self) -> frozenset[str]:
        """The names that containers see first."""
        return self.directories[""]


def clean_path(path: str) -> str:
    """*path* in its shortest form; pure.

    :raises VolumeError: it is empty, absolute, too long, or would leave or disturb the volume.
    """
    if not path:
        raise VolumeError('invalid path: must not be empty: ""')
    if path.startswith("/"):
        raise VolumeError(f"invalid path: must be relative path: {path}")
    try:
        length = len(os.fsencode(path))
    except UnicodeEncodeError:
        raise VolumeError(f"invalid path: must be text that UTF-8 has: {path!r}") from None
    if length > _LONGEST_PATH:
        raise VolumeError(f"invalid path: must be less than or equal to {_LONGEST_PATH} characters")
    for name in path.split("/"):
        if name == "..":
            raise VolumeError(f"invalid path: must not contain '..': {path}")
        if len(os.fsencode(name)) > _LONGEST_NAME:
            raise VolumeError(
                f"invalid path: filenames must be less than or equal to {_LONGEST_NAME} characters"
            )
    clean = posixpath.normpath(path)
    # Looked at in its clean form: "./..data" would disturb as "..data" does.
    if clean.startswith(".."):
        raise VolumeError(f"invalid path: must not start with '..': {path}")
    if clean == "." or "\0" in clean:
        raise VolumeError(f"invalid path: must name a file: {path!r}")
    return clean


def tree_of(files: Mapping[str, File]) -> Tree:
    """What has to be on the disk for *files*; pure.

    :raises VolumeError: a path is not valid, or is a file and a directory at once.
    """
    clean = {clean_path(path): file for path, file in files.items()}
    directories: dict[str, set[str]] = {"": set()}
    for path in clean:
        parent, _, name = path.rpartition("/")
        directories.setdefault(parent, set()).add(name)
        while parent:
            above, _, name = parent.rpartition("/")
            directories.setdefault(above, set()).add(name)
            parent = above
    for path in clean:
        if path in directories:
            raise VolumeError(f"invalid path: is a file and a directory: {path}")
    return Tree(clean, {path: frozenset(names) for path, names in directories.items()})


def write(
    directory: str, files: Mapping[str, File], now_ns: int, permit: Callable[[], object] | None = None
) -> bool:
    """Let *directory* hold exactly *files*; True when there was something to change.

    Only names and contents are compared: modes and owners are given when something is written.
    *permit* is called when the new files are there and not yet seen, to give them to a group.

    :raises VolumeError: a path is not valid.
    :raises OSError: refused; the old files are still seen.
    """
    tree = tree_of(files)
    with safeopen.opened(directory, _OPEN) as root:
        current = _current(root)
        changed = current is None or not _holds(root, current, tree)
        # Before the files: who waits for ``..data`` to change finds every name there by then.
        shown = _show(root, tree.visible)
        if changed:
            try:
                current = _publish(root, tree, now_ns, permit)
            except BaseException:
                _hide(root, shown)
                raise
        _tidy(root, tree.visible, current)
        return changed


def _current(root: int) -> str | None:
    """The directory of the version that is seen; None when there is none of ours."""
    try:
        target = os.readlink(DATA, dir_fd=root)
    except FileNotFoundError:
        return None
    if not _VERSION.fullmatch(target):
        log.warning("%s leads to %r, which no kubelet made: it is replaced", DATA, target)
        return None
    return target


# --- what is there ------------------------------------------------------------


def _holds(root: int, version: str, tree: Tree) -> bool:
    """Whether the version's directory holds what *tree* says, and nothing else."""
    try:
        with _beneath(root, version, _OPEN) as top:
            for path, names in tree.directories.items():
                with _beneath(top, path or ".", _OPEN) as below:
                    if set(os.listdir(below)) != names:
                        return False
            return all(_same(top, path, file.data) for path, file in tree.files.items())
    except OSError as error:
        log.info("%s is not as it was written (%s): it is written anew", version, error.strerror)
        return False


def _same(top: int, path: str, data: bytes) -> bool:
    # Not to wait for a writer, should a pipe be there.
    with _beneath(top, path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC) as found:
        status = os.fstat(found)
        if not stat.S_ISREG(status.st_mode) or status.st_size != len(data):
            return False
        with open(found, "rb", closefd=False) as file:
            return file.read(len(data) + 1) == data


@contextmanager
def _beneath(top: int, path: str, flags: int) -> Iterator[int]:
    """A descriptor of *path* below *top*; no link is followed."""
    parent, _, name = path.rpartition("/")
    above = safeopen.open_beneath(top, parent, follow=False, cross=False)
    try:
        found = os.open(name, flags, dir_fd=above)
    finally:
        os.close(above)
    try:
        yield found
    finally:
        os.close(found)


# --- a new version ------------------------------------------------------------


def _publish(root: int, tree: Tree, now_ns: int, permit: Callable[[], object] | None) -> str:
    """Write a new version and let ``..data`` lead to it; its directory's name."""
    version = _make_version(root, now_ns)
    try:
        with _beneath(root, version, _OPEN) as top:
            os.fchmod(top, _DIRECTORY_MODE)
            for path, file in tree.files.items():
                _write_file(top, path, file)
        if permit is not None:
            permit()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(_NEW_DATA, dir_fd=root)
        os.symlink(version, _NEW_DATA, dir_fd=root)
        os.rename(_NEW_DATA, DATA, src_dir_fd=root, dst_dir_fd=root)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(_NEW_DATA, dir_fd=root)
        with contextlib.suppress(OSError):
            _remove(root, version)
        raise
    return version


def _make_version(root: int, now_ns: int) -> str:
    stamp = from_ns(now_ns).strftime("..%Y_%m_%d_%H_%M_%S")
    number = now_ns % 1_000_000_000
    while True:
        name = f"{stamp}.{number:09d}"
        try:
            os.mkdir(name, 0o700, dir_fd=root)
        except FileExistsError:
            number += 1
        else:
            return name


def _write_file(top: int, path: str, file: File) -> None:
    parent, _, name = path.rpartition("/")
    directory = safeopen.make_directories(top, parent, _DIRECTORY_MODE)
    try:
        # Nobody may read it before it has the owner and the mode that were asked for.
        made = os.open(name, _CREATE, 0, dir_fd=directory)
    finally:
        os.close(directory)
    with open(made, "wb") as stream:
        stream.write(file.data)
        if file.owner is not None:
            os.fchown(made, file.owner, -1)
        os.fchmod(made, file.mode)


# --- what containers see ------------------------------------------------------


def _show(root: int, names: frozenset[str]) -> list[str]:
    """Make the links that are missing, all or none; which ones.

    What else has such a name (a nested mount's place) stays.
    """
    made: list[str] = []
    try:
        for name in sorted(names):
            with contextlib.suppress(FileExistsError):
                os.symlink(f"{DATA}/{name}", name, dir_fd=root)
                made.append(name)
    except BaseException:
        _hide(root, made)
        raise
    return made


def _hide(root: int, names: Iterable[str]) -> None:
    for name in names:
        with contextlib.suppress(OSError):
            os.unlink(name, dir_fd=root)


def _tidy(root: int, names: frozenset[str], current: str | None) -> None:
    """Remove links to files that are no more, and versions that are not seen."""
    for name in os.listdir(root):
        if name == _NEW_DATA or (name not in names and _is_ours(root, name)):
            os.unlink(name, dir_fd=root)
        elif _VERSION.fullmatch(name) and name != current:
            _remove(root, name)


def _is_ours(root: int, name: str) -> bool:
    try:
        return os.readlink(name, dir_fd=root) == f"{DATA}/{name}"
    except OSError:
        return False


def _remove(root: int, version: str) -> None:
    # The link leads to the very directory, wherever it is by now.
    removetree.remove_tree(f"/proc/self/fd/{root}/{version}")
