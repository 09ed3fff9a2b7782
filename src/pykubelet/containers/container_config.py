"""What the runtime is told of a container (CRI ContainerConfig)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec

from pykubelet.api.container_hash import container_hash
from pykubelet.api.core import Container, ContainerPort, Pod
from pykubelet.base.expansion import expand_all
from pykubelet.rpc import cri_v1

from .doors import Contribution, HostDevice
from .sandbox_config import POD_NAME, POD_NAMESPACE, POD_UID

CONTAINER_NAME = "io.kubernetes.container.name"
HASH = "io.kubernetes.container.hash"
RESTART_COUNT = "io.kubernetes.container.restartCount"
TERMINATION_PATH = "io.kubernetes.container.terminationMessagePath"
TERMINATION_POLICY = "io.kubernetes.container.terminationMessagePolicy"
PRE_STOP = "io.kubernetes.container.preStopHandler"
PORTS = "io.kubernetes.container.ports"
DELETION_GRACE = "io.kubernetes.pod.deletionGracePeriod"
TERMINATION_GRACE = "io.kubernetes.pod.terminationGracePeriod"


@dataclass(frozen=True, slots=True)
class ContainerParts:
    """Everything computed for one instance of a container."""

    image_ref: str
    restart_count: int
    env: Mapping[str, str]
    mounts: Sequence[cri_v1.Mount]
    devices: Sequence[HostDevice]
    security: cri_v1.LinuxContainerSecurityContext
    resources: cri_v1.LinuxContainerResources
    contributions: Sequence[Contribution] = ()
    stop_signals: bool = False


def container_labels(pod: Pod, container: Container) -> dict[str, str]:
    """The labels by which a container is found again; the pod's own are not copied."""
    meta = pod.metadata
    return {
        POD_NAME: meta.name,
        POD_NAMESPACE: meta.namespace,
        POD_UID: meta.uid,
        CONTAINER_NAME: container.name,
    }


def _ports(ports: Sequence[ContainerPort]) -> str:
    return msgspec.json.encode(ports).decode()


def container_annotations(pod: Pod, container: Container, restart_count: int) -> dict[str, str]:
    """What a later kubelet has to know of the container when the pod's spec is gone."""
    notes = {
        HASH: container_hash(container),
        RESTART_COUNT: str(restart_count),
        TERMINATION_PATH: container.terminationMessagePath,
        TERMINATION_POLICY: container.terminationMessagePolicy,
    }
    if pod.metadata.deletionGracePeriodSeconds is not None:
        notes[DELETION_GRACE] = str(pod.metadata.deletionGracePeriodSeconds)
    if pod.spec.terminationGracePeriodSeconds is not None:
        notes[TERMINATION_GRACE] = str(pod.spec.terminationGracePeriodSeconds)
    if container.lifecycle is not None and container.lifecycle.preStop is not None:
        notes[PRE_STOP] = msgspec.json.encode(container.lifecycle.preStop).decode()
    if container.ports:
        notes[PORTS] = _ports(container.ports)
    return notes


def _signal(container: Container) -> "cri_v1.Signal.ValueType":
    name = container.lifecycle.stopSignal if container.lifecycle is not None else None
    if not name:
        return cri_v1.RUNTIME_DEFAULT
    wire = name.replace("+", "PLUS").replace("-", "MINUS")
    return cri_v1.Signal.Value(wire) if wire in cri_v1.Signal.keys() else cri_v1.RUNTIME_DEFAULT  # noqa: SIM118


def log_path(container: str, restart_count: int) -> str:
    """The container's log file, relative to the sandbox's log directory."""
    return f"{container}/{restart_count}.log"


def _variables(parts: ContainerParts) -> dict[str, str]:
    variables = {name: value for extra in parts.contributions for name, value in extra.env}
    return {**variables, **parts.env}


def container_config(pod: Pod, container: Container, parts: ContainerParts) -> cri_v1.ContainerConfig:
    """The configuration of one instance of the container."""
    annotations: dict[str, str] = {}
    for extra in parts.contributions:
        annotations |= extra.annotations
    annotations |= container_annotations(pod, container, parts.restart_count)
    env = _variables(parts)
    devices = [device for extra in parts.contributions for device in extra.devices]
    resources = cri_v1.LinuxContainerResources()
    resources.CopyFrom(parts.resources)
    for extra in parts.contributions:
        resources.cpuset_cpus = extra.cpuset_cpus or resources.cpuset_cpus
        resources.cpuset_mems = extra.cpuset_mems or resources.cpuset_mems
    users = parts.security.namespace_options.userns_options
    for mount in parts.mounts:
        if users.uids:
            mount.uidMappings.extend(users.uids)
            mount.gidMappings.extend(users.gids)
    config = cri_v1.ContainerConfig(
        metadata=cri_v1.ContainerMetadata(name=container.name, attempt=parts.restart_count),
        image=cri_v1.ImageSpec(image=parts.image_ref, user_specified_image=container.image),
        command=expand_all(container.command, env),
        args=expand_all(container.args, env),
        working_dir=container.workingDir,
        envs=[
            cri_v1.KeyValue(key=key, value=value.encode(errors="surrogateescape"))
            for key, value in env.items()
        ],
        mounts=parts.mounts,
        devices=[
            cri_v1.Device(host_path=d.host_path, container_path=d.container_path, permissions=d.permissions)
            for d in (*devices, *parts.devices)
        ],
        labels=container_labels(pod, container),
        annotations=annotations,
        log_path=log_path(container.name, parts.restart_count),
        stdin=container.stdin,
        stdin_once=container.stdinOnce,
        tty=container.tty,
        linux=cri_v1.LinuxContainerConfig(resources=resources, security_context=parts.security),
        CDI_devices=[cri_v1.CDIDevice(name=n) for extra in parts.contributions for n in extra.cdi_devices],
    )
    if parts.stop_signals:
        config.stop_signal = _signal(container)
    return config
