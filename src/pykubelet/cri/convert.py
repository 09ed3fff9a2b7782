"""CRI v1 messages turned into the frozen types that the rest of the node holds."""

import msgspec

from pykubelet.cri import stats, types
from pykubelet.rpc import cri_v1


class _Info(msgspec.Struct):
    """What we read of a verbose answer's ``info`` (containerd and CRI-O agree on it)."""

    pid: int = 0
    sandboxID: str = ""


# Made and learnt as the module is read, by one thread; no struct of the API.
_info = msgspec.json.Decoder(_Info)  # noqa: TID251


def verbose_info(info: str) -> tuple[int, str]:
    """Host pid and sandbox ID from the JSON of a verbose answer; 0 and empty when it has none."""
    if not info:
        return 0, ""
    try:
        read = _info.decode(info)
    except msgspec.DecodeError:
        return 0, ""
    return max(read.pid, 0), read.sandboxID


def container_state(value: int) -> types.ContainerState:
    """A state on the wire; one that CRI v1 does not know is UNKNOWN."""
    try:
        return types.ContainerState(value)
    except ValueError:
        return types.ContainerState.UNKNOWN


def sandbox_state(value: int) -> types.SandboxState:
    """A state on the wire; everything but READY is NOTREADY."""
    return types.SandboxState.NOTREADY if value else types.SandboxState.READY


def container_summary(item: cri_v1.Container) -> types.ContainerSummary:
    """One container of ListContainers."""
    return types.ContainerSummary(
        id=item.id,
        sandbox_id=item.pod_sandbox_id,
        name=item.metadata.name,
        attempt=item.metadata.attempt,
        state=container_state(item.state),
        created_at=item.created_at,
        image=item.image.image,
        image_ref=item.image_ref,
        image_id=item.image_id,
        labels=dict(item.labels),
        annotations=dict(item.annotations),
        runtime_handler=item.image.runtime_handler,
    )


def sandbox_summary(item: cri_v1.PodSandbox) -> types.SandboxSummary:
    """One sandbox of ListPodSandbox."""
    return types.SandboxSummary(
        id=item.id,
        name=item.metadata.name,
        namespace=item.metadata.namespace,
        uid=item.metadata.uid,
        attempt=item.metadata.attempt,
        state=sandbox_state(item.state),
        created_at=item.created_at,
        labels=dict(item.labels),
        annotations=dict(item.annotations),
        runtime_handler=item.runtime_handler,
    )


def _resources(status: cri_v1.ContainerStatus) -> types.LinuxResources | None:
    if not status.resources.HasField("linux"):
        return None
    linux = status.resources.linux
    return types.LinuxResources(
        cpu_period=linux.cpu_period,
        cpu_quota=linux.cpu_quota,
        cpu_shares=linux.cpu_shares,
        memory_limit_in_bytes=linux.memory_limit_in_bytes,
        cpuset_cpus=linux.cpuset_cpus,
        cpuset_mems=linux.cpuset_mems,
    )


def _user(status: cri_v1.ContainerStatus) -> types.LinuxUser | None:
    if not status.user.HasField("linux"):
        return None
    linux = status.user.linux
    return types.LinuxUser(linux.uid, linux.gid, tuple(linux.supplemental_groups))


def _signal(value: int) -> str:
    known = cri_v1.Signal.DESCRIPTOR.values_by_number.get(value)
    return known.name if known is not None and value else ""


