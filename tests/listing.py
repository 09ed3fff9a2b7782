"""What lies in directories from which others take things meanwhile; to ``Path.glob`` that is an error."""

import contextlib
import os
from pathlib import Path


def listed(directory: str | Path) -> list[Path]:
    """What is in a directory; nothing if there is none."""
    with contextlib.suppress(FileNotFoundError, NotADirectoryError):
        return [Path(directory, name) for name in os.listdir(directory)]
    return []


def files_below(top: str | Path, name: str) -> list[Path]:
    """All files of that *name* below a directory."""
    return [Path(directory, name) for directory, _, files in os.walk(top) if name in files]


def contents(file: Path) -> str:
    """What a file says; nothing if it is gone, or (below ``/sys``) what it tells of is."""
    with contextlib.suppress(OSError):
        return file.read_text()
    return ""


def target(link: Path) -> str:
    """Where a symbolic link leads; nowhere if it is gone."""
    with contextlib.suppress(FileNotFoundError):
        return os.readlink(link)
    return ""
