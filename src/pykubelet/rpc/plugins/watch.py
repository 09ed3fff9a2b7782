"""Seeing through inotify that something below a directory changed; a hint to look, nothing more."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from asyncinotify import Event, Inotify, Mask

from pykubelet.base.tasks import TaskOwner

from .scan import Identity

log = logging.getLogger(__name__)

_CHANGES: Final = Mask.CREATE | Mask.DELETE | Mask.MOVED_FROM | Mask.MOVED_TO
_WATCH: Final = _CHANGES | Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.ONLYDIR | Mask.DONT_FOLLOW
_LOST: Final = Mask.DELETE_SELF | Mask.MOVE_SELF | Mask.UNMOUNT | Mask.IGNORED


class TreeWatch:
    """Calls *changed* after something happened in one of the directories that are watched."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._owner = TaskOwner("plugin-watch")
        self._inotify: Inotify | None = None
        self._watched: dict[str, Identity] = {}
        self._told = False

    async def close(self) -> None:
        """Watch nothing any more."""
        await self._owner.close()
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None

    def cover(self, directories: Mapping[str, Identity]) -> tuple[bool, bool]:
        """Watch all of *directories*, which exist: (whether some are new, whether all are watched).

        What appeared in a new one before this was not seen: look again.
        """
        # A removed directory may live on unseen, without a word, while a socket in it is open.
        held = self._watched.items() & directories.items()
        missing = sorted(directories.items() - held)
        self._watched = dict(held)
        if not missing:
            return False, True
        new = False
        try:
            inotify = self._inotify or self._open()
            for path, identity in missing:
                try:
                    inotify.add_watch(Path(path), _WATCH)
                except (FileNotFoundError, NotADirectoryError):
                    continue
                self._watched[path] = identity
                new = True
        except OSError as error:
            if not self._told:
                log.warning("plug-ins cannot be watched, only looked for now and then: %s", error)
            self._told = True
            return new, False
        self._told = False
        return new, True

    def _open(self) -> Inotify:
        self._inotify = Inotify()
        self._owner.forever("inotify", self._read)
        return self._inotify

    async def _read(self) -> None:
        while self._inotify is not None:
            self._note(await self._inotify.get())

    def _note(self, event: Event) -> None:
        if event.mask & (_LOST | Mask.Q_OVERFLOW):
            # Which one it was does not matter: adding a watch twice does nothing.
            self._watched.clear()
        elif event.name is not None and event.name.name.startswith("."):
            return
        self._changed()
