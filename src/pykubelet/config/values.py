"""How a flag's text becomes a value: pflag's and the kubelet's own kinds of flags, one function each.

Every function takes (previous value of this command line or None, text) and returns the new value,
or raises ValueError with the reason. The previous value is what an earlier use of the same flag on
the same command line made: lists and maps add to it, all others replace it.
"""

import csv
import ipaddress
import re
from collections.abc import Callable
from typing import Any

from ..api.quantity import Quantity
from ..base import gotext
from ..base.duration import Duration
from .names import label_value_error, qualified_name_error
from .types import MemoryReservation, Taint, VModuleItem

Parse = Callable[[Any, str], Any]

TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def string(_: str | None, text: str) -> str:
    """Any text."""
    return text


def boolean(_: bool | None, text: str) -> bool:
    """Go's spellings of true and false."""
    try:
        return gotext.parse_bool(text)
    except ValueError:
        raise ValueError(f'strconv.ParseBool: parsing "{text}": invalid syntax') from None


_INT = re.compile(r"[+-]?(?:0[xX][0-9a-fA-F]+(?:_[0-9a-fA-F]+)*|0[oO]?[0-7_]*|0[bB][01_]+|[1-9][0-9_]*)")


def _integer(text: str, bits: int, *, signed: bool = True) -> int:
    name = "ParseInt" if signed else "ParseUint"
    if not _INT.fullmatch(text) or (not signed and text[0] in "+-"):
        raise ValueError(f'strconv.{name}: parsing "{text}": invalid syntax')
    sign, digits = (-1, text[1:]) if text[0] == "-" else (1, text.lstrip("+"))
    digits = re.sub(r"^0(?=[0-7_]+$)", "0o", digits)
    try:
        value = sign * int(digits, 0)
    except ValueError:
        raise ValueError(f'strconv.{name}: parsing "{text}": invalid syntax') from None
    low, high = (-(1 << (bits - 1)), (1 << (bits - 1)) - 1) if signed else (0, (1 << bits) - 1)
    if not low <= value <= high:
        raise ValueError(f'strconv.{name}: parsing "{text}": value out of range')
    return value


def int32(_: int | None, text: str) -> int:
    """A 32-bit integer; 0x, 0o and 0b as Go reads them."""
    return _integer(text, 32)


def int64(_: int | None, text: str) -> int:
    """A 64-bit integer."""
    return _integer(text, 64)


def level(_: int | None, text: str) -> int:
    """A log verbosity: a decimal that fits 31 bits."""
    if not re.fullmatch(r"[0-9]+", text):
        raise ValueError(f'strconv.ParseUint: parsing "{text}": invalid syntax')
    if int(text) >= 1 << 31:
        raise ValueError(f'strconv.ParseUint: parsing "{text}": value out of range')
    return int(text)


def duration(_: Duration | None, text: str) -> Duration:
    """Go's duration text; a bare number lacks its unit."""
    try:
        return Duration.parse(text)
    except ValueError:
        if re.fullmatch(r"[+-]?[0-9]+(\.[0-9]*)?", text):
            raise ValueError(f'time: missing unit in duration "{text}"') from None
        raise ValueError(f'time: invalid duration "{text}"') from None


def ip(_: str | None, text: str) -> str:
    """An IP address; empty leaves the default."""
    if text:
        try:
            ipaddress.ip_address(_sloppy(text))
        except ValueError:
            raise ValueError(f'"{text}" is not a valid IP address') from None
    return text


def _sloppy(text: str) -> str:
    return ".".join(part.lstrip("0") or "0" for part in text.split(".")) if ":" not in text else text


def strings(before: list[str] | None, text: str) -> list[str]:
    """Comma-separated, as one CSV record; a second use of the flag adds."""
    if not text:
        return before or []
    if text.count('"') % 2 or re.search(r'[^,"]"[^,"]', text):
        raise ValueError(f'bare " in non-quoted-field of {text!r}')
    return (before or []) + next(csv.reader([text]))


def _pairs(separator: str, expected: str, text: str) -> list[tuple[str, str]]:
    out = []
    for pair in text.split(","):
        if pair:
            key, found, value = pair.partition(separator)
            if not found:
                raise ValueError(f"malformed pair, expect {expected}")
            out.append((key.strip(), value.strip()))
    return out


def map_strings(before: dict[str, str] | None, text: str) -> dict[str, str]:
    """``k=v,k=v``; a second use of the flag adds."""
    return {**(before or {}), **dict(_pairs("=", "string=string", text))}


def map_one(before: dict[str, str] | None, text: str) -> dict[str, str]:
    """One ``k=v`` whose value may hold commas; a second use of the flag adds."""
    key, found, value = text.partition("=")
    if not found:
        raise ValueError("malformed pair, expect string=string")
    return {**(before or {}), key.strip(): value.strip()}


