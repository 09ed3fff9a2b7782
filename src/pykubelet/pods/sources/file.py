"""The source of static pods on disk: a directory of manifests, or a single one.

Changes are seen through inotify within milliseconds; a recheck now and then finds what
inotify cannot see. A file that is closed after writing, or moved into place, is read at
once; one that is still being written is given a moment.
"""

import asyncio
import logging
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from asyncinotify import Event, Inotify, Mask

from pykubelet.api import wellknown
from pykubelet.api.core import Pod
from pykubelet.base.journal import Events, Journal
from pykubelet.base.tasks import TaskOwner

from .adopt import Adoption, Running, nothing_runs
from .ignored import warn_of_ignored
from .mux import Send
from .scan import FileState, Problem, Scan, scan

log = logging.getLogger(__name__)

#: Seconds without an event after which a file that was not closed yet is read.
_QUIET: Final = 0.2
#: Longest wait for such quiet, in seconds.
_MAX_QUIET: Final = 2.0
#: Seconds between attempts to watch a path that is not there or cannot be watched: first, last.
_RETRY: Final = (1.0, 20.0)

_WHOLE: Final = Mask.CLOSE_WRITE | Mask.MOVED_TO | Mask.MOVED_FROM | Mask.DELETE
_PARTIAL: Final = Mask.CREATE | Mask.MODIFY | Mask.ATTRIB
_LOST: Final = Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.UNMOUNT | Mask.IGNORED


class FileSource:
    """Watches a manifest path and sends the complete set of its pods whenever it changed."""

    def __init__(
        self,
        path: Path,
        node: str,
        send: Send,
        journal: Journal,
        events: Events,
        *,
        running: Running = nothing_runs,
        period: float = 20.0,
    ) -> None:
        """*path* need not exist yet; *period* is that of rechecks, in seconds (``fileCheckFrequency``).

        Before the first set of pods is sent, *running* is asked, once, under which UIDs they run.
        """
        self._path = path
        self._node = node
        self._send = send
        self._journal = journal
        self._events = events
        self._adoption = Adoption(wellknown.SOURCE_FILE, running, journal)
        self._period = period
        self._files: Mapping[str, FileState] = {}
        self._told: set[Problem] = set()
        self._sent: list[Pod] | None = None
        self._changed = asyncio.Event()
        self._names: set[str] = set()
        self._partial = False
        self._lost = False

    async def run(self) -> None:
        """Watch and send until cancelled; give this to ``TaskOwner.forever``."""
        owner = TaskOwner("file-source")
        retry = _RETRY[0]
        loop = asyncio.get_running_loop()
        try:
            # The first look does not wait for a watch: nothing may be killed before it.
            await self._look(recheck=True)
            while True:
                self._lost = False
                try:
                    with Inotify() as inotify:
                        await self._watch(inotify)
                        retry = _RETRY[0]
                        reader = owner.spawn("inotify", self._read_events(inotify))
                        # Whatever changed before the watch was set.
                        await self._look(recheck=False)
                        try:
                            await self._follow()
                        finally:
                            reader.cancel()
                            await asyncio.gather(reader, return_exceptions=True)
                except OSError as error:
                    if not isinstance(error, FileNotFoundError):
                        log.warning("cannot watch %s, only rechecks find changes: %s", self._path, error)
                    until = loop.time() + retry
                    retry = retry if isinstance(error, FileNotFoundError) else min(retry * 2, _RETRY[1])
                    await asyncio.sleep(until - loop.time())
                else:
                    # A watch that ends at once, again and again, must not become a busy loop.
                    await asyncio.sleep(_QUIET)
                await self._look(recheck=True)
        finally:
            await owner.close()

    # --- the watch ------------------------------------------------------------

    async def _watch(self, inotify: Inotify) -> None:
        """Watch the directory, or that of a single file: a file may be replaced by a rename.

        :raises OSError: the path is not there, or the kernel's limit of watches is reached.
        """
        status = await asyncio.to_thread(os.stat, self._path)
        where = self._path if stat.S_ISDIR(status.st_mode) else self._path.parent
        inotify.add_watch(where, _WHOLE | _PARTIAL | Mask.DELETE_SELF | Mask.MOVE_SELF)

    async def _read_events(self, inotify: Inotify) -> None:
        """Note what the kernel tells; looking at files is the other task's work."""
        try:
            while not self._lost:
                self._note(await inotify.get())
        finally:
            self._lost = True
            self._changed.set()

    def _note(self, event: Event) -> None:
        if event.mask & _LOST:
            self._lost = True
        elif event.name is not None:
            if event.name.name.startswith("."):
                return
            self._names.add(event.name.name)
            self._partial = not event.mask & _WHOLE
        self._changed.set()

    async def _follow(self) -> None:
        """Look after each change and each period, as long as the watch holds."""
        loop = asyncio.get_running_loop()
        recheck_at = loop.time() + self._period
        while not self._lost:
            try:
                async with asyncio.timeout_at(recheck_at):
                    await self._changed.wait()
                    await self._quiet()
            except TimeoutError:
                await self._look(recheck=True)
                recheck_at = loop.time() + self._period
                continue
            await self._look(recheck=False)

    async def _quiet(self) -> None:
        """Wait while a file is being written: until it is closed, or nothing happens for a moment."""
        loop = asyncio.get_running_loop()
        give_up = loop.time() + _MAX_QUIET
        while self._partial and not self._lost and loop.time() < give_up:
            self._changed.clear()
            try:
                async with asyncio.timeout(_QUIET):
                    await self._changed.wait()
            except TimeoutError:
                return

    # --- looking and telling --------------------------------------------------

    async def _look(self, *, recheck: bool) -> None:
        self._changed.clear()
        names, self._names, self._partial = frozenset(self._names), set(), False
        try:
            found = await asyncio.to_thread(scan, self._path, self._node, self._files, names, recheck=recheck)
        except OSError as error:
            # What was sent stays: not to know is no reason to end a pod.
            self._tell({Problem(str(self._path), f"Unable to read config path: {error.strerror or error}")})
            return
        problems = {problem for state in found.files.values() for problem in state.problems}
        if found.missing:
            problems.add(Problem(str(self._path), "path does not exist, ignoring"))
        self._tell(problems)
        self._warn(found)
        self._files = found.files
        await self._adoption.look(
            [(static, state.changed_at) for state in found.files.values() for static in state.pods]
        )
        pods = [self._adoption.named(static.pod) for state in found.files.values() for static in state.pods]
        if pods != self._sent:
            await self._send(pods)
            self._sent = pods

    def _tell(self, problems: set[Problem]) -> None:
        """Say what is newly wrong, and what no longer is."""
        for problem in sorted(problems - self._told, key=lambda one: (one.file, one.text)):
            text = f'Could not process manifest file "{problem.file}": {problem.text}'
            log.error("%s", text)
            self._events.node_event("Warning", "FailedValidation", text)
            self._journal.record(
                "ManifestRejected", text, cause="the file was read", file=problem.file, field=problem.field
            )
        still = {problem.file for problem in problems}
        for file in sorted({problem.file for problem in self._told} - still):
            self._journal.record("ManifestRecovered", f'"{file}" has no errors any more', file=file)
        self._told = problems

    def _warn(self, found: Scan) -> None:
        """Warn about fields that are ignored, once for each state of a file."""
        for file, state in found.files.items():
            last = self._files.get(file)
            warn_of_ignored(
                self._journal,
                self._events,
                state.pods,
                last.pods if last is not None else (),
                f'manifest file "{file}"',
            )
