"""A pod as it was observed in the runtime: the only view of reality that decisions read."""

from dataclasses import dataclass

from pykubelet.cri.types import ContainerState, ContainerStatus, SandboxState, SandboxStatus


@dataclass(frozen=True, slots=True)
class ObservedPod:
    """Sandboxes and containers of one pod, both newest first."""

    uid: str
    name: str = ""
    namespace: str = ""
    #: IPs of the newest ready sandbox; kept from before while none is ready.
    ips: tuple[str, ...] = ()
    sandboxes: tuple[SandboxStatus, ...] = ()
    containers: tuple[ContainerStatus, ...] = ()
    #: Monotonic seconds at which the reading began; a decision needs one newer than its last orders.
    read_at: float = 0.0

    def newest(self, container: str) -> ContainerStatus | None:
        """The newest instance of the container of that name."""
        return next((c for c in self.containers if c.name == container), None)

    def instances(self, container: str) -> tuple[ContainerStatus, ...]:
        """All instances of that name, newest first."""
        return tuple(c for c in self.containers if c.name == container)

    @property
    def ready_sandbox(self) -> SandboxStatus | None:
        """The newest sandbox if it is ready."""
        if self.sandboxes and self.sandboxes[0].state is SandboxState.READY:
            return self.sandboxes[0]
        return None

    @property
    def running(self) -> tuple[ContainerStatus, ...]:
        """The containers that run."""
        return tuple(c for c in self.containers if c.state is ContainerState.RUNNING)

    @property
    def alive(self) -> bool:
        """Whether a container of the pod or its newest sandbox is running."""
        return self.ready_sandbox is not None or bool(self.running)

    @property
    def empty(self) -> bool:
        """Nothing of the pod is left in the runtime."""
        return not self.sandboxes and not self.containers
