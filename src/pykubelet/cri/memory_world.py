"""What exists in the in-memory runtime, and how it changes with time; no waiting here.

Nothing happens by itself: :meth:`World.settle` lets every container end that was due
by now, with the time at which it was due. So a thousand idle containers cost nothing.
"""

import heapq
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from pykubelet.cri.errors import Code, CriError
from pykubelet.cri.types import ContainerEvent, ContainerState, ExecResult, Image, SandboxState
from pykubelet.rpc import cri_v1

SECOND = 1_000_000_000
_KILLED = 137


@dataclass(frozen=True, slots=True)
class ExecAnswer:
    """What a command run inside gives, after *seconds*."""

    result: ExecResult = field(default_factory=lambda: ExecResult(b"", b"", 0))
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Script:
    """How a container behaves once it is started; times in seconds."""

    #: Ends by itself after this; None runs until it is stopped.
    runs_for: float | None = None
    exit_code: int = 0
    #: The reason of its end; ``Completed`` or ``Error`` by the exit code when empty.
    reason: str = ""
    message: str = ""
    #: Ends this long after the stop signal; None ignores the signal.
    stops_after: float | None = 0.0
    stop_exit_code: int = 143
    #: Starting fails with this text, as with a command that does not exist.
    start_error: str = ""
    #: What ExecSync gives for a command.
    exec: Callable[[tuple[str, ...]], ExecAnswer] = lambda command: ExecAnswer()
    #: Usage while it runs.
    nano_cores: int = 1_000_000
    memory_bytes: int = 4 * 1024 * 1024


@dataclass(slots=True)
class Sandbox:
    """One sandbox."""

    id: str
    config: cri_v1.PodSandboxConfig
    handler: str
    created_at: int
    ip: str
    state: SandboxState = SandboxState.READY
    network_ready: bool = True
    #: Those of the configuration; a message's own maps are slow to read, and lists read them all the time.
    labels: dict[str, str] = field(init=False)
    annotations: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.labels, self.annotations = dict(self.config.labels), dict(self.config.annotations)


@dataclass(slots=True)
class Box:
    """One container. ``due`` is when it ends, with ``due_code`` and ``due_reason``."""

    id: str
    sandbox: Sandbox
    config: cri_v1.ContainerConfig
    image: Image
    script: Script
    created_at: int
    state: ContainerState = ContainerState.CREATED
    started_at: int = 0
    finished_at: int = 0
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    due: int | None = None
    due_code: int = 0
    due_reason: str = ""
    #: Those of the configuration, see :class:`Sandbox`.
    labels: dict[str, str] = field(init=False)
    annotations: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.labels, self.annotations = dict(self.config.labels), dict(self.config.annotations)

    @property
    def name(self) -> str:
        """Its name in the pod."""
        return self.config.metadata.name


def normalized(image: str) -> str:
    """An image's full name: default registry, default tag; IDs stay as they are."""
    if image.startswith("sha256:") or "@" in image:
        return image
    first, slash, _ = image.partition("/")
    if not slash:
        image = f"docker.io/library/{image}"
    elif "." not in first and ":" not in first and first != "localhost":
        image = f"docker.io/{image}"
    return image if ":" in image.rsplit("/", 1)[-1] else f"{image}:latest"


def _missing(method: str, what: str) -> CriError:
    return CriError(Code.NotFound, method, f"{what}: not found")


