"""The configuration, turned into what each room takes of it. Pure, but for one environment variable.

Rooms do not read ``KubeletConfiguration`` themselves.
"""

import ipaddress
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from pykubelet.api.core import ResourceList
from pykubelet.api.node import Taint
from pykubelet.base.layout import RUN_DIR_VARIABLE, Layout
from pykubelet.config import KubeletConfiguration, Loaded
from pykubelet.config.parsed import cpuset, quantity, reserved
from pykubelet.containers.gc import GCPolicy
from pykubelet.containers.image_gc import ImagePolicy
from pykubelet.containers.rotation import RotationPolicy
from pykubelet.containers.settings import ContainerSettings
from pykubelet.cri.types import RuntimeStatus
from pykubelet.linux.cgroups import hugepage_text
from pykubelet.node import NodeInfo
from pykubelet.node.host import Host
from pykubelet.pods.crashloop import CrashLoop, crash_loop_limits
from pykubelet.resources.allocatable import Reservations, allocatable, capacity_of, with_reserved_cpus
from pykubelet.resources.id_ranges import UNIT
from pykubelet.resources.pod_cgroups import TreeConfig
from pykubelet.resources.values import PodCgroupConfig
from pykubelet.volumes import Labelling

log = logging.getLogger(__name__)

#: Seconds between refreshes of volumes whose changes are told anyway.
SAFETY_REFRESH = 300.0


def layout_of(loaded: Loaded) -> Layout:
    """The paths of this node."""
    run = os.environ.get(RUN_DIR_VARIABLE, "")
    layout = Layout(root=Path(loaded.flags.rootDir), pod_logs=Path(loaded.config.podLogsDir))
    if not run:
        return layout
    return Layout(root=layout.root, pod_logs=layout.pod_logs, run=Path(run))


def reservations_of(loaded: Loaded) -> Reservations:
    """What is kept back from pods."""
    config = loaded.config
    ignored = loaded.flags.experimentalAllocatableIgnoreEviction
    reservations = Reservations(
        system=reserved(config.systemReserved),
        kube=reserved(config.kubeReserved),
        eviction_hard={} if ignored else dict(config.evictionHard),
    )
    if config.reservedSystemCPUs:
        reservations = with_reserved_cpus(reservations, len(cpuset(config.reservedSystemCPUs)))
    return reservations


def capacity_on(host: Host, config: KubeletConfiguration) -> ResourceList:
    """What this machine has, as far as the configuration lets pods see it."""
    return capacity_of(
        host.machine,
        max_pods=config.maxPods,
        pods_per_core=config.podsPerCore,
        ephemeral_storage=host.storage if config.localStorageCapacityIsolation else None,
    )


def initial_taints(config: KubeletConfiguration) -> tuple[Taint, ...]:
    """``registerWithTaints``, as the API has taints."""
    return tuple(
        Taint(key=taint.key, value=taint.value, effect=taint.effect) for taint in config.registerWithTaints
    )


def node_info(
    loaded: Loaded,
    host: Host,
    capacity: ResourceList,
    reservations: Reservations,
    runtime_status: Callable[[], RuntimeStatus | None],
) -> NodeInfo:
    """What is known of the node before the API server says more."""
    machine = host.machine
    return NodeInfo(
        name=host.node_name,
        host_ips=host.ips,
        capacity=capacity,
        allocatable=allocatable(capacity, reservations),
        memory_capacity=machine.memory,
        swap_capacity=machine.swap,
        huge_page_sizes=tuple(hugepage_text(size) for size in host.page_sizes),
        labels={
            "kubernetes.io/hostname": host.node_name,
            "kubernetes.io/os": machine.operating_system,
            "kubernetes.io/arch": machine.architecture,
            "beta.kubernetes.io/os": machine.operating_system,
            "beta.kubernetes.io/arch": machine.architecture,
            **loaded.flags.nodeLabels,
        },
        taints=initial_taints(loaded.config),
        runtime_status=runtime_status,
    )


def container_settings(loaded: Loaded, host: Host) -> ContainerSettings:
    """What the room of containers reads of the configuration."""
    config = loaded.config
    v2 = host.cgroups.version == 2
    single = config.singleProcessOOMKill
    return ContainerSettings(
        cluster_dns=cluster_dns(config.clusterDNS),
        cluster_domain=config.clusterDomain,
        resolv_conf=config.resolvConf,
        cpu_cfs_quota=config.cpuCFSQuota,
        cpu_cfs_quota_period_us=int(config.cpuCFSQuotaPeriod.seconds * 1e6),
        seccomp_default=loaded.seccomp_default,
        serialize_image_pulls=config.serializeImagePulls,
        max_parallel_image_pulls=config.maxParallelImagePulls,
        registry_pull_qps=float(config.registryPullQPS),
        registry_burst=config.registryBurst,
        cgroup_v2=v2,
        single_process_oom_kill=(not v2) if single is None else single,
        swap_behavior=config.memorySwap.swapBehavior or "NoSwap",
        swap_controller=host.swap_controller,
        loopbacks=loopbacks(loaded.flags.nodeIP),
        container_stop_signals=loaded.gates.enabled("ContainerStopSignals"),
        env_files=loaded.gates.enabled("EnvFiles"),
        hostname_override=loaded.gates.enabled("HostnameOverride"),
        selinux=host.selinux is not None,
        image_handlers=loaded.gates.enabled("RuntimeClassInImageCriApi"),
    )


