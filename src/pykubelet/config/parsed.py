"""Text fields of the configuration as typed values: reservations, thresholds, CPU sets, addresses."""

import ipaddress
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from ..api.quantity import Quantity
from ..base.duration import Duration
from .types import KubeletConfiguration

RESERVABLE = ("cpu", "memory", "ephemeral-storage", "pid")

SIGNALS = (
    "memory.available",
    "nodefs.available",
    "nodefs.inodesFree",
    "imagefs.available",
    "imagefs.inodesFree",
    "containerfs.available",
    "containerfs.inodesFree",
    "allocatableMemory.available",
    "pid.available",
)

_MAX_CPU = 1 << 16

T = TypeVar("T")

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


@dataclass(frozen=True, slots=True)
class Amount:
    """A quantity, or else a share (0 to 1) of the capacity."""

    quantity: Quantity | None = None
    share: float = 0.0


@dataclass(frozen=True, slots=True)
class Threshold:
    """Evict when *signal* falls below *value* (for *grace* without a break, where soft)."""

    signal: str
    value: Amount
    grace: Duration | None = None
    min_reclaim: Amount | None = None


def quantity(text: str) -> Quantity:
    """Read a quantity.

    :raises ValueError: not a quantity.
    """
    try:
        return Quantity.parse(text)
    except ValueError:
        raise ValueError(f'"{text}" is not a quantity') from None


def reserved(wanted: Mapping[str, str]) -> dict[str, Quantity]:
    """SystemReserved or kubeReserved.

    :raises ValueError: a resource that cannot be reserved, or no such quantity.
    """
    out = {}
    for name, text in wanted.items():
        if name not in RESERVABLE:
            raise ValueError(f'cannot reserve "{name}": only {", ".join(RESERVABLE)}')
        try:
            amount = quantity(text)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
        if amount < Quantity.zero():
            raise ValueError(f"{name}: {text} must not be negative")
        out[name] = amount
    return out


def _signal(name: str) -> str:
    if name not in SIGNALS:
        raise ValueError(f"unsupported eviction signal {name}")
    return name


def _share(text: str) -> float:
    if not re.fullmatch(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)%", text):
        raise ValueError(f'"{text}" is not a percentage')
    return float(text[:-1]) / 100


def _threshold(signal: str, text: str) -> Amount | None:
    """What to compare with; None where the threshold is switched off (0% or 100%)."""
    if text.endswith("%"):
        if text in ("0%", "100%"):
            return None
        share = _share(text)
        if not 0 <= share <= 1:
            raise ValueError(f"{signal}: {text} must be between 0% and 100%")
        return Amount(share=share)
    amount = quantity(text)
    if not amount or amount < Quantity.zero():
        raise ValueError(f"{signal}: {text} must be positive")
    return Amount(quantity=amount)


def thresholds(config: KubeletConfiguration) -> list[Threshold]:
    """EvictionHard and evictionSoft with their grace periods and minimum reclaims.

    :raises ValueError: names the field and what is wrong with it.
    """
    reclaims = _field("evictionMinimumReclaim", config.evictionMinimumReclaim, _reclaim)
    graces = _field("evictionSoftGracePeriod", config.evictionSoftGracePeriod, _grace)
    hard = _field("evictionHard", config.evictionHard, _threshold)
    soft = _field("evictionSoft", config.evictionSoft, _threshold)
    out = [Threshold(name, value, None, reclaims.get(name)) for name, value in hard.items() if value]
    for name, value in soft.items():
        if value is not None:
            grace = graces.get(name)
            if grace is None:
                raise ValueError(
                    f"evictionSoft: {name} needs a grace period in evictionSoftGracePeriod "
                    "(--eviction-soft-grace-period)"
                )
            out.append(Threshold(name, value, grace, reclaims.get(name)))
    return out


def _field(field: str, texts: Mapping[str, str], read: Callable[[str, str], T]) -> dict[str, T]:
    out: dict[str, T] = {}
    for name, text in sorted(texts.items()):
        try:
            out[_signal(name)] = read(name, text)
        except ValueError as error:
            raise ValueError(f"{field}: {error}") from None
    return out


def _grace(signal: str, text: str) -> Duration:
    try:
        grace = Duration.parse(text)
    except ValueError as error:
        raise ValueError(f"{signal}: {error}") from None
    if grace < 0:
        raise ValueError(f"{signal}: {text} must not be negative")
    return grace


def _reclaim(signal: str, text: str) -> Amount:
    if text.endswith("%"):
        share = _share(text)
        if share <= 0:
            raise ValueError(f"{signal}: {text} must be positive")
        return Amount(share=share)
    amount = quantity(text)
    if amount < Quantity.zero():
        raise ValueError(f"{signal}: {text} must not be negative")
    return Amount(quantity=amount)


def cpuset(text: str) -> frozenset[int]:
    """CPUs in the kernel's list form, ``0-3,7``.

    :raises ValueError: not a list of CPUs.
    """
    out: set[int] = set()
    for part in text.split(",") if text else []:
        first, dash, last = part.partition("-")
        if not re.fullmatch(r"[0-9]+", first) or (dash and not re.fullmatch(r"[0-9]+", last)):
            raise ValueError(f'"{part}" is not a CPU or a range of CPUs')
        low, high = int(first), int(last or first)
        if low > high or high >= _MAX_CPU:
            raise ValueError(f'"{part}" is not a range of CPUs')
        out.update(range(low, high + 1))
    return frozenset(out)


def qos_reserved(wanted: Mapping[str, str]) -> dict[str, int]:
    """Percent of requests kept for higher QoS classes.

    :raises ValueError: another resource than memory, or no percentage.
    """
    out = {}
    for name, text in wanted.items():
        if name != "memory":
            raise ValueError(f'only memory can be reserved, not "{name}"')
        if not re.fullmatch(r"[0-9]{1,3}%", text) or int(text[:-1]) > 100:
            raise ValueError(f'{name}: "{text}" must be a percentage from 0% to 100%')
        out[name] = int(text[:-1])
    return out


def node_ips(text: str) -> list[IPAddress]:
    """--node-ip: none, one, or one of each family.

    :raises ValueError: not addresses, or not one of each family.
    """
    try:
        found = [ipaddress.ip_address(part) for part in text.split(",")] if text else []
    except ValueError as error:
        raise ValueError(str(error)) from None
    if len(found) > 2 or (len(found) == 2 and found[0].version == found[1].version):
        raise ValueError(f"{text} must be one address, or one of each family")
    if len(found) == 2 and any(address.is_unspecified for address in found):
        raise ValueError(f"{text}: two addresses must not include 0.0.0.0 or ::")
    return found
