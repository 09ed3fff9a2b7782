"""What serving needs of the node, and the errors that become HTTP answers.

Texts and statuses are those that clients of a kubelet know; where one is decided on the
node's side it comes as :class:`ApiError`.
"""

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pykubelet.api.core import Pod


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


@dataclass(frozen=True, slots=True)
class WorkerView:
    """What a pod's worker is about: its phase, and why it ends if it does."""

    phase: str
    cause: str = ""


@dataclass(frozen=True, slots=True)
class User:
    """Who asks: the name and groups that authentication found."""

    name: str
    groups: tuple[str, ...] = ()


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

    def volumes(self, uid: str) -> Sequence[VolumeView]:
        """Where the pod's volumes stand."""
        ...

    def worker(self, uid: str) -> WorkerView | None:
        """What the pod's worker is about; None without one."""
        ...

    def metrics(self) -> bytes:
        """The node's own metrics in Prometheus' text format."""
        ...
