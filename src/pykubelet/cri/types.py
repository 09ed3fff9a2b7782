"""What a container runtime tells of itself, as small frozen values.

Configurations that go *to* the runtime are the CRI v1 protobuf messages themselves;
only what comes back is turned into these, so that nothing downstream holds protobuf
objects and a relist of hundreds of containers stays small. Times are nanoseconds
since the epoch, 0 when the runtime gave none.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

_NOTHING: Mapping[str, str] = MappingProxyType({})


class ContainerState(enum.Enum):
    """CRI ContainerState, values as on the wire."""

    CREATED = 0
    RUNNING = 1
    EXITED = 2
    UNKNOWN = 3


class SandboxState(enum.Enum):
    """CRI PodSandboxState, values as on the wire."""

    READY = 0
    NOTREADY = 1


@dataclass(frozen=True, slots=True)
class RuntimeVersion:
    """Answer of Version; *api* is the CRI package in use (``v1`` or ``v1alpha2``)."""

    runtime_name: str
    runtime_version: str
    runtime_api_version: str
    api: str


@dataclass(frozen=True, slots=True)
class RuntimeCondition:
    """One condition of Status (``RuntimeReady``, ``NetworkReady``)."""

    type: str
    status: bool
    reason: str = ""
    message: str = ""


@dataclass(frozen=True, slots=True)
class RuntimeHandler:
    """A runtime handler and what it can do; the default one is named ``""``."""

    name: str
    recursive_read_only_mounts: bool = False
    user_namespaces: bool = False


@dataclass(frozen=True, slots=True)
class RuntimeStatus:
    """Answer of Status."""

    conditions: tuple[RuntimeCondition, ...]
    handlers: tuple[RuntimeHandler, ...] = ()
    #: None when the runtime tells nothing of its features.
    supplemental_groups_policy: bool | None = None
    user_namespaces_host_network: bool = False
    info: Mapping[str, str] = field(default_factory=lambda: _NOTHING)

    def condition(self, kind: str) -> RuntimeCondition | None:
        """The condition of that type, if the runtime gave it."""
        return next((c for c in self.conditions if c.type == kind), None)


@dataclass(frozen=True, slots=True)
class ContainerSummary:
    """One container of ListContainers."""

    id: str
    sandbox_id: str
    name: str
    attempt: int
    state: ContainerState
    created_at: int
    image: str
    image_ref: str
    image_id: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    #: For which runtime handler its image was pulled.
    runtime_handler: str = ""

    @property
    def pod_uid(self) -> str:
        """UID of the pod, from the label that a kubelet sets; empty for foreign containers."""
        return self.labels.get("io.kubernetes.pod.uid", "")


@dataclass(frozen=True, slots=True)
class SandboxSummary:
    """One sandbox of ListPodSandbox."""

    id: str
    name: str
    namespace: str
    uid: str
    attempt: int
    state: SandboxState
    created_at: int
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    runtime_handler: str = ""


@dataclass(frozen=True, slots=True)
class MountStatus:
    """A mount of a container as the runtime reports it."""

    container_path: str
    host_path: str
    readonly: bool
    recursive_read_only: bool = False
    #: The image that is mounted; empty if it is none.
    image: str = ""


@dataclass(frozen=True, slots=True)
class LinuxResources:
    """Resources that the runtime reports for a container; None when it gave none."""

    cpu_period: int
    cpu_quota: int
    cpu_shares: int
    memory_limit_in_bytes: int
    cpuset_cpus: str = ""
    cpuset_mems: str = ""


@dataclass(frozen=True, slots=True)
class LinuxUser:
    """The user a container's first process got."""

    uid: int
    gid: int
    supplemental_groups: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ContainerStatus:
    """Answer of ContainerStatus."""

    id: str
    name: str
    attempt: int
    state: ContainerState
    created_at: int
    started_at: int
    finished_at: int
    exit_code: int
    image: str
    image_ref: str
    image_id: str
    reason: str
    message: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    mounts: tuple[MountStatus, ...] = ()
    log_path: str = ""
    resources: LinuxResources | None = None
    user: LinuxUser | None = None
    #: Stop signal's name as CRI writes it; empty when the runtime does not say.
    stop_signal: str = ""
    #: Host pid of the first process (from the verbose answer), 0 when unknown.
    pid: int = 0
    sandbox_id: str = ""

    @property
    def restart_count(self) -> int:
        """How often a container of this name was restarted before, from our annotation."""
        text = self.annotations.get("io.kubernetes.container.restartCount", "")
        return int(text) if text.isdecimal() else self.attempt

    @property
    def hash(self) -> str:
        """The hash of the spec it was made from, from our annotation."""
        return self.annotations.get("io.kubernetes.container.hash", "")


@dataclass(frozen=True, slots=True)
class SandboxStatus:
    """Answer of PodSandboxStatus."""

    id: str
    name: str
    namespace: str
    uid: str
    attempt: int
    state: SandboxState
    created_at: int
    ips: tuple[str, ...]
    host_network: bool
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    runtime_handler: str = ""
    #: Host pid of the sandbox's init process (from the verbose answer), 0 when unknown.
    pid: int = 0
    #: Whether the answer had a ``network`` part; without one, no IP means nothing.
    network_reported: bool = True


@dataclass(frozen=True, slots=True)
class Image:
    """One image of ListImages or ImageStatus."""

    id: str
    repo_tags: tuple[str, ...]
    repo_digests: tuple[str, ...]
    size: int
    uid: int | None = None
    username: str = ""
    pinned: bool = False
    #: For which runtime handler it was pulled; few runtimes tell.
    runtime_handler: str = ""


@dataclass(frozen=True, slots=True)
class FilesystemUsage:
    """Usage of an image or container file system."""

    mountpoint: str
    used_bytes: int
    inodes_used: int
    timestamp: int


@dataclass(frozen=True, slots=True)
class ExecResult:
    """What a command run by ExecSync gave."""

    stdout: bytes
    stderr: bytes
    exit_code: int


@dataclass(frozen=True, slots=True)
class ContainerEvent:
    """One event of GetContainerEvents; only a hint, its pod is read afresh."""

    container_id: str
    #: CRI ContainerEventType's name: CONTAINER_CREATED_EVENT, …_STARTED_, …_STOPPED_, …_DELETED_.
    type: str
    created_at: int
    pod_uid: str
