"""What serving needs of the node, and the errors that become HTTP answers.

Texts and statuses are those that clients of a kubelet know; where one is decided on the
node's side it comes as :class:`ApiError`.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from pykubelet.api.auth import SubjectAccessReviewSpec, SubjectAccessReviewStatus, UserInfo
from pykubelet.api.core import Pod
from pykubelet.api.pushed import PushedManifest
from pykubelet.api.volume_usage import VolumeUsage


class ApiError(Exception):
    """An answer that is not 200: *status* is HTTP's, the text its body; *retry_after* is in seconds."""

    def __init__(self, status: int, message: str, *, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.retry_after = retry_after


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """One named check of ``/healthz``; *problem* is empty when all is well."""

    name: str
    problem: str = ""


@dataclass(frozen=True, slots=True)
class LogRequest:
    """core/v1 PodLogOptions; *since* is in nanoseconds since the epoch, 0 for all."""

    follow: bool = False
    previous: bool = False
    tail_lines: int | None = None
    since: int = 0
    limit_bytes: int | None = None
    timestamps: bool = False
    stream: Literal["stdout", "stderr"] | None = None


@dataclass(frozen=True, slots=True)
class StreamRequest:
    """Which streams of a command or container are wanted."""

    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    tty: bool = False


@dataclass(frozen=True, slots=True)
class EventView:
    """A Kubernetes event as it is shown; times are nanoseconds since the epoch."""

    type: str
    reason: str
    message: str
    count: int
    first: int
    last: int
    container: str = ""


@dataclass(frozen=True, slots=True)
class VolumeView:
    """Where one volume of a pod stands; durations are seconds."""

    volume: str
    plugin: str
    state: str
    since: float = 0.0
    failures: int = 0
    error: str = ""
    next_try: float | None = None
    #: The claim (``NAMESPACE/NAME``) and the persistent volume behind it; empty where there is none.
    claim: str = ""
    persistent_volume: str = ""
    #: What it waits for, if not for the next try.
    waits_for: str = ""
    #: What failed: *stage*, *mount* and the like.
    step: str = ""
    #: Its name on this node, which tells the driver; empty where nothing is made once a node.
    device: str = ""
    #: What it held when it was measured last; None: it was not, or is of a kind that never is.
    usage: VolumeUsage | None = None


@dataclass(frozen=True, slots=True)
class PullView:
    """An image that is being pulled for a pod; sizes are in bytes, None where the runtime does not tell."""

    image: str
    #: Empty for the image of a volume.
    container: str
    seconds: float
    #: All of that in words.
    text: str
    done: int | None = None
    total: int | None = None


@dataclass(frozen=True, slots=True)
class WorkerView:
    """What a pod's worker is about: its phase, and why it ends if it does."""

    phase: str
    cause: str = ""


@dataclass(frozen=True, slots=True)
class User:
    """Who asks: the name and groups that authentication found, and what else it knows of the user."""

    name: str
    groups: tuple[str, ...] = ()
    uid: str = ""
    #: Further facts by key, each with its values.
    extra: tuple[tuple[str, tuple[str, ...]], ...] = ()


@dataclass(frozen=True, slots=True)
class Attributes:
    """What is asked for, as authorization sees it: always ``nodes/SUBRESOURCE`` in version v1."""

    user: User
    verb: str
    node: str
    subresource: str
    path: str
    resource: str = "nodes"
    api_group: str = ""
    api_version: str = "v1"


class Authorizer(Protocol):
    """Decides who may do what."""

    async def allows(self, attributes: Attributes) -> bool:
        """Whether that is allowed; an exception becomes an answer with status 500."""
        ...


class TokenAuthenticator(Protocol):
    """Finds out who bearer tokens belong to."""

    async def authenticate(self, token: str) -> User | None:
        """The token's user, None for a token of nobody; an exception becomes an answer with status 401."""
        ...


class TokenReviewer(Protocol):
    """Asks the cluster about tokens."""

    async def review(self, token: str) -> UserInfo | None:
        """The token's user, None for a token of nobody; raises what it likes when there is no answer."""
        ...


class AccessReviewer(Protocol):
    """Asks the cluster what users may do."""

    async def review(self, spec: SubjectAccessReviewSpec) -> SubjectAccessReviewStatus:
        """The cluster's answer; raises what it likes when there is none."""
        ...


class ServingCertificate(Protocol):
    """The certificate to serve with, where it comes from the cluster and not from two given files."""

    def files(self) -> tuple[Path, Path] | None:
        """Files of certificate chain and key, None while there are none to serve with."""
        ...


class NodeApi(Protocol):
    """The node, as far as its callers may see and use it."""

    @property
    def node_name(self) -> str:
        """The node's name."""
        ...

    def pods(self) -> Sequence[Pod]:
        """Every desired pod that is no mirror, with its live status."""
        ...

    def listed_pods(self) -> Sequence[Pod]:
        """As :meth:`pods`, but pods of the API server bear the status last received from there."""
        ...

    def pod(self, namespace: str, name: str) -> Pod | None:
        """One of :meth:`pods`."""
        ...

    def running_pods(self) -> Sequence[Pod]:
        """What runs in the runtime: name, namespace, UID, containers' names and images."""
        ...

    def config_json(self) -> Mapping[str, Any]:
        """The KubeletConfiguration in force as a v1beta1 document."""
        ...

    def health(self) -> Sequence[HealthCheck]:
        """Checks beyond ``ping`` and ``log``, ``syncloop`` first."""
        ...

    async def logs(self, pod: Pod, container: str, request: LogRequest) -> AsyncGenerator[bytes, None]:
        """A container's log, in blocks; the caller closes it.

        :raises ApiError: there is no log to read; also from the iterator's first step.
        """
        ...

    async def exec_url(
        self, pod: Pod, uid: str, container: str, command: Sequence[str], streams: StreamRequest
    ) -> str:
        """URL at the runtime's streaming server that runs *command*; *uid* may be empty.

        :raises ApiError: no such container, or the runtime refuses.
        """
        ...

    async def attach_url(self, pod: Pod, uid: str, container: str, streams: StreamRequest) -> str:
        """URL at the runtime's streaming server that joins the container's streams.

        The container's own spec tells whether it has a terminal.

        :raises ApiError: no such container, or the runtime refuses.
        """
        ...

    async def port_forward_url(self, pod: Pod, ports: Sequence[int]) -> str:
        """URL at the runtime's streaming server that forwards ports into the newest sandbox.

        :raises ApiError: the pod has no sandbox, or the runtime refuses.
        """
        ...

    async def run_command(self, pod: Pod, uid: str, container: str, command: Sequence[str]) -> bytes:
        """Run *command* and give what it wrote.

        :raises ApiError: no such container, or the runtime refuses.
        """
        ...

    def events(self, uid: str) -> Sequence[EventView]:
        """The pod's events, oldest last time first."""
        ...

    def explain_pod(self, namespace: str, name: str) -> Sequence[str]:
        """The story of pods of that name, line by line; empty when nothing is known."""
        ...

    def explain_node(self) -> Sequence[str]:
        """The node's own story, line by line."""
        ...

    async def volumes(self, uid: str) -> Sequence[VolumeView]:
        """Where the pod's volumes stand; of those that wait to be attached the cluster is asked why."""
        ...

    def allocated(self, pod: Pod) -> Pod:
        """The pod with the resources that are allocated to it, which may not be those that it asks for."""
        ...

    async def pulls(self, uid: str) -> Sequence[PullView]:
        """The images that are being pulled for the pod now."""
        ...

    def worker(self, uid: str) -> WorkerView | None:
        """What the pod's worker is about; None without one."""
        ...

    def metrics(self) -> bytes:
        """The node's own metrics in Prometheus' text format."""
        ...

    def probe_metrics(self) -> bytes:
        """What the probes count, in the same format."""
        ...


class LogFile(Protocol):
    """An open file or directory of the node's own logs."""

    @property
    def size(self) -> int:
        """Bytes it had when it was opened."""
        ...

    @property
    def modified(self) -> float:
        """Seconds since the epoch."""
        ...

    @property
    def names(self) -> Sequence[str] | None:
        """A directory's entries in order, those that are directories with a ``/``; None for a file."""
        ...

    async def read(self, offset: int, size: int) -> bytes:
        """At most *size* bytes from *offset* on; empty at the end.

        :raises OSError: it cannot be read.
        """
        ...

    async def close(self) -> None:
        """Give it back."""
        ...


class NodeLogs(Protocol):
    """The node's own logs: files below one directory, and the system's journal."""

    async def open(self, path: str) -> LogFile:
        """What lies at the relative *path*; nothing outside the directory is ever opened.

        :raises OSError: nothing is there, or nothing that may be read.
        """
        ...

    async def has_unit(self, service: str) -> bool:
        """Whether the journal knows the unit ``SERVICE.service``."""
        ...

    def journal(self, arguments: Sequence[str]) -> AsyncGenerator[bytes, None]:
        """What ``journalctl`` writes when called with *arguments*, in blocks; the caller closes it.

        :raises OSError: there is no journal here; from the first step.
        """
        ...


class Manifests(Protocol):
    """The manifests that are pushed; what it refuses it refuses as ``StatusError``."""

    @property
    def limit(self) -> int:
        """The largest manifest, in bytes."""
        ...

    def manifests(self) -> Sequence[PushedManifest]:
        """All manifests, by name."""
        ...

    async def read(self, name: str) -> bytes:
        """The manifest as it was pushed.

        :raises StatusError: there is none of that name.
        """
        ...

    async def put(self, name: str, data: bytes, user: str) -> tuple[PushedManifest, bool]:
        """Keep a manifest, new or in the old one's place; and whether it is new.

        :raises StatusError: it is not taken; what was there stays.
        """
        ...

    async def delete(self, name: str, user: str) -> None:
        """Forget a manifest.

        :raises StatusError: there is none of that name.
        """
        ...


class Checkpoints(Protocol):
    """Makes images of running containers."""

    async def checkpoint(self, pod: Pod, container: str, timeout: int) -> str:
        """The new archive's path; *timeout* is in seconds, 0 for the runtime's own.

        :raises ApiError: the runtime refuses.
        """
        ...