def map_less_than(before: dict[str, str] | None, text: str) -> dict[str, str]:
    """``signal<value,…``: eviction thresholds."""
    return {**(before or {}), **dict(_pairs("<", "string<string", text))}


def map_bools(before: dict[str, bool] | None, text: str) -> dict[str, bool]:
    """``Gate=true,…``."""
    out = dict(before or {})
    for key, value in _pairs("=", "string=bool", text):
        try:
            out[key] = gotext.parse_bool(value)
        except ValueError as error:
            raise ValueError(f"invalid value of {key}: {value}, err: {error}") from None
    return out


def multimap(before: dict[str, list[str]] | None, text: str) -> dict[str, list[str]]:
    """``k:v,k:v2``; values of one key are kept in order."""
    out = {key: list(values) for key, values in (before or {}).items()}
    for key, value in _pairs(":", "string:string", text):
        out.setdefault(key, []).append(value)
    return out


def labels(before: dict[str, str] | None, text: str) -> dict[str, str]:
    """``k=v,k,…``: a label without a value is empty."""
    out = dict(before or {})
    for pair in text.split(","):
        if pair:
            key, _, value = pair.partition("=")
            out[key.strip()] = value.strip()
    return out


def reserved_memory(before: list[MemoryReservation] | None, text: str) -> list[MemoryReservation]:
    """``0:memory=1Gi,hugepages-2Mi=1Gi;1:memory=…``; a second use of the flag adds."""
    if not text:
        return before or []
    return (before or []) + [_reservation(part) for part in text.split(";")]


def _reservation(text: str) -> MemoryReservation:
    node, found, kinds = text.partition(":")
    if not found or ":" in kinds:
        raise ValueError(f"expected numaNodeID:type=quantity[,type=quantity...], got {text}")
    if not re.fullmatch(r"[+-]?[0-9]+", node):
        raise ValueError(f"the NUMA node must be an integer, got {node}")
    limits: dict[str, Quantity] = {}
    for kind in kinds.split(","):
        name, found, amount = kind.partition("=")
        if not found or "=" in amount:
            raise ValueError(f"expected type=quantity, got {kind}")
        if name != "memory" and not name.startswith("hugepages-"):
            raise ValueError(f'unknown memory type "{name}"')
        try:
            limits[name] = Quantity.parse(amount)
        except ValueError:
            raise ValueError(f"failed to parse the quantity: {amount}") from None
    return MemoryReservation(numaNode=_integer(node, 32), limits=limits)


def taints(_: list[Taint] | None, text: str) -> list[Taint]:
    """``key=value:Effect,…``; the last use of the flag counts."""
    out: list[Taint] = []
    for spec in text.split(",") if text else []:
        if spec.endswith("-"):
            continue
        taint = _taint(spec)
        if any((taint.key, taint.effect) == (other.key, other.effect) for other in out):
            raise ValueError(f"duplicated taints with the same key and effect: {spec}")
        out.append(taint)
    return out


def _taint(spec: str) -> Taint:
    pair, _, effect = spec.partition(":")
    key, found, value = pair.partition("=")
    if effect not in TAINT_EFFECTS:
        raise ValueError(f"invalid taint {spec}: the effect must be one of {', '.join(TAINT_EFFECTS)}")
    problem = qualified_name_error(key) or (label_value_error(value) if found else "")
    if problem:
        raise ValueError(f"invalid taint {spec}: {problem}")
    return Taint(key=key, value=value, effect=effect)


def vmodule(before: list[VModuleItem] | None, text: str) -> list[VModuleItem]:
    """``pattern=N,…``; a second use of the flag adds."""
    out = list(before or [])
    for item in text.split(","):
        if item:
            pattern, _, number = item.partition("=")
            if not pattern or not number or "=" in number:
                raise ValueError(f'"{item}" does not have the pattern=N format')
            out.append(VModuleItem(filePattern=pattern, verbosity=level(None, number)))
    return out


def quantity(_: str | None, text: str) -> str:
    """A size such as 512 or 2Ki, kept as text."""
    try:
        Quantity.parse(text)
    except ValueError:
        raise ValueError(f'"{text}" is not a quantity') from None
    return text


def version(_: str | None, text: str) -> str:
    """``raw``, a bool, or a version to report."""
    if text == "raw":
        return text
    if text.startswith("v"):
        if not re.fullmatch(r"v[0-9]+\.[0-9]+\.[0-9]+([-+].*)?", text):
            raise ValueError(f"invalid version {text}")
        return text
    return str(boolean(None, text)).lower()
