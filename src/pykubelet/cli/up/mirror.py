"""Keeps the daemon's manifest directory equal to the samples and a directory of the user's.

The daemon gets a directory that is ours, so that ending all pods means emptying it
and never touches a file of the user's. Files are replaced in one step, so that the
daemon never reads half of one.
"""

import contextlib
from collections.abc import Mapping
from pathlib import Path

from pykubelet.base.files import read_limited, write_atomic

#: Larger files are passed over; the daemon would refuse them too.
_LIMIT = 10 * 1024 * 1024 + 1
#: The mark of a file that is not the user's.
_FIXED = (0, 0, 0)


class Mirror:
    """Copies changed files; *fixed* are files that always belong there. Blocks, briefly."""

    def __init__(self, source: Path, target: Path, fixed: Mapping[str, bytes]) -> None:
        self._source = source
        self._target = target
        self._fixed = dict(fixed)
        self._seen: dict[str, tuple[int, int, int]] = {}

    def sync(self) -> None:
        """Bring the target up to date. A directory that cannot be read changes nothing."""
        try:
            found = {entry.name: entry for entry in self._source.iterdir() if not entry.name.startswith(".")}
        except OSError:
            return
        for name, data in self._fixed.items():
            if name not in self._seen and name not in found:
                self._put(name, data)
                self._seen[name] = _FIXED
        kept = set(self._fixed)
        for name, path in found.items():
            with contextlib.suppress(OSError, ValueError):
                status = path.stat()
                mark = (status.st_ino, status.st_size, status.st_mtime_ns)
                if path.is_file():
                    kept.add(name)
                    if self._seen.get(name) != mark:
                        self._put(name, read_limited(path, _LIMIT))
                        self._seen[name] = mark
        self._remove(kept)

    def _put(self, name: str, data: bytes) -> None:
        target = self._target / name
        if not target.exists() or target.read_bytes() != data:
            write_atomic(target, data, fsync=False)

    def empty(self) -> None:
        """Take every manifest away from the daemon."""
        self._seen.clear()
        self._remove(set())

    def _remove(self, keep: set[str]) -> None:
        for path in list(self._target.iterdir()):
            if path.name not in keep and not path.name.startswith("."):
                path.unlink(missing_ok=True)
                self._seen.pop(path.name, None)
