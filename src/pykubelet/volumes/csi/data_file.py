"""``vol_data.json``: what must be known of a volume to take it away, in upstream's form.

It is written before the driver is told to make anything, so that an end at any instant leaves
it behind. Blocking.
"""

import contextlib
import errno
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pykubelet.base import files
from pykubelet.base.gotext import go_json

from .paths import DATA_FILE

PERSISTENT: Final = "Persistent"
EPHEMERAL: Final = "Ephemeral"

#: Bytes that such a file may have; names and handles are far shorter.
_LIMIT: Final = 1 << 20
_MODE: Final = 0o644

#: Our fields and the file's keys.
_KEYS: Final = {
    "attachment": "attachmentID",
    "driver": "driverName",
    "node": "nodeName",
    "selinux": "seLinuxMountContext",
    "name": "specVolID",
    "handle": "volumeHandle",
    "lifecycle": "volumeLifecycleMode",
}


class DataError(ValueError):
    """The file does not say what it must; the text names its field."""


@dataclass(frozen=True, slots=True)
class VolumeData:
    """What is noted of a volume; None leaves a key out."""

    driver: str
    handle: str
    #: The volume's name in its spec.
    name: str | None = None
    node: str | None = None
    attachment: str | None = None
    lifecycle: str | None = None
    #: The SELinux label that it is mounted with.
    selinux: str | None = None

    @property
    def ephemeral(self) -> bool:
        """Whether it ends with its pod."""
        return self.lifecycle == EPHEMERAL


def encode(data: VolumeData) -> str:
    """The file's text, byte for byte as Go's kubelet writes it."""
    told = {key: value for field, key in _KEYS.items() if (value := getattr(data, field)) is not None}
    return go_json(dict(sorted(told.items()))) + "\n"


def decode(text: bytes) -> VolumeData:
    """What a file of that *text* says; keys that are not known are passed.

    :raises DataError: it is not such a file, or driver or handle are missing.
    """
    try:
        # Go reads one value and does not look further.
        told: Any = json.JSONDecoder().raw_decode(text.decode().lstrip())[0]
    except ValueError as error:
        raise DataError(f"not JSON: {error}") from None
    except RecursionError:
        raise DataError("not JSON: nested too deep") from None
    if not isinstance(told, dict):
        raise DataError(f"expected an object, found {type(told).__name__}")
    found = {field: _text(told, key) for field, key in _KEYS.items()}
    return VolumeData(
        _needed(found["driver"], "driver"),
        _needed(found["handle"], "handle"),
        found["name"],
        found["node"],
        found["attachment"],
        found["lifecycle"],
        found["selinux"],
    )


def _text(told: dict[str, Any], key: str) -> str | None:
    value = told.get(key)
    if value is not None and not isinstance(value, str):
        raise DataError(f"{key}: expected a string, found {type(value).__name__}")
    return value


def _needed(value: str | None, field: str) -> str:
    if not value:
        raise DataError(f"{_KEYS[field]}: missing")
    return value


def load(directory: str) -> VolumeData:
    """What the data file in *directory* says.

    :raises OSError: it is missing, a link, or cannot be read.
    :raises DataError: it does not say what it must.
    """
    path = Path(directory, DATA_FILE)
    if path.is_symlink():
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fspath(path))
    try:
        return decode(files.read_limited(path, _LIMIT))
    except DataError:
        raise
    except ValueError as error:
        raise DataError(str(error)) from None


def save(directory: str, data: VolumeData) -> None:
    """Let the data file in *directory* say *data*; one that does already is not touched.

    :raises OSError: it cannot be written; the old one stays.
    """
    with contextlib.suppress(OSError, DataError):
        if load(directory) == data:
            return
    path = Path(directory, DATA_FILE)
    files.remove_temporary(path.parent, DATA_FILE)
    files.write_atomic(path, encode(data), mode=_MODE)


def remove(directory: str) -> None:
    """Remove the data file in *directory*, and what an interrupted writing left.

    :raises OSError: refused.
    """
    path = Path(directory, DATA_FILE)
    files.remove_temporary(path.parent, DATA_FILE)
    path.unlink(missing_ok=True)
