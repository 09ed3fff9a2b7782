"""The source of static pods that are pushed: manifests under names, kept on disk over restarts.

A manifest is taken as a whole or not at all, and its file is written before anybody hears of it: a
daemon that is killed at any instant has the old or the new one. What is on disk and cannot be used
is told of and passed over.
"""

import asyncio
import logging
import os
import stat
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

from pykubelet.api import names
from pykubelet.api.core import Pod
from pykubelet.api.machinery import StatusCause, StatusError
from pykubelet.api.podinfo import full_name
from pykubelet.api.pushed import PushedManifest, PushedPod
from pykubelet.base.files import remove_temporary, write_atomic
from pykubelet.base.journal import Events, Journal
from pykubelet.base.tasks import TaskOwner

from .ignored import warn_of_ignored
from .mux import Send
from .static import ManifestError, Origin, StaticPod, read_whatever

log = logging.getLogger(__name__)

#: The largest manifest that may be pushed, in bytes.
MAX_PUSHED: Final = 1 << 20
#: How many manifests may be kept.
_MAX_MANIFESTS: Final = 500
#: The longest name, so that the file's (and the temporary one's) fits into a directory.
_MAX_NAME: Final = 200
_SUFFIX: Final = ".yaml"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Stored:
    """What one manifest on disk holds."""

    pods: tuple[StaticPod, ...] = ()
    problems: tuple[str, ...] = ()


def check_name(name: str) -> None:
    """Whether *name* may be a manifest's: it becomes a file's name.

    :raises StatusError: it may not.
    """
    problems = names.dns_subdomain(name)
    if len(name) > _MAX_NAME:
        problems = [f"must be no more than {_MAX_NAME} characters"]
    if problems:
        causes = [StatusCause("FieldValueInvalid", problem, "name") for problem in problems]
        raise StatusError(400, "BadRequest", f"the manifest's name is not valid: {problems[0]}", causes)


def refusal(name: str, errors: Sequence[ManifestError]) -> StatusError:
    """The answer to a manifest with *errors*: 400 if it could not be read, 422 if it is not sound."""
    causes = []
    for error in errors:
        if error.fields:
            causes += [StatusCause("FieldValueInvalid", str(one), one.path) for one in error.fields]
        elif error.field:
            causes.append(StatusCause("FieldValueInvalid", str(error), error.field))
    text = "; ".join(str(error) for error in errors)
    if all(error.readable for error in errors):
        return StatusError(422, "Invalid", text, causes, name=name)
    return StatusError(400, "BadRequest", text, causes, name=name)


def clash(name: str, pods: Sequence[Pod], others: Mapping[str, Stored]) -> StatusError | None:
    """Why *pods* cannot be those of manifest *name*: one is there twice, here or in another manifest."""
    owners: dict[str, str] = {}
    for other, stored in others.items():
        if other != name:
            for static in stored.pods:
                owners[full_name(static.pod)] = owners[static.pod.metadata.uid] = other
    seen: set[str] = set()
    for pod in pods:
        for what, key, field in (
            ("pod name", full_name(pod), "metadata.name"),
            ("pod UID", pod.metadata.uid, "metadata.uid"),
        ):
            if key in owners:
                return StatusError(
                    409, "Conflict", f'{what} "{key}" is that of manifest "{owners[key]}"', name=name
                )
            if key in seen:
                text = f'duplicate {what} "{key}" in the manifest'
                return StatusError(
                    422, "Invalid", text, [StatusCause("FieldValueDuplicate", text, field)], name=name
                )
            seen.add(key)
    return None


