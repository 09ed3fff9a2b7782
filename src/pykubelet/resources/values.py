"""The limits of the cgroups that a kubelet makes: of one pod, of a QoS level, of all pods. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pykubelet.api.core import Pod, ResourceList
from pykubelet.api.qos import qos_class
from pykubelet.api.quantity import Quantity
from pykubelet.api.resources import limited_by_all, pod_limits, pod_requests
from pykubelet.api.wellknown import HUGEPAGES_PREFIX
from pykubelet.linux.cfs import DEFAULT_PERIOD, MIN_SHARES, UNLIMITED_QUOTA, milli_to_quota, milli_to_shares
from pykubelet.linux.cgroups import Limits

#: The name that process IDs go by among a node's resources.
PIDS = "pid"
_UNBOUNDED = 1 << 62


@dataclass(frozen=True, slots=True)
class PodCgroupConfig:
    """What the configuration says about pods' cgroups."""

    cpu_cfs_quota: bool = True
    #: Microseconds.
    cpu_cfs_quota_period: int = DEFAULT_PERIOD
    #: ``podPidsLimit``; zero or less sets none.
    pod_pids_limit: int = -1


def pod_values(pod: Pod, config: PodCgroupConfig, *, exclusive_cpus: bool = False) -> Limits:
    """The limits of the pod's cgroup, as upstream's ResourceConfigForPod computes them.

    Quota and memory limit are set when every container has one, or the pod as a whole.
    A pod with CPUs of its own has no quota.
    """
    pids = config.pod_pids_limit if config.pod_pids_limit > 0 else None
    requests, limits = pod_requests(pod), pod_limits(pod)
    hugepages = hugepage_values(requests)
    qos = qos_class(pod)
    if qos == "BestEffort":
        return Limits(cpu_shares=MIN_SHARES, pids=pids, hugepages=hugepages)
    guaranteed = qos == "Guaranteed"
    quota = period = memory = None
    if guaranteed or limited_by_all(pod, "cpu"):
        period = config.cpu_cfs_quota_period
        capped = config.cpu_cfs_quota and not exclusive_cpus
        quota = milli_to_quota(_milli(limits, "cpu"), period) if capped else UNLIMITED_QUOTA
    if guaranteed or limited_by_all(pod, "memory"):
        memory = _value(limits, "memory")
    return Limits(
        cpu_shares=milli_to_shares(_milli(requests, "cpu")),
        cpu_quota=quota,
        cpu_period=period,
        memory=memory,
        pids=pids,
        hugepages=hugepages,
    )


def best_effort_values(page_sizes: Iterable[int]) -> Limits:
    """The limits of the level of best-effort pods."""
    return Limits(cpu_shares=MIN_SHARES, hugepages=unbounded(page_sizes))


def burstable_values(active: Iterable[Pod], page_sizes: Iterable[int]) -> Limits:
    """The limits of the level of burstable pods, from those pods that are active now."""
    milli = sum(_milli(pod_requests(pod), "cpu") for pod in active if qos_class(pod) == "Burstable")
    return Limits(cpu_shares=milli_to_shares(milli), hugepages=unbounded(page_sizes))


def unbounded(page_sizes: Iterable[int]) -> dict[int, int]:
    """Huge page limits that bind nobody: only pods' own limits do."""
    return dict.fromkeys(page_sizes, _UNBOUNDED)


def node_values(resources: ResourceList) -> Limits:
    """The limits of the cgroup of all pods, or of a reserved one, from amounts of resources."""
    return Limits(
        cpu_shares=_shares(resources),
        memory=_value(resources, "memory") if "memory" in resources else None,
        pids=_value(resources, PIDS) if PIDS in resources else None,
        hugepages=hugepage_values(resources),
    )


def compressible_values(resources: ResourceList) -> Limits:
    """Only what can be squeezed without killing: CPU."""
    return Limits(cpu_shares=_shares(resources))


def hugepage_values(resources: ResourceList) -> dict[int, int]:
    """Page size in bytes → bytes, from ``hugepages-SIZE`` amounts; names that make no sense are left out."""
    limits: dict[int, int] = {}
    for name, amount in resources.items():
        if not name.startswith(HUGEPAGES_PREFIX):
            continue
        try:
            size = Quantity.parse(name.removeprefix(HUGEPAGES_PREFIX)).value()
        except ValueError:
            continue
        limits[size] = limits.get(size, 0) + amount.value()
    return limits


def _shares(resources: ResourceList) -> int | None:
    return milli_to_shares(resources["cpu"].milli_value()) if "cpu" in resources else None


def _milli(resources: Mapping[str, Quantity], name: str) -> int:
    amount = resources.get(name)
    return amount.milli_value() if amount is not None else 0


def _value(resources: Mapping[str, Quantity], name: str) -> int:
    amount = resources.get(name)
    return amount.value() if amount is not None else 0
