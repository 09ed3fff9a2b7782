"""The records of pulls on disk, read once and then kept in memory too; all here blocks.

Its directory ``pulling`` holds intents, ``pulled`` records; each file is written whole or not at all.
"""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, TypeVar

from pykubelet.base.files import read_limited

from .formats import (
    Intent,
    PulledRecord,
    decode_intent,
    decode_record,
    encode_intent,
    encode_record,
    file_name,
    is_record,
)

log = logging.getLogger(__name__)

T = TypeVar("T", Intent, PulledRecord)

_LIMIT: Final = 4 << 20


class RecordStore:
    """All records of one node."""

    def __init__(self, directory: Path) -> None:
        self._pulling = directory / "pulling"
        self._pulled = directory / "pulled"
        self.intents: set[str] = set()
        self.records: dict[str, PulledRecord] = {}
        #: Files that cannot be read: what they were about is not known.
        self._unreadable: set[str] = set()

    def load(self) -> None:
        """Read what is there; records of an older version are written anew.

        :raises OSError: a directory cannot be made or read.
        """
        for directory in (self._pulling.parent, self._pulling, self._pulled):
            # What is made above it has the umask's mode alone.
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for intent, current in self._read(self._pulling, decode_intent):
            self.intents.add(intent.image)
            if not current:
                self.write_intent(intent.image)
        for record, current in self._read(self._pulled, decode_record):
            self.records[record.imageRef] = record
            if not current:
                self.write_record(record)

    def _read(self, directory: Path, decode: Callable[[bytes], tuple[T, bool]]) -> Iterator[tuple[T, bool]]:
        for path in sorted(directory.iterdir()):
            if not is_record(path.name) or path.is_dir():
                continue
            try:
                found, current = decode(read_limited(path, _LIMIT))
            except (OSError, ValueError) as error:
                log.error("the record of an image pull %s cannot be read: %s", path, error)
                self._unreadable.add(path.name)
                continue
            key = found.image if isinstance(found, Intent) else found.imageRef
            # A file under another's name says nothing about either.
            if file_name(key) == path.name:
                yield found, current

    def unreadable(self, ref: str) -> bool:
        """Whether there is a record of the image, but one that cannot be read."""
        return file_name(ref) in self._unreadable

    def write_intent(self, image: str) -> None:
        """Note that *image* is going to be pulled.

        :raises OSError: it cannot be noted.
        """
        _write(self._pulling / file_name(image), encode_intent(image))
        self.intents.add(image)

    def delete_intent(self, image: str) -> None:
        """Forget that *image* was going to be pulled.

        :raises OSError: it stays.
        """
        (self._pulling / file_name(image)).unlink(missing_ok=True)
        self.intents.discard(image)

    def write_record(self, record: PulledRecord) -> None:
        """Keep *record* in place of the one before.

        :raises OSError: the old one stays.
        """
        name = file_name(record.imageRef)
        _write(self._pulled / name, encode_record(record))
        self.records[record.imageRef] = record
        self._unreadable.discard(name)

    def delete_record(self, ref: str) -> None:
        """Forget who pulled the image.

        :raises OSError: it stays.
        """
        (self._pulled / file_name(ref)).unlink(missing_ok=True)
        self.records.pop(ref, None)


def _write(path: Path, data: bytes) -> None:
    """Upstream's way of writing: what a crash leaves has a name that both kubelets overwrite."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_name(f"{path.name}.tmp")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise
