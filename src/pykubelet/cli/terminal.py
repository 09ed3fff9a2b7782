"""The user's terminal while a command runs in a container: raw, with its size."""

import contextlib
import json
import os
import sys
import termios
import tty
from collections.abc import Iterator


@contextlib.contextmanager
def raw_terminal(descriptor: int) -> Iterator[None]:
    """Hand every key through as it is typed; the terminal is put back whatever happens."""
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)


def size_message() -> bytes:
    """The terminal's size as the resize stream takes it; empty when it has none or does not tell."""
    for descriptor in (1, 0, 2):
        try:
            size = os.get_terminal_size(descriptor)
        except OSError:
            continue
        if size.columns and size.lines:
            return json.dumps({"Width": size.columns, "Height": size.lines}).encode() + b"\n"
    return b""


def stdin_is_terminal() -> bool:
    """Whether somebody types."""
    return sys.stdin is not None and os.isatty(0)
