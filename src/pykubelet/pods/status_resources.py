"""The resources that a container's status reports: what is really in force where the runtime tells."""

import msgspec

from pykubelet.api.core import Container, ContainerStatus, ResourceList, ResourceRequirements
from pykubelet.api.quantity import Format, Quantity
from pykubelet.api.wellknown import CPU, MEMORY
from pykubelet.cri.types import ContainerState, LinuxResources
from pykubelet.cri.types import ContainerStatus as Instance

#: At or below these the kernel's smallest values are in force; the spec's own value is shown then.
_MIN_REQUEST_MILLI = 2
_MIN_LIMIT_MILLI = 10
_SHARES_PER_CPU = 1024


def reported_resources(
    container: Container, instance: Instance, old: ContainerStatus | None
) -> ResourceRequirements:
    """Resources of *instance*; *old* is what was last reported of this same instance.

    Only resources of a list that the spec has at all are replaced.
    """
    wanted = container.resources
    if instance.state is not ContainerState.RUNNING:
        return wanted
    before = ResourceRequirements()
    if old is not None and old.state.running is not None and isinstance(old.resources, ResourceRequirements):
        before = old.resources
    real = instance.resources
    limits, requests = dict(wanted.limits), dict(wanted.requests)
    if limits:
        _put(limits, CPU, _cpu_limit(real), before.limits, _MIN_LIMIT_MILLI)
        _put(limits, MEMORY, _memory_limit(real), before.limits)
    if requests:
        _put(requests, CPU, _cpu_request(real), before.requests, _MIN_REQUEST_MILLI)
        # The runtime does not know of memory requests: what was reported stays.
        _put(requests, MEMORY, None, before.requests)
    return msgspec.structs.replace(wanted, limits=limits, requests=requests)


def _put(
    into: ResourceList, name: str, real: Quantity | None, before: ResourceList, least_milli: int = -1
) -> None:
    """Set *name* to what is in force, or to what was reported *before* when the runtime is silent."""
    if real is None:
        if name in before:
            into[name] = before[name]
    elif real.milli_value() > least_milli or (name in into and into[name].milli_value() > least_milli):
        into[name] = real


def _cpu_limit(real: LinuxResources | None) -> Quantity | None:
    if real is None or real.cpu_period <= 0 or real.cpu_quota <= 0:
        return None
    milli = real.cpu_quota * 1000 // real.cpu_period
    return Quantity.of_milli(milli) if milli else None


def _cpu_request(real: LinuxResources | None) -> Quantity | None:
    if real is None or real.cpu_shares < _MIN_REQUEST_MILLI:
        return None
    return Quantity.of_milli(-(-real.cpu_shares * 1000 // _SHARES_PER_CPU))


def _memory_limit(real: LinuxResources | None) -> Quantity | None:
    if real is None or real.memory_limit_in_bytes <= 0:
        return None
    return Quantity.of(real.memory_limit_in_bytes, Format.BINARY_SI)
