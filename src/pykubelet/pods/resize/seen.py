"""Resources as the runtime's and the kernel's own numbers tell them. Pure."""

from pykubelet.api.core import Pod, ResourceList, ResourceRequirements
from pykubelet.api.quantity import Format, Quantity
from pykubelet.api.resources import pod_limits, pod_requests
from pykubelet.api.wellknown import CPU, MEMORY
from pykubelet.cri.types import LinuxResources
from pykubelet.linux.cfs import MIN_SHARES, shares_to_milli
from pykubelet.linux.cgroups import Limits

from .amounts import PodAmounts, ResizeGates, laid_over

#: A limit of CPU at or below this is the smallest that the kernel takes.
MIN_LIMIT_MILLI = 10


def cpu_limit(real: LinuxResources | None) -> Quantity | None:
    """The CPU limit that quota and period are; None where there is none."""
    if real is None or real.cpu_period <= 0 or real.cpu_quota <= 0:
        return None
    milli = real.cpu_quota * 1000 // real.cpu_period
    return Quantity.of_milli(milli) if milli else None


def cpu_request(real: LinuxResources | None) -> Quantity | None:
    """The CPU request that the shares are; None where they are not told."""
    if real is None or real.cpu_shares < MIN_SHARES:
        return None
    return Quantity.of_milli(shares_to_milli(real.cpu_shares))


def memory_limit(real: LinuxResources | None) -> Quantity | None:
    """The memory limit; None where there is none."""
    if real is None or real.memory_limit_in_bytes <= 0:
        return None
    return Quantity.of(real.memory_limit_in_bytes, Format.BINARY_SI)


def as_the_runtime_shows(wanted: ResourceRequirements, real: LinuxResources | None) -> ResourceRequirements:
    """*wanted* with the amounts that the runtime shows in the place of those that it contradicts.

    For a container that nobody recorded: what the runtime does not know counts as granted.
    """
    limits, requests = dict(wanted.limits), dict(wanted.requests)
    _correct(limits, CPU, cpu_limit(real), MIN_LIMIT_MILLI)
    _correct(limits, MEMORY, memory_limit(real), 0)
    _correct(requests, CPU, cpu_request(real), MIN_SHARES)
    return ResourceRequirements(limits=limits, requests=requests, claims=wanted.claims)


def _correct(amounts: ResourceList, name: str, real: Quantity | None, least_milli: int) -> None:
    known = amounts.get(name)
    if real is None or (known is not None and known.milli_value() == real.milli_value()):
        return
    if real.milli_value() > least_milli or (known is not None and known.milli_value() > least_milli):
        amounts[name] = real


def whole_in_force(
    pod: Pod, recorded: PodAmounts | None, limits: Limits, wanted: Limits, gates: ResizeGates
) -> ResourceRequirements:
    """The resources of the pod as a whole, as its cgroup has them.

    Where the kernel has what it should have (*wanted*), the amounts are the exact ones of the spec: its
    own are rounded. The kernel does not know of memory requests: what is *recorded* counts.
    """
    stated = pod.spec.resources or ResourceRequirements()
    requests, bounds = dict(stated.requests), dict(stated.limits)
    asked, bound = pod_requests(pod), pod_limits(pod)
    real = LinuxResources(
        limits.cpu_period or 0, limits.cpu_quota or 0, limits.cpu_shares or 0, limits.memory or 0
    )
    if limits.cpu_shares == wanted.cpu_shares:
        _put(requests, CPU, asked.get(CPU))
    else:
        _correct(requests, CPU, cpu_request(real), MIN_SHARES)
    have = pod if recorded is None else laid_over(pod, recorded, gates)
    _put(requests, MEMORY, pod_requests(have).get(MEMORY))
    if (limits.cpu_quota, limits.cpu_period) != (wanted.cpu_quota, wanted.cpu_period):
        _correct(bounds, CPU, cpu_limit(real), MIN_LIMIT_MILLI)
    elif cpu_limit(real) is not None:
        _put(bounds, CPU, bound.get(CPU))
    if limits.memory != wanted.memory:
        _correct(bounds, MEMORY, memory_limit(real), 0)
    elif memory_limit(real) is not None:
        _put(bounds, MEMORY, bound.get(MEMORY))
    return ResourceRequirements(limits=bounds, requests=requests, claims=stated.claims)


def _put(amounts: ResourceList, name: str, amount: Quantity | None) -> None:
    if amount is not None:
        amounts[name] = amount
