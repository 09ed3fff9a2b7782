"""Whether this host can run the configuration: pure checks on facts that somebody else gathered."""

from dataclasses import dataclass

from .parsed import cpuset
from .types import KubeletConfiguration


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What the checks need to know of the host. *online_cpus* None: unknown."""

    cgroup_version: int
    swap_on: bool = False
    online_cpus: frozenset[int] | None = None


def check_host(config: KubeletConfiguration, host: HostFacts) -> list[str]:
    """Reasons not to start on *host*, one line each; each names the field."""
    reasons = []
    old = host.cgroup_version == 1
    if config.failCgroupV1 and old:
        reasons.append(
            "failCgroupV1 (--fail-cgroupv1): kubelet is configured to not run on a host using cgroup v1, "
            "and this host uses cgroup v1"
        )
    if config.singleProcessOOMKill is False and old:
        reasons.append(
            "invalid configuration: singleProcessOOMKill must not be explicitly set to false "
            "when using cgroup v1"
        )
    if config.memorySwap.swapBehavior == "LimitedSwap" and old:
        reasons.append("invalid configuration: memorySwap.swapBehavior LimitedSwap needs cgroup v2")
    if config.failSwapOn and host.swap_on:
        reasons.append(
            "failSwapOn (--fail-swap-on): running with swap on is not supported, please disable swap "
            "or set it to false"
        )
    if config.cgroupDriver == "systemd":
        reasons.append(
            "cgroupDriver (--cgroup-driver): systemd is not supported yet, use cgroupfs here "
            "and in the container runtime"
        )
    if config.reservedSystemCPUs and host.online_cpus is not None:
        offline = sorted(cpuset(config.reservedSystemCPUs) - host.online_cpus)
        if offline:
            shown = ", ".join(str(cpu) for cpu in offline)
            reasons.append(f"reservedSystemCPUs (--reserved-cpus): CPUs {shown} are not online")
    return reasons
