"""Watching the first process of each running container and sandbox for its end."""

import logging
from collections.abc import Callable

from pykubelet.base.tasks import TaskOwner
from pykubelet.linux.pidfd import PidWatches, Watching, mentions

log = logging.getLogger(__name__)


class ExitWatch:
    """Calls *exited(id, pod UID)* once when a watched container's or sandbox's process has ended."""

    def __init__(self, exited: Callable[[str, str], None], *, pids: PidWatches | None = None) -> None:
        self._exited = exited
        self._pids = pids if pids is not None else PidWatches()
        #: What is watched, or is about to be, or cannot be (False).
        self._known: dict[str, bool] = {}
        self._tasks = TaskOwner("exits")

    def watches(self, key: str) -> bool:
        """Whether the end of that container or sandbox will be told."""
        return self._known.get(key, False)

    def watch(self, key: str, pid: int, uid: str) -> None:
        """Watch *pid*, the first process of container or sandbox *key* of pod *uid*; once is enough.

        Without a pid of its own (0, or one whose cgroup does not name it) nothing is told.
        """
        if key in self._known or pid <= 0:
            return
        self._known[key] = True
        self._tasks.spawn(key[:12], self._watch(key, pid, uid))

    async def _watch(self, key: str, pid: int, uid: str) -> None:
        try:
            outcome = await self._pids.add(key, pid, mentions(key), lambda: self._exited(key, uid))
        except OSError as error:
            log.warning("the end of %s cannot be watched, relists will tell it: %s", key, error)
            self._known[key] = False
            return
        if key not in self._known:
            self._pids.discard(key)
        elif outcome is Watching.GONE:
            self._exited(key, uid)
        elif outcome is not Watching.WATCHED:
            self._known[key] = False

    def forget(self, key: str) -> None:
        """Stop watching *key*; fine if it was not watched."""
        self._known.pop(key, None)
        self._pids.discard(key)

    async def close(self) -> None:
        """Stop watching everything."""
        await self._tasks.close()
        self._known.clear()
        self._pids.close()
