"""Telling journal entries in words, as ``pykubelet explain`` prints them."""

from collections.abc import Iterable

from pykubelet.base.clock import from_ns
from pykubelet.base.gotext import format_duration

from .journal import Entry

_SECOND = 1_000_000_000


def tell(entries: Iterable[Entry]) -> list[str]:
    """One or two lines an entry: when, what, and why with the facts it was decided from."""
    lines: list[str] = []
    for entry in entries:
        moment = from_ns(entry.time)
        stamp = f"{moment:%Y-%m-%d %H:%M:%S}.{moment.microsecond // 1000:03d}"
        where = f" [{entry.container}]" if entry.container else ""
        mark = "!" if entry.type == "Warning" else " "
        label = f"event {entry.what}" if entry.kind == "event" else entry.what
        lines.append(f"{stamp} {mark} {label}{where}: {entry.text}{_times(entry)}")
        why = _why(entry)
        if why:
            lines.append(f"{'':26}because {why}")
    return lines


def _times(entry: Entry) -> str:
    if entry.count == 1:
        return ""
    span = (entry.time - entry.first) // _SECOND * _SECOND
    return f" (x{entry.count} over {format_duration(span)})"


def _why(entry: Entry) -> str:
    facts = ", ".join(f"{key}={value}" for key, value in entry.facts.items() if value is not None)
    if entry.cause and facts:
        return f"{entry.cause} ({facts})"
    if facts:
        return f"({facts})"
    return entry.cause
