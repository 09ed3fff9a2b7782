"""Requests and limits as the numbers that go to the runtime (CRI LinuxContainerResources)."""

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from pykubelet.api.core import Container, Pod, ResourceList, ResourceRequirements
from pykubelet.api.oom import oom_score_adj
from pykubelet.api.podinfo import is_critical
from pykubelet.api.quantity import Quantity
from pykubelet.api.resources import container_limit
from pykubelet.linux.cfs import UNLIMITED_QUOTA, milli_to_quota, milli_to_shares, shares_to_milli
from pykubelet.linux.cgroups import Limits
from pykubelet.rpc import cri_v1

from .settings import ContainerSettings

_HUGE = "hugepages-"
_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """The machine as far as a container's numbers depend on it; sizes in bytes."""

    memory: int
    swap: int = 0
    huge_page_sizes: Sequence[str] = ()


def huge_page_size(resource: str) -> str:
    """``hugepages-2Mi`` as the runtime calls it: ``2MB``.

    :raises ValueError: no size of huge pages.
    """
    size = Quantity.parse(resource.removeprefix(_HUGE)).value()
    unit = 0
    while size and size % 1024 == 0 and unit < len(_UNITS) - 1:
        size //= 1024
        unit += 1
    return f"{size}{_UNITS[unit]}"


def basic_resources(
    settings: ContainerSettings,
    cpu_request: Quantity | None,
    cpu_limit: Quantity | None,
    memory_limit: Quantity | None,
    *,
    exclusive_cpus: bool = False,
) -> cri_v1.LinuxContainerResources:
    """CPU and memory numbers; a CPU request that is absent is taken from the limit."""
    limit_milli = cpu_limit.milli_value() if cpu_limit is not None else 0
    request_milli = cpu_request.milli_value() if cpu_request is not None else limit_milli
    resources = cri_v1.LinuxContainerResources(
        cpu_shares=milli_to_shares(request_milli),
        memory_limit_in_bytes=memory_limit.value() if memory_limit is not None else 0,
    )
    if settings.cpu_cfs_quota:
        period = settings.cpu_cfs_quota_period_us
        resources.cpu_period = period
        resources.cpu_quota = UNLIMITED_QUOTA if exclusive_cpus else milli_to_quota(limit_milli, period)
    if settings.cgroup_v2 and not settings.single_process_oom_kill:
        resources.unified["memory.oom.group"] = "1"
    return resources


def _huge_pages(pod: Pod, container: Container, sizes: Sequence[str]) -> list[cri_v1.HugepageLimit]:
    wanted: dict[str, int] = {}
    pod_limits: ResourceList = pod.spec.resources.limits if pod.spec.resources is not None else {}
    for limits in (pod_limits, container.resources.limits):
        for name, amount in limits.items():
            if name.startswith(_HUGE):
                wanted[huge_page_size(name)] = amount.value()
    return [cri_v1.HugepageLimit(page_size=size, limit=wanted.get(size, 0)) for size in sizes]


def may_swap(pod: Pod, container: Container, qos: str, settings: ContainerSettings) -> bool:
    """Whether the container is granted swap at all."""
    if settings.swap_behavior != "LimitedSwap" or not settings.cgroup_v2 or not settings.swap_controller:
        return False
    request = container.resources.requests.get("memory")
    return qos == "Burstable" and not is_critical(pod) and request != container.resources.limits.get("memory")


def swap_limit(
    pod: Pod, container: Container, qos: str, settings: ContainerSettings, machine: MachineFacts
) -> int:
    """Bytes of swap the container may use; 0 unless ``LimitedSwap`` grants it a share."""
    if settings.swap_behavior != "LimitedSwap" or not settings.cgroup_v2 or is_critical(pod):
        return 0
    request = container.resources.requests.get("memory")
    limit = container.resources.limits.get("memory")
    wanted = request.value() if request is not None else 0
    if qos != "Burstable" or wanted == (limit.value() if limit is not None else 0):
        return 0
    if machine.memory <= 0 or wanted > machine.memory:
        return 0
    return wanted * machine.swap // machine.memory


def container_resources(
    pod: Pod,
    container: Container,
    qos: str,
    settings: ContainerSettings,
    machine: MachineFacts,
    *,
    exclusive_cpus: bool = False,
) -> cri_v1.LinuxContainerResources:
    """Everything that one container's cgroup gets; *qos* is the pod's class."""
    resources = basic_resources(
        settings,
        container.resources.requests.get("cpu"),
        container_limit(pod, container, "cpu"),
        container_limit(pod, container, "memory"),
        exclusive_cpus=exclusive_cpus,
    )
    resources.oom_score_adj = oom_score_adj(pod, container, qos, machine.memory)
    resources.hugepage_limits.extend(_huge_pages(pod, container, machine.huge_page_sizes))
    if settings.swap_controller:
        if settings.cgroup_v2:
            resources.unified["memory.swap.max"] = str(swap_limit(pod, container, qos, settings, machine))
        else:
            resources.memory_swap_limit_in_bytes = resources.memory_limit_in_bytes
    return resources


def updated_resources(
    pod: Pod,
    container: Container,
    resources: ResourceRequirements,
    before: ResourceRequirements,
    qos: str,
    settings: ContainerSettings,
    machine: MachineFacts,
) -> cri_v1.LinuxContainerResources:
    """What a running container that had *before* is told when it has *resources* from now on.

    A limit that is lifted has to be said: a zero would leave it.
    """
    changed = msgspec.structs.replace(container, resources=resources)
    numbers = container_resources(pod, changed, qos, settings, machine)
    if before.limits.get("cpu") and settings.cpu_cfs_quota and not numbers.cpu_quota:
        numbers.cpu_quota = UNLIMITED_QUOTA
    if before.limits.get("memory") and not numbers.memory_limit_in_bytes:
        numbers.memory_limit_in_bytes = -1
        if settings.swap_controller and not settings.cgroup_v2:
            numbers.memory_swap_limit_in_bytes = -1
    return numbers


def sandbox_resources(pod: Pod, limits: Limits) -> cri_v1.LinuxContainerResources:
    """The limits of a pod's cgroup as the runtime is told them: without the pod's overhead."""
    cpu, memory = pod.spec.overhead.get("cpu"), pod.spec.overhead.get("memory")
    resources = cri_v1.LinuxContainerResources(
        cpu_period=limits.cpu_period or 0,
        cpu_quota=limits.cpu_quota or 0,
        cpu_shares=limits.cpu_shares or 0,
        memory_limit_in_bytes=limits.memory or 0,
    )
    if cpu is not None and resources.cpu_quota > 0 and resources.cpu_period:
        resources.cpu_quota -= milli_to_quota(cpu.milli_value(), resources.cpu_period)
    if cpu is not None and resources.cpu_shares:
        resources.cpu_shares = milli_to_shares(shares_to_milli(resources.cpu_shares) - cpu.milli_value())
    if memory is not None and resources.memory_limit_in_bytes > 0:
        resources.memory_limit_in_bytes -= memory.value()
    return resources
