"""Every number and switch of the configuration that this room reads, with upstream's defaults."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ContainerSettings:
    """Fields are named for their ``KubeletConfiguration`` fields; times are seconds unless named."""

    cluster_dns: tuple[str, ...] = ()
    cluster_domain: str = ""
    #: Path of the resolver configuration that pods inherit; empty for none.
    resolv_conf: str = "/etc/resolv.conf"
    cpu_cfs_quota: bool = True
    cpu_cfs_quota_period_us: int = 100_000
    seccomp_default: bool = False
    serialize_image_pulls: bool = True
    #: None is no limit; only read when pulls are not serialized.
    max_parallel_image_pulls: int | None = None
    #: Pulls per second; 0 is no limit.
    registry_pull_qps: float = 5.0
    registry_burst: int = 10
    image_backoff_first: float = 10.0
    image_backoff_last: float = 300.0
    cgroup_v2: bool = False
    #: ``memory.oom.group`` is asked for when this is False, which is the default on cgroup v2.
    single_process_oom_kill: bool = False
    #: ``NoSwap`` or ``LimitedSwap``.
    swap_behavior: str = "NoSwap"
    #: Whether the kernel has a swap controller.
    swap_controller: bool = False
    #: What an empty resolver configuration turns into.
    loopbacks: tuple[str, ...] = ("127.0.0.1",)
    #: FG ContainerStopSignals.
    container_stop_signals: bool = False
    #: FG EnvFiles.
    env_files: bool = True
    #: FG HostnameOverride.
    hostname_override: bool = True
    #: SELinux is enforced or watched on this node: what containers mount is labelled for them.
    selinux: bool = False
    #: FG RuntimeClassInImageCriApi: runtimes are told for which of their handlers an image is.
    image_handlers: bool = False