def container_status(status: cri_v1.ContainerStatus, info: str = "") -> types.ContainerStatus:
    """One container; *info* is the ``info`` entry of a verbose answer."""
    pid, sandbox_id = verbose_info(info)
    return types.ContainerStatus(
        id=status.id,
        name=status.metadata.name,
        attempt=status.metadata.attempt,
        state=container_state(status.state),
        created_at=status.created_at,
        started_at=status.started_at,
        finished_at=status.finished_at,
        exit_code=status.exit_code,
        image=status.image.image,
        image_ref=status.image_ref,
        image_id=status.image_id,
        reason=status.reason,
        message=status.message,
        labels=dict(status.labels),
        annotations=dict(status.annotations),
        mounts=tuple(
            types.MountStatus(m.container_path, m.host_path, m.readonly, m.recursive_read_only, m.image.image)
            for m in status.mounts
        ),
        log_path=status.log_path,
        resources=_resources(status),
        user=_user(status),
        stop_signal=_signal(status.stop_signal),
        pid=pid,
        sandbox_id=sandbox_id,
    )


def sandbox_status(status: cri_v1.PodSandboxStatus, info: str = "") -> types.SandboxStatus:
    """One sandbox; *info* is the ``info`` entry of a verbose answer."""
    ips = [status.network.ip, *(more.ip for more in status.network.additional_ips)]
    return types.SandboxStatus(
        id=status.id,
        name=status.metadata.name,
        namespace=status.metadata.namespace,
        uid=status.metadata.uid,
        attempt=status.metadata.attempt,
        state=sandbox_state(status.state),
        created_at=status.created_at,
        ips=tuple(ip for ip in ips if ip),
        host_network=status.linux.namespaces.options.network == cri_v1.NODE,
        labels=dict(status.labels),
        annotations=dict(status.annotations),
        runtime_handler=status.runtime_handler,
        pid=verbose_info(info)[0],
        network_reported=status.HasField("network"),
    )


def image(item: cri_v1.Image) -> types.Image:
    """One image."""
    return types.Image(
        id=item.id,
        repo_tags=tuple(item.repo_tags),
        repo_digests=tuple(item.repo_digests),
        size=item.size,
        uid=item.uid.value if item.HasField("uid") else None,
        username=item.username,
        pinned=item.pinned,
        runtime_handler=item.spec.runtime_handler,
    )


def runtime_status(answer: cri_v1.StatusResponse) -> types.RuntimeStatus:
    """The runtime's conditions, handlers and features."""
    return types.RuntimeStatus(
        conditions=tuple(
            types.RuntimeCondition(c.type, c.status, c.reason, c.message) for c in answer.status.conditions
        ),
        handlers=tuple(
            types.RuntimeHandler(h.name, h.features.recursive_read_only_mounts, h.features.user_namespaces)
            for h in answer.runtime_handlers
        ),
        supplemental_groups_policy=(
            answer.features.supplemental_groups_policy if answer.HasField("features") else None
        ),
        user_namespaces_host_network=answer.features.user_namespaces_host_network,
        info=dict(answer.info),
    )


def event(answer: cri_v1.ContainerEventResponse) -> types.ContainerEvent:
    """One event."""
    kind = cri_v1.ContainerEventType.DESCRIPTOR.values_by_number.get(answer.container_event_type)
    return types.ContainerEvent(
        container_id=answer.container_id,
        type=kind.name if kind is not None else str(answer.container_event_type),
        created_at=answer.created_at,
        pod_uid=answer.pod_sandbox_status.metadata.uid,
    )


def filesystem(usage: cri_v1.FilesystemUsage) -> types.FilesystemUsage:
    """Usage of one file system."""
    return types.FilesystemUsage(
        mountpoint=usage.fs_id.mountpoint,
        used_bytes=usage.used_bytes.value,
        inodes_used=usage.inodes_used.value,
        timestamp=usage.timestamp,
    )


_Usage = (
    cri_v1.CpuUsage
    | cri_v1.MemoryUsage
    | cri_v1.SwapUsage
    | cri_v1.NetworkInterfaceUsage
    | cri_v1.ProcessUsage
)


def _value(usage: _Usage, name: str) -> int | None:
    return int(getattr(usage, name).value) if usage.HasField(name) else None  # type: ignore[arg-type]


def _line(data: cri_v1.PsiData) -> stats.Pressure:
    return stats.Pressure(data.Total, data.Avg10, data.Avg60, data.Avg300)


