"""What the plan of a pod orders: small frozen values, each with the fact that caused it."""

import enum
from dataclasses import dataclass

from pykubelet.api.core import ContainerKind

from .resize.plan import Change, ResizePlan


class KillReason(enum.Enum):
    """Why a single container is killed; a probe's own grace period goes with its reason."""

    OTHER = ""
    STARTUP_PROBE = "startupProbe"
    LIVENESS_PROBE = "livenessProbe"
    RESTART_ALL = "restartAllContainers"


@dataclass(frozen=True, slots=True)
class KillPod:
    """Stop every container and sandbox of the pod."""

    cause: str


@dataclass(frozen=True, slots=True)
class CreateSandbox:
    """Make a sandbox; *attempt* is one more than the newest one's."""

    attempt: int
    cause: str
    #: A sandbox was there before: the event ``SandboxChanged`` is due.
    changed: bool = False


@dataclass(frozen=True, slots=True)
class StartContainer:
    """Create and start a container (after its back-off allows it)."""

    container: str
    kind: ContainerKind
    cause: str


@dataclass(frozen=True, slots=True)
class KillContainer:
    """Stop one container, as *message* tells the user."""

    container: str
    id: str
    message: str
    reason: KillReason
    cause: str


def restart_for_resize(change: Change) -> KillContainer:
    """The order that stops a container whose ``resizePolicy`` wants it restarted for *change*."""
    message = f"Container {change.container} resize requires restart"
    cause = f"other resources are allocated to {change.container}, its resizePolicy says RestartContainer"
    return KillContainer(change.container, change.id, message, KillReason.OTHER, cause)


@dataclass(frozen=True, slots=True)
class RemoveContainer:
    """Remove one dead container from the runtime."""

    container: str
    id: str
    cause: str
    #: Leave its log files (a restart of all containers does).
    keep_logs: bool = False
    #: Kill it first, without grace (a restart of all containers).
    kill: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that one look at a pod orders, in the order of execution."""

    kill_pod: KillPod | None = None
    kill: tuple[KillContainer, ...] = ()
    remove: tuple[RemoveContainer, ...] = ()
    create_sandbox: CreateSandbox | None = None
    #: The sandbox that new containers go into when none is created; empty if none is ready.
    sandbox_id: str = ""
    #: What is resized in place, before anything starts.
    resize: ResizePlan | None = None
    start_ephemeral: tuple[StartContainer, ...] = ()
    start_init: tuple[StartContainer, ...] = ()
    start: tuple[StartContainer, ...] = ()

    @property
    def idle(self) -> bool:
        """Nothing is to be done."""
        return not (
            self.kill_pod
            or self.kill
            or self.remove
            or self.create_sandbox
            or self.resize
            or self.start_ephemeral
            or self.start_init
            or self.start
        )