def labelling(loaded: Loaded, host: Host) -> Labelling | None:
    """How volumes are mounted with SELinux labels; None where SELinux is off."""
    if host.selinux is None:
        return None
    return Labelling(host.selinux, every_mode=loaded.gates.enabled("SELinuxMount"))


def cluster_dns(stated: Iterable[str]) -> tuple[str, ...]:
    """The IPs among ``clusterDNS``, in canonical form; what is no IP is left out, as upstream does."""
    found = []
    for text in stated:
        try:
            found.append(str(ipaddress.ip_address(text)))
        except ValueError:
            log.warning("clusterDNS: %r is no IP and is left out", text)
    return tuple(found)


def loopbacks(node_ip: str) -> tuple[str, ...]:
    """The loopback IP of each of the node's IPs as ``--node-ip`` states them; IPv4's without any."""
    stated = [text.strip() for text in node_ip.split(",") if text.strip()]
    return tuple("::1" if ":" in text else "127.0.0.1" for text in stated) or ("127.0.0.1",)


def tree_config(config: KubeletConfiguration) -> TreeConfig:
    """What the room of cgroups reads of the configuration."""
    return TreeConfig(
        cgroup_root=config.cgroupRoot or "/",
        per_qos=config.cgroupsPerQOS,
        enforce=frozenset(config.enforceNodeAllocatable),
        system_reserved_cgroup=config.systemReservedCgroup,
        kube_reserved_cgroup=config.kubeReservedCgroup,
        pods=PodCgroupConfig(
            cpu_cfs_quota=config.cpuCFSQuota,
            cpu_cfs_quota_period=int(config.cpuCFSQuotaPeriod.seconds * 1e6),
            pod_pids_limit=config.podPidsLimit,
        ),
    )


def ids_per_pod(config: KubeletConfiguration) -> int:
    """How many host IDs a pod with a user namespace of its own gets."""
    stated = config.userNamespaces.idsPerPod if config.userNamespaces is not None else None
    return stated or UNIT


def refresh_period(loaded: Loaded) -> float:
    """Seconds between refreshes of volumes made of API objects, where nobody tells of a change."""
    told = loaded.config.configMapAndSecretChangeDetectionStrategy == "Watch"
    return SAFETY_REFRESH if told else loaded.config.syncFrequency.seconds


def crash_loop_of(loaded: Loaded) -> CrashLoop:
    """An empty book of back-offs with the waits that were configured."""
    configured = loaded.config.crashLoopBackOff.maxContainerRestartPeriod
    gates = loaded.gates
    maximum = configured if gates.enabled("KubeletCrashLoopBackOffMax") else None
    initial, longest = crash_loop_limits(
        None if maximum is None else maximum.seconds,
        reduced=gates.enabled("ReduceDefaultCrashLoopBackOffDecay"),
    )
    return CrashLoop(initial, longest)


def gc_policy(loaded: Loaded) -> GCPolicy:
    """How many dead containers stay."""
    flags = loaded.flags
    return GCPolicy(
        min_age=flags.minimumContainerTTLDuration.seconds,
        per_container=flags.maximumDeadContainersPerContainer,
        total=flags.maximumDeadContainers,
    )


def rotation_policy(config: KubeletConfiguration) -> RotationPolicy:
    """When containers' logs are rotated, and how many files stay."""
    return RotationPolicy(
        max_size=quantity(config.containerLogMaxSize).value(),
        max_files=config.containerLogMaxFiles,
        workers=config.containerLogMaxWorkers,
        interval=config.containerLogMonitorInterval.seconds,
    )


def image_policy(loaded: Loaded) -> ImagePolicy:
    """When unused images are removed."""
    config = loaded.config
    return ImagePolicy(
        high=config.imageGCHighThresholdPercent,
        low=config.imageGCLowThresholdPercent,
        min_age=config.imageMinimumGCAge.seconds,
        max_age=config.imageMaximumGCAge.seconds,
        keep=tuple(loaded.flags.imageGCKeep),
    )