def _psi(usage: cri_v1.CpuUsage | cri_v1.MemoryUsage | cri_v1.IoUsage) -> stats.PressureStats | None:
    if not usage.HasField("psi"):
        return None
    psi = usage.psi
    return stats.PressureStats(
        full=_line(psi.Full) if psi.HasField("Full") else None,
        some=_line(psi.Some) if psi.HasField("Some") else None,
    )


def _cpu(usage: cri_v1.CpuUsage) -> stats.CpuUsage:
    return stats.CpuUsage(
        usage.timestamp,
        _value(usage, "usage_core_nano_seconds"),
        _value(usage, "usage_nano_cores"),
        _psi(usage),
    )


def _memory(usage: cri_v1.MemoryUsage) -> stats.MemoryUsage:
    return stats.MemoryUsage(
        usage.timestamp,
        working_set_bytes=_value(usage, "working_set_bytes"),
        available_bytes=_value(usage, "available_bytes"),
        usage_bytes=_value(usage, "usage_bytes"),
        rss_bytes=_value(usage, "rss_bytes"),
        page_faults=_value(usage, "page_faults"),
        major_page_faults=_value(usage, "major_page_faults"),
        psi=_psi(usage),
    )


def _swap(usage: cri_v1.SwapUsage) -> stats.SwapUsage:
    return stats.SwapUsage(
        usage.timestamp, _value(usage, "swap_available_bytes"), _value(usage, "swap_usage_bytes")
    )


def _interface(usage: cri_v1.NetworkInterfaceUsage) -> stats.InterfaceUsage:
    return stats.InterfaceUsage(
        usage.name,
        rx_bytes=_value(usage, "rx_bytes"),
        rx_errors=_value(usage, "rx_errors"),
        tx_bytes=_value(usage, "tx_bytes"),
        tx_errors=_value(usage, "tx_errors"),
    )


def _network(usage: cri_v1.NetworkUsage) -> stats.NetworkUsage:
    default = _interface(usage.default_interface) if usage.HasField("default_interface") else None
    return stats.NetworkUsage(usage.timestamp, default, tuple(_interface(i) for i in usage.interfaces))


def container_stats(item: cri_v1.ContainerStats) -> stats.ContainerStats:
    """Usage of one container."""
    about = item.attributes
    return stats.ContainerStats(
        id=about.id,
        name=about.metadata.name,
        attempt=about.metadata.attempt,
        labels=dict(about.labels),
        annotations=dict(about.annotations),
        cpu=_cpu(item.cpu) if item.HasField("cpu") else None,
        memory=_memory(item.memory) if item.HasField("memory") else None,
        writable_layer=filesystem(item.writable_layer) if item.HasField("writable_layer") else None,
        swap=_swap(item.swap) if item.HasField("swap") else None,
        io=stats.IoUsage(item.io.timestamp, _psi(item.io)) if item.HasField("io") else None,
    )


def sandbox_stats(item: cri_v1.PodSandboxStats) -> stats.SandboxStats:
    """Usage of one sandbox, its Linux part."""
    about, linux = item.attributes, item.linux
    return stats.SandboxStats(
        id=about.id,
        name=about.metadata.name,
        namespace=about.metadata.namespace,
        uid=about.metadata.uid,
        attempt=about.metadata.attempt,
        labels=dict(about.labels),
        annotations=dict(about.annotations),
        cpu=_cpu(linux.cpu) if linux.HasField("cpu") else None,
        memory=_memory(linux.memory) if linux.HasField("memory") else None,
        network=_network(linux.network) if linux.HasField("network") else None,
        process_count=_value(linux.process, "process_count") if linux.HasField("process") else None,
        io=stats.IoUsage(linux.io.timestamp, _psi(linux.io)) if linux.HasField("io") else None,
        containers=tuple(container_stats(container) for container in linux.containers),
    )