class World:
    """Sandboxes, containers and images of one runtime."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)  # noqa: S311 - makes IDs, guards nothing
        self.sandboxes: dict[str, Sandbox] = {}
        self.containers: dict[str, Box] = {}
        self.images: dict[str, Image] = {}
        self._due: list[tuple[int, str]] = []
        self._addresses = 1
        #: Who is told of each event, and that something changed.
        self.listeners: list[Callable[[ContainerEvent], None]] = []

    def new_id(self) -> str:
        """A fresh ID in the form that runtimes give."""
        return f"{self._random.getrandbits(256):064x}"

    # Images.

    def add_image(
        self,
        name: str,
        size: int = 1_000_000,
        *,
        uid: int | None = None,
        username: str = "",
        pinned: bool = False,
    ) -> Image:
        """Put an image on the node; the same name gives the same ID."""
        full = normalized(name)
        digest = f"sha256:{random.Random(full).getrandbits(256):064x}"  # noqa: S311 - an ID
        repository = full.split("@")[0].rsplit(":", 1)[0]
        image = Image(digest, (full,), (f"{repository}@{digest}",), size, uid, username, pinned)
        self.images[digest] = image
        return image

    def find_image(self, name: str) -> Image | None:
        """The image by name, digest or ID."""
        full = normalized(name)
        if full in self.images:
            return self.images[full]
        for image in self.images.values():
            if full in image.repo_tags or full in image.repo_digests or image.id == f"sha256:{full}":
                return image
        return None

    # Sandboxes.

    def sandbox(self, method: str, sandbox_id: str) -> Sandbox:
        """That sandbox, or NotFound."""
        found = self.sandboxes.get(sandbox_id)
        if found is None:
            raise _missing(method, f'an error occurred when try to find sandbox "{sandbox_id}"')
        return found

    def add_sandbox(self, config: cri_v1.PodSandboxConfig, handler: str, now: int) -> Sandbox:
        """A new, ready sandbox; its name (with the attempt) must be free."""
        mine = config.metadata
        for other in self.sandboxes.values():
            if other.config.metadata == mine:
                name = f"{mine.name}_{mine.namespace}_{mine.uid}_{mine.attempt}"
                text = f'failed to reserve sandbox name "{name}": name "{name}" is reserved for "{other.id}"'
                raise CriError(Code.Unknown, "RunPodSandbox", text)
        self._addresses += 1
        high, low = divmod(self._addresses, 256)
        own = cri_v1.PodSandboxConfig()
        own.CopyFrom(config)
        made = Sandbox(self.new_id(), own, handler, now, f"10.{64 + high // 256}.{high % 256}.{low}")
        self.sandboxes[made.id] = made
        self._emit(made.id, "CONTAINER_CREATED_EVENT", now, made)
        self._emit(made.id, "CONTAINER_STARTED_EVENT", now, made)
        return made

    def end_sandbox(self, sandbox: Sandbox, now: int) -> None:
        """Its containers are killed and it is ready no more."""
        for box in self.of_sandbox(sandbox.id):
            if box.state is ContainerState.RUNNING:
                self.finish(box, now, _KILLED)
        if sandbox.state is SandboxState.READY:
            sandbox.state = SandboxState.NOTREADY
            self._emit(sandbox.id, "CONTAINER_STOPPED_EVENT", now, sandbox)

    def drop_sandbox(self, sandbox: Sandbox, now: int) -> None:
        """It is gone, with its containers."""
        self.end_sandbox(sandbox, now)
        for box in self.of_sandbox(sandbox.id):
            self.drop(box, now)
        del self.sandboxes[sandbox.id]
        self._emit(sandbox.id, "CONTAINER_DELETED_EVENT", now, sandbox)

    # Containers.

    def of_sandbox(self, sandbox_id: str) -> list[Box]:
        """The containers in a sandbox."""
        return [box for box in self.containers.values() if box.sandbox.id == sandbox_id]

    def container(self, method: str, container_id: str) -> Box:
        """That container, or NotFound."""
        found = self.containers.get(container_id)
        if found is None:
            raise _missing(method, f'an error occurred when try to find container "{container_id}"')
        return found

    def add_container(self, sandbox_id: str, config: cri_v1.ContainerConfig, script: Script, now: int) -> Box:
        """A new container in a ready sandbox, from an image that is there."""
        sandbox = self.sandboxes.get(sandbox_id)
        if sandbox is None:
            raise _missing("CreateContainer", f'failed to find sandbox id "{sandbox_id}"')
        if sandbox.state is not SandboxState.READY:
            raise _missing("CreateContainer", "failed to get sandbox container task: no running task found")
        mine = config.metadata
        for other in self.of_sandbox(sandbox_id):
            if other.config.metadata == mine:
                pod = sandbox.config.metadata
                name = f"{mine.name}_{pod.name}_{pod.namespace}_{pod.uid}_{mine.attempt}"
                text = (
                    f'failed to reserve container name "{name}": name "{name}" is reserved for "{other.id}"'
                )
                raise CriError(Code.Unknown, "CreateContainer", text)
        image = self.find_image(config.image.image)
        if image is None:
            raise _missing("CreateContainer", f'failed to resolve image "{config.image.image}"')
        own = cri_v1.ContainerConfig()
        own.CopyFrom(config)
        box = Box(self.new_id(), sandbox, own, image, script, now)
        self.containers[box.id] = box
        self._emit(box.id, "CONTAINER_CREATED_EVENT", now, sandbox)
        return box

    def start(self, box: Box, now: int) -> None:
        """It runs from now on, and ends when its script says."""
        if box.state is not ContainerState.CREATED:
            text = (
                f'failed to set starting state for container "{box.id}": '
                f"container is in CONTAINER_{box.state.name} state"
            )
            raise CriError(Code.Unknown, "StartContainer", text)
        if box.script.start_error:
            box.state, box.finished_at = ContainerState.EXITED, now
            box.exit_code, box.reason, box.message = 128, "StartError", box.script.start_error
            raise CriError(Code.Unknown, "StartContainer", box.script.start_error)
        box.state, box.started_at = ContainerState.RUNNING, now
        self._emit(box.id, "CONTAINER_STARTED_EVENT", now, box.sandbox)
        if box.script.runs_for is not None:
            self.end_at(box, now + int(box.script.runs_for * SECOND), box.script.exit_code, box.script.reason)

    def end_at(self, box: Box, due: int, code: int, reason: str = "") -> None:
        """A running container ends at *due*, unless it ends before that anyway."""
        if box.state is ContainerState.RUNNING and (box.due is None or due < box.due):
            box.due, box.due_code, box.due_reason = due, code, reason
            heapq.heappush(self._due, (due, box.id))

    def signal(self, box: Box, grace: float, now: int) -> None:
        """The stop signal now, SIGKILL after *grace* seconds."""
        obeys = box.script.stops_after
        if obeys is not None and grace > 0:
            self.end_at(box, now + int(obeys * SECOND), box.script.stop_exit_code)
        self.end_at(box, now + int(max(grace, 0) * SECOND), _KILLED)

    def finish(self, box: Box, at: int, code: int, reason: str = "") -> None:
        """A running container has ended."""
        box.state, box.finished_at, box.exit_code, box.due = ContainerState.EXITED, at, code, None
        box.reason = reason or ("Completed" if code == 0 else "Error")
        box.message = box.script.message
        self._emit(box.id, "CONTAINER_STOPPED_EVENT", at, box.sandbox)

    def drop(self, box: Box, now: int) -> None:
        """It is gone; one that runs is killed first."""
        if box.state is ContainerState.RUNNING:
            self.finish(box, now, _KILLED)
        del self.containers[box.id]
        self._emit(box.id, "CONTAINER_DELETED_EVENT", now, box.sandbox)

    # Time.

    def settle(self, now: int) -> None:
        """Let everything end that was due by *now*."""
        while self._due and self._due[0][0] <= now:
            due, container_id = heapq.heappop(self._due)
            box = self.containers.get(container_id)
            if box is not None and box.due == due:
                self.finish(box, due, box.due_code, box.due_reason)

    def next_due(self) -> int | None:
        """When the next container ends."""
        while self._due:
            due, container_id = self._due[0]
            box = self.containers.get(container_id)
            if box is not None and box.due == due:
                return due
            heapq.heappop(self._due)
        return None

    def _emit(self, container_id: str, kind: str, at: int, sandbox: Sandbox) -> None:
        event = ContainerEvent(container_id, kind, at, sandbox.config.metadata.uid)
        for listener in self.listeners:
            listener(event)


def matches(labels: Mapping[str, str], selector: Mapping[str, str] | None) -> bool:
    """Whether *labels* have everything that *selector* asks for."""
    return all(labels.get(key) == value for key, value in (selector or {}).items())
