"""What a node has, what of it is kept back, and what is left for pods. Pure."""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field

from pykubelet.api.core import ResourceList
from pykubelet.api.quantity import Format, Quantity
from pykubelet.api.wellknown import HUGEPAGES_PREFIX
from pykubelet.linux.machine import Machine

from .values import PIDS

#: Which resource a hard eviction threshold keeps back.
_EVICTION_RESOURCES = {"memory.available": "memory", "nodefs.available": "ephemeral-storage"}


class ReservationError(Exception):
    """More is reserved than there is; the message is upstream's."""


@dataclass(frozen=True, slots=True)
class Reservations:
    """What is kept back from pods."""

    system: ResourceList = field(default_factory=dict)
    kube: ResourceList = field(default_factory=dict)
    #: ``evictionHard``: signal → quantity or percentage.
    eviction_hard: Mapping[str, str] = field(default_factory=dict)


def capacity_of(
    machine: Machine, *, max_pods: int, pods_per_core: int = 0, ephemeral_storage: int | None = None
) -> ResourceList:
    """The node's capacity; *ephemeral_storage* is the size of the root directory's file system in bytes.

    *pods_per_core* (0 for none) lowers *max_pods*.
    """
    pods = min(max_pods, pods_per_core * machine.cpus) if pods_per_core > 0 else max_pods
    capacity = {
        "cpu": Quantity.of(machine.cpus),
        "memory": Quantity.of(machine.memory, Format.BINARY_SI),
        "pods": Quantity.of(pods),
    }
    if ephemeral_storage is not None:
        capacity["ephemeral-storage"] = Quantity.of(ephemeral_storage, Format.BINARY_SI)
    for size, count in machine.hugepages.items():
        name = HUGEPAGES_PREFIX + str(Quantity.of(size, Format.BINARY_SI))
        capacity[name] = Quantity.of(size * count, Format.BINARY_SI)
    return capacity


def reservation(capacity: ResourceList, reservations: Reservations) -> ResourceList:
    """What is kept back of each resource of *capacity*; zeros are left out."""
    evicted = eviction_reservation(reservations.eviction_hard, capacity)
    total = {}
    for name in capacity:
        amount = Quantity.zero()
        for part in (reservations.system, reservations.kube, evicted):
            amount += part.get(name, Quantity.zero())
        if amount:
            total[name] = amount
    return total


def allocatable(capacity: ResourceList, reservations: Reservations) -> ResourceList:
    """What pods may request; huge pages are no memory for anybody else. Never below zero.

    *capacity* is a node's whole capacity: devices go through unchanged.
    """
    kept = reservation(capacity, reservations)
    left = {name: _floor(total - kept.get(name, Quantity.zero())) for name, total in capacity.items()}
    if "memory" in left:
        for name, total in capacity.items():
            if name.startswith(HUGEPAGES_PREFIX):
                left["memory"] = _floor(left["memory"] - total)
    return left


def enforced(capacity: ResourceList, reservations: Reservations, max_pids: int = 0) -> ResourceList:
    """What the cgroup of all pods is held to: the eviction thresholds are not subtracted.

    *max_pids* is how many processes the machine can have, 0 if unknown.
    """
    whole = with_pids(capacity, max_pids)
    return {
        name: _floor(
            total
            - reservations.system.get(name, Quantity.zero())
            - reservations.kube.get(name, Quantity.zero())
        )
        for name, total in whole.items()
    }


def with_pids(capacity: ResourceList, max_pids: int) -> ResourceList:
    """*capacity* and the number of processes, unless that is unknown (0)."""
    return {**capacity, PIDS: Quantity.of(max_pids)} if max_pids > 0 else dict(capacity)


def check_reservation(capacity: ResourceList, reservations: Reservations) -> None:
    """Refuse to start a node that reserves more than it has.

    :raises ReservationError: with upstream's text.
    """
    errors = [
        f'Resource "{name}" has a reservation of {amount} but capacity of {capacity[name]}. '
        "Expected capacity >= reservation."
        for name, amount in reservation(capacity, reservations).items()
        if amount > capacity[name]
    ]
    if errors:
        raise ReservationError(f"invalid Node Allocatable configuration. {' '.join(errors)}")


def eviction_reservation(eviction_hard: Mapping[str, str], capacity: ResourceList) -> ResourceList:
    """What the hard thresholds keep back.

    :raises ValueError: a threshold is neither a quantity nor a percentage.
    """
    kept = {}
    for signal, text in eviction_hard.items():
        resource = _EVICTION_RESOURCES.get(signal)
        if resource is None or resource not in capacity:
            continue
        kept[resource] = threshold_amount(text, capacity[resource])
    return kept


def threshold_amount(text: str, capacity: Quantity) -> Quantity:
    """A threshold as an amount; percentages are of *capacity*, rounded down. 0 % and 100 % disable it.

    :raises ValueError: neither a quantity nor a percentage.
    """
    if not text.endswith("%"):
        return Quantity.parse(text)
    percentage = _single(float(text.removesuffix("%")))
    if percentage in {0.0, 100.0}:
        return Quantity.zero()
    return Quantity.of(int(capacity.value() * _single(percentage / 100)), Format.BINARY_SI)


def _single(number: float) -> float:
    """Rounded to single precision, in which upstream keeps percentages."""
    return float(struct.unpack("f", struct.pack("f", number))[0])


def with_reserved_cpus(reservations: Reservations, reserved_cpus: int) -> Reservations:
    """``reservedSystemCPUs`` was given: its size takes the place of both CPU reservations."""
    system = {**reservations.system, "cpu": Quantity.of(reserved_cpus)}
    kube = {name: amount for name, amount in reservations.kube.items() if name != "cpu"}
    return Reservations(system, kube, reservations.eviction_hard)


def _floor(amount: Quantity) -> Quantity:
    return amount if amount > Quantity.zero() else Quantity(0, amount.format)