class PushSource:
    """Keeps pushed manifests and sends the complete set of their pods; implements the server's door."""

    def __init__(self, directory: Path, node: str, journal: Journal, events: Events) -> None:
        """*directory* is made by :meth:`load` and belongs to this source alone."""
        self._directory = directory
        self._node = node
        self._journal = journal
        self._events = events
        self._manifests: dict[str, Stored] = {}
        self._changed = asyncio.Event()
        # One change after the other, each run to its end even if its caller goes away.
        self._writing = asyncio.Lock()
        self._tasks = TaskOwner("push-source")

    # --- life -----------------------------------------------------------------

    async def load(self) -> None:
        """Read what was pushed to the daemon before this one; nothing may be pushed before.

        :raises OSError: the directory cannot be used.
        """
        self._manifests = await asyncio.to_thread(self._read_all)
        for name, stored in self._manifests.items():
            self._warn(name, stored.pods, ())
            for problem in stored.problems:
                text = f'Could not process pushed manifest "{name}": {problem}'
                log.error("%s", text)
                self._events.node_event("Warning", "FailedValidation", text)
                self._journal.record("ManifestRejected", text, cause="the stored file was read", file=name)
        self._changed.set()

    async def run(self, send: Send) -> None:
        """Send the pods, again after each change, until cancelled; give this to ``TaskOwner.forever``."""
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            await send([static.pod for stored in self._manifests.values() for static in stored.pods])

    async def close(self) -> None:
        """End changes that are under way."""
        await self._tasks.close()

    # --- the door of the server -----------------------------------------------

    @property
    def limit(self) -> int:
        """The largest manifest, in bytes."""
        return MAX_PUSHED

    def manifests(self) -> Sequence[PushedManifest]:
        """All manifests, by name."""
        return [self._view(name) for name in sorted(self._manifests)]

    async def read(self, name: str) -> bytes:
        """The manifest as it was pushed.

        :raises StatusError: there is none of that name, or it cannot be read.
        """
        check_name(name)
        if name not in self._manifests:
            raise _not_found(name)
        try:
            return await asyncio.to_thread(_read, self._file(name))
        except (OSError, ValueError) as error:
            raise StatusError(500, "InternalError", f"the stored manifest: {error}", name=name) from error

    async def put(self, name: str, data: bytes, user: str) -> tuple[PushedManifest, bool]:
        """Keep a manifest of that name, new or in the old one's place; and whether it is new.

        :raises StatusError: name or manifest are no good, a pod is another manifest's, or the disk
            refuses. What was there stays.
        """
        check_name(name)
        statics, errors = await asyncio.to_thread(read_whatever, data, self._origin(name), self._node)
        if errors:
            raise refusal(name, errors)
        new = await self._done(self._put(name, data, tuple(statics), user))
        return self._view(name), new

    async def delete(self, name: str, user: str) -> None:
        """Forget a manifest; its pods end.

        :raises StatusError: there is none of that name, or the disk refuses.
        """
        check_name(name)
        await self._done(self._delete(name, user))

    # --- changes --------------------------------------------------------------

    async def _done(self, change: Coroutine[Any, Any, T | StatusError]) -> T:
        """Run a change to its end, whatever becomes of who asked for it."""
        result = await asyncio.shield(self._tasks.spawn("change", change))
        if isinstance(result, StatusError):
            raise result
        return result

    async def _put(
        self, name: str, data: bytes, statics: tuple[StaticPod, ...], user: str
    ) -> bool | StatusError:
        async with self._writing:
            old = self._manifests.get(name)
            wrong = clash(name, [static.pod for static in statics], self._manifests)
            if wrong is not None:
                return wrong
            if old is None and len(self._manifests) >= _MAX_MANIFESTS:
                return StatusError(
                    403, "Forbidden", f"there are {_MAX_MANIFESTS} manifests already", name=name
                )
            failed = await self._on_disk(name, partial(write_atomic, self._file(name), data))
            if failed is not None:
                return failed
            self._warn(name, statics, old.pods if old is not None else ())
            self._manifests[name] = Stored(statics)
            self._tell("ManifestPushed", name, f'manifest "{name}" holds {len(statics)} pods', user)
            return old is None

    async def _delete(self, name: str, user: str) -> StatusError | None:
        async with self._writing:
            if name not in self._manifests:
                return _not_found(name)
            failed = await self._on_disk(name, partial(self._file(name).unlink, missing_ok=True))
            if failed is not None:
                return failed
            del self._manifests[name]
            self._tell("ManifestDeleted", name, f'manifest "{name}" is deleted', user)
            return None

    async def _on_disk(self, name: str, change: Callable[[], None]) -> StatusError | None:
        try:
            await asyncio.to_thread(change)
        except OSError as error:
            log.error("pushed manifest %s: %s", name, error)
            text = f"the manifest cannot be stored: {error.strerror or error}"
            return StatusError(500, "InternalError", text, name=name)
        return None

    def _tell(self, decision: str, name: str, text: str, user: str) -> None:
        self._journal.record(decision, text, cause=f"asked for by {user}", file=name)
        self._changed.set()

    def _warn(self, name: str, statics: Sequence[StaticPod], known: Sequence[StaticPod]) -> None:
        warn_of_ignored(self._journal, self._events, statics, known, f'pushed manifest "{name}"')

    # --- what is kept ---------------------------------------------------------

    def _view(self, name: str) -> PushedManifest:
        stored = self._manifests.get(name, Stored())
        pods = [static.pod.metadata for static in stored.pods]
        return PushedManifest(
            name=name,
            pods=[PushedPod(namespace=meta.namespace, name=meta.name, uid=meta.uid) for meta in pods],
            problems=list(stored.problems),
            warnings=[warning for static in stored.pods for warning in static.warnings],
        )

    def _origin(self, name: str) -> Origin:
        return Origin("push", name, f"pushed manifest {name}")

    def _file(self, name: str) -> Path:
        return self._directory / f"{name}{_SUFFIX}"

    def _read_all(self) -> dict[str, Stored]:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.chmod(self._directory, 0o700)
        remove_temporary(self._directory)
        found: dict[str, Stored] = {}
        for path in sorted(self._directory.iterdir()):
            name = path.name.removesuffix(_SUFFIX)
            try:
                check_name(name if path.suffix == _SUFFIX else "")
            except StatusError:
                log.warning("%s is no pushed manifest, it is passed over", path)
                continue
            found[name] = self._read_one(name, path)
        return found

    def _read_one(self, name: str, path: Path) -> Stored:
        try:
            data = _read(path)
        except (OSError, ValueError) as error:
            return Stored(problems=(f"cannot be read: {error}",))
        pods, errors = read_whatever(data, self._origin(name), self._node)
        return Stored(tuple(pods), tuple(str(error) for error in errors))


def _read(path: Path) -> bytes:
    """A stored manifest; blocking.

    :raises OSError: unreadable, or a link.
    :raises ValueError: no file, or too large.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("not a regular file")
        data = file.read(MAX_PUSHED + 1)
    if len(data) > MAX_PUSHED:
        raise ValueError(f"larger than {MAX_PUSHED} bytes")
    return data


def _not_found(name: str) -> StatusError:
    return StatusError(404, "NotFound", f'manifests "{name}" not found', name=name)
