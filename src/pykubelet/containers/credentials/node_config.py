"""The node's own registry configuration: the first file that can be read, looked for where upstream looks.

(pkg/credentialprovider.)
"""

import asyncio
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Final

from pykubelet.base.clock import Clock
from pykubelet.base.files import read_limited

from .docker_config import Logins, config_json, dockercfg

log = logging.getLogger(__name__)

#: Seconds for which what was read is kept.
LIFETIME: Final = 300.0
#: Bytes of a file at most.
_LIMIT: Final = 10 << 20


def search_paths(root: Path, home: str, cwd: Path) -> list[tuple[Path, Callable[[bytes], Logins]]]:
    """Where the configuration may lie, in order; *root* is the kubelet's own directory."""
    newer = [root, cwd, Path(home) / ".docker", Path("/.docker")]
    older = [root, cwd, Path(home), Path("/")]
    return [
        *((directory / "config.json", config_json) for directory in newer),
        *((directory / ".dockercfg", dockercfg) for directory in older),
    ]


def _read(root: Path) -> Logins:
    # The directory of work by no name: it may have been removed.
    for path, parse in search_paths(root, os.environ.get("HOME", ""), Path()):
        try:
            return parse(read_limited(path, _LIMIT))
        except (FileNotFoundError, NotADirectoryError):
            continue
        except (OSError, ValueError) as error:
            log.warning("the registry configuration %s is not used: %s", path, error)
    return {}


class NodeConfig:
    """What the node's configuration says, at most five minutes old."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self._root = root
        self._clock = clock
        self._kept: Logins = {}
        self._until: float | None = None
        self._lock = asyncio.Lock()

    async def logins(self) -> Logins:
        """The logins that every pod of the node may use."""
        async with self._lock:
            if self._until is None or self._clock.monotonic() >= self._until:
                self._kept = await asyncio.to_thread(_read, self._root)
                self._until = self._clock.monotonic() + LIFETIME
            return self._kept
