"""Go's text forms, where they cross a wire, a disk or a user's eye."""

import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_MAX_NS = (1 << 63) - 1


def parse_duration(text: str) -> int:
    """Nanoseconds of a Go duration such as ``1h15m30.5s``.

    :raises ValueError: not a Go duration, or out of an int64's range.
    """
    body = text[1:] if text[:1] in "+-" else text
    if body == "0":
        return 0
    total, at = 0, 0
    while at < len(body):
        part = _PART.match(body, at)
        if part is None:
            break
        number, unit = part.groups()
        whole, _, fraction = number.partition(".")
        scale = _UNITS_NS[unit]
        total += int(whole or "0") * scale
        if fraction:
            total += int(fraction) * scale // 10 ** len(fraction)
        at = part.end()
    if not body or at != len(body) or total > _MAX_NS:
        raise ValueError(f'invalid duration "{text}"')
    return -total if text[0] == "-" else total


def _trim(value: int, digits: int) -> str:
    whole, fraction = divmod(value, 10**digits)
    tail = str(fraction).rjust(digits, "0").rstrip("0")
    return f"{whole}.{tail}" if tail else str(whole)


def format_duration(ns: int) -> str:
    """A duration in nanoseconds as Go prints it: ``1h0m0s``, ``1.5s``, ``300ms``, ``0s``."""
    if ns == 0:
        return "0s"
    sign, ns = ("-", -ns) if ns < 0 else ("", ns)
    if ns < 1_000:
        return f"{sign}{ns}ns"
    if ns < 1_000_000:
        return f"{sign}{_trim(ns, 3)}µs"
    if ns < 1_000_000_000:
        return f"{sign}{_trim(ns, 6)}ms"
    minutes, rest = divmod(ns, 60_000_000_000)
    hours, minutes = divmod(minutes, 60)
    seconds = _trim(rest, 9)
    if hours:
        return f"{sign}{hours}h{minutes}m{seconds}s"
    return f"{sign}{minutes}m{seconds}s" if minutes else f"{sign}{seconds}s"


def go_list(items: Iterable[object]) -> str:
    """A slice as ``%v`` prints it: ``[a b c]``."""
    return "[" + " ".join(str(item) for item in items) + "]"


def aggregate(errors: Iterable[object]) -> str:
    """Several errors as one text: one alone, more as ``[a, b]`` without repeats."""
    texts = list(dict.fromkeys(str(error) for error in errors))
    return texts[0] if len(texts) == 1 else "[" + ", ".join(texts) + "]"


_ESCAPES = {
    "<": "\\u003c",
    ">": "\\u003e",
    "&": "\\u0026",
    "\u2028": "\\u2028",
    "\u2029": "\\u2029",
}


def go_json(value: Any) -> str:
    """Compact JSON as Go's encoder writes it; keys stay in the order given."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    for plain, escaped in _ESCAPES.items():
        text = text.replace(plain, escaped)
    return text


_TRUE = frozenset({"1", "t", "T", "TRUE", "true", "True"})
_FALSE = frozenset({"0", "f", "F", "FALSE", "false", "False"})


def go_os_error(operation: str, error: OSError) -> str:
    """A refusal of the kernel as Go words it: ``open /x: no such file or directory``."""
    return f"{operation} {error.filename}: {(error.strerror or str(error)).lower()}"


def parse_bool(text: str) -> bool:
    """A bool as Go's ``strconv.ParseBool`` reads it.

    :raises ValueError: not one of Go's spellings.
    """
    if text in _TRUE:
        return True
    if text in _FALSE:
        return False
    raise ValueError(f'invalid boolean value "{text}"')


def rfc3339(moment: datetime) -> str:
    """A time as ``metav1.Time`` is written: UTC, whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def rfc3339_nano_fixed(ns: int) -> str:
    """Nanoseconds since the epoch with nine decimals and the local zone's offset."""
    local = datetime.fromtimestamp(ns // 1_000_000_000).astimezone()
    offset = local.strftime("%z")
    zone = "Z" if offset == "+0000" else f"{offset[:3]}:{offset[3:5]}"
    return f"{local:%Y-%m-%dT%H:%M:%S}.{ns % 1_000_000_000:09d}{zone}"


_QUOTED = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
    '"': '\\"',
}


def _quoted(char: str) -> str:
    if char in _QUOTED:
        return _QUOTED[char]
    if char.isprintable():
        return char
    number = ord(char)
    if number < 0x80:
        return f"\\x{number:02x}"
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"


def go_quote(text: str) -> str:
    """A string as ``%q`` prints it, in double quotes."""
    return '"' + "".join(map(_quoted, text)) + '"'


def format_size(size: int) -> str:
    """Bytes as upstream's events have them: ``1.5 GiB``."""
    amount = float(size)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{size} B" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"
