"""Reading files that someone in a container may have swapped for anything: only regular ones."""

import os
import stat
from typing import BinaryIO


def open_regular(found: int) -> BinaryIO:
    """The regular file behind the ``O_PATH`` descriptor *found*, which is closed; blocking.

    Its kind is known before it is opened, so that no device or pipe is ever touched.

    :raises OSError: it cannot be opened.
    :raises ValueError: it is no regular file.
    """
    try:
        if not stat.S_ISREG(os.fstat(found).st_mode):
            raise ValueError("not a regular file")
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
        return os.fdopen(os.open(f"/proc/self/fd/{found}", flags), "rb", buffering=0)
    finally:
        os.close(found)


def read_regular(found: int, limit: int) -> bytes:
    """All of the file behind the ``O_PATH`` descriptor *found*, which is closed; blocking.

    :raises OSError: unreadable.
    :raises ValueError: no regular file, or larger than *limit* bytes.
    """
    with open_regular(found) as file:
        data = _read(file, limit + 1)
    if len(data) > limit:
        raise ValueError(f"larger than {limit} bytes")
    return data


def read_tail(found: int, limit: int) -> bytes:
    """The last *limit* bytes of the file behind the ``O_PATH`` descriptor *found*, which is closed; blocking.

    :raises OSError: unreadable.
    :raises ValueError: no regular file.
    """
    with open_regular(found) as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - limit))
        return _read(file, limit)


def _read(file: BinaryIO, most: int) -> bytes:
    chunks: list[bytes] = []
    while most > 0 and (chunk := file.read(most)):
        chunks.append(chunk)
        most -= len(chunk)
    return b"".join(chunks)
