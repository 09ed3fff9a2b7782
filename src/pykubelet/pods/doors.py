"""The doors of this room: what a pod's worker needs from others, and what it offers them."""

from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol

from pykubelet.api.admission import Rejection
from pykubelet.api.core import Container, ContainerKind, Pod, PodStatus, ResourceRequirements
from pykubelet.cri.types import ContainerStatus
from pykubelet.linux.cgroups import Limits
from pykubelet.observe.types import ObservedPod


class AdmitHandler(Protocol):
    """One judge of new pods."""

    def admit(self, pod: Pod, others: Sequence[Pod]) -> Rejection | None:
        """None admits *pod* beside the active *others*."""
        ...


class PodVolumes(Protocol):
    """A pod's volumes, as its worker waits for them."""

    async def wait_ready(self, pod: Pod) -> None:
        """Return when all volumes that containers mount are there (upstream waits 2 m 3 s).

        :raises VolumeError: they are not.
        """
        ...

    async def wait_gone(self, pod: Pod) -> None:
        """Return when nothing of the pod's volumes is mounted any more.

        :raises VolumeError: something still is.
        """
        ...


class PodCgroups(Protocol):
    """The cgroups of pods. All calls may block on the kernel and run off the loop."""

    async def exists(self, pod: Pod) -> bool:
        """Whether the pod's cgroup is there in every hierarchy in use."""
        ...

    async def ensure(self, pod: Pod) -> tuple[Limits, Limits]:
        """Create the pod's cgroup with its limits if it is missing.

        One that is there keeps its CPU and memory limits, which follow a resize's own order. Returns
        those that it has, and those that it should have; both empty where pods have no cgroups.

        :raises OSError: the kernel refused.
        """
        ...

    async def limits(self, pod: Pod) -> Limits:
        """The CPU and memory limits that the pod's cgroup has; empty where pods have no cgroups.

        :raises OSError: they cannot be read.
        """
        ...

    async def set_limits(self, pod: Pod, limits: Limits) -> None:
        """Change some limits of the pod's cgroup.

        :raises OSError: the kernel refused.
        """
        ...

    async def memory_usage(
        self, pod: Pod, container_ids: Sequence[str]
    ) -> tuple[int | None, Mapping[str, int | None]]:
        """Bytes that the pod uses, and those containers of it by ID; None where it is not known.

        :raises OSError: they cannot be read.
        """
        ...

    async def destroy(self, uid: str) -> None:
        """Kill what is left in the pod's cgroup and remove it; nothing to do is fine."""
        ...

    async def update_qos(self, active: Sequence[Pod]) -> None:
        """Set the QoS level cgroups from the pods that are active now."""
        ...

    async def list_pods(self) -> set[str]:
        """UIDs of all pods that have a cgroup."""
        ...

    def parent(self, pod: Pod) -> str:
        """What goes to the runtime as the sandbox's ``cgroup_parent``."""
        ...


class ContainerStarter(Protocol):
    """Makes and ends sandboxes and containers; the room ``containers`` implements it."""

    async def prepare_pod(self, pod: Pod) -> None:
        """Make the pod's directories.

        :raises OSError: they cannot be made.
        """
        ...

    async def create_sandbox(self, pod: Pod, attempt: int) -> str:
        """Create and start a sandbox; returns its ID.

        :raises SandboxError: it failed (the event is not yet recorded).
        """
        ...

    async def start_container(
        self, pod: Pod, container: Container, kind: ContainerKind, sandbox_id: str, observed: ObservedPod
    ) -> str:
        """Image, create, start, postStart; records upstream's events; returns the container's ID.

        *observed* gives pod IPs and the instances before (restart count).

        :raises StartError: with the waiting reason to show.
        """
        ...

    async def pre_stop(
        self, pod: Pod, container: Container, container_id: str, ips: tuple[str, ...], timeout: float
    ) -> None:
        """Run the preStop hook if there is one, at most *timeout* seconds; failures are events."""
        ...

    async def stop_container(self, container_id: str, grace: int) -> None:
        """CRI StopContainer with *grace* seconds; a container that is gone is fine."""
        ...

    async def stop_sandbox(self, sandbox_id: str) -> None:
        """CRI StopPodSandbox; a sandbox that is gone is fine."""
        ...

    async def remove_container(self, status: ContainerStatus, *, keep_logs: bool = False) -> None:
        """Remove a dead container, with its log file and link unless *keep_logs*."""
        ...

    async def remove_sandbox(self, sandbox_id: str) -> None:
        """CRI RemovePodSandbox; a sandbox that is gone is fine."""
        ...

    async def clean_pod(self, pod_uid: str, namespace: str, name: str) -> None:
        """Remove the pod's log directory and other files this room made for it."""
        ...


class ResourceUpdater(Protocol):
    """Tells the runtime of other resources; the room ``containers`` implements it."""

    async def update_container(
        self,
        pod: Pod,
        container: Container,
        container_id: str,
        resources: ResourceRequirements,
        before: ResourceRequirements,
    ) -> None:
        """The running container, which has *before*, has *resources* from now on.

        :raises CriError: the runtime refused.
        """
        ...

    async def update_sandbox(self, pod: Pod, sandbox_id: str, limits: Limits) -> None:
        """The pod's cgroup is about to get *limits*; a runtime that does not care is fine.

        :raises CriError: the runtime refused.
        """
        ...


class Verdicts(Protocol):
    """What probes found, to be read by pure decisions; ``Probes`` is one."""

    def liveness(self, container_id: str) -> bool | None:
        """The last verdict on that container instance; None without one."""
        ...

    def readiness(self, container_id: str) -> bool | None:
        """The last verdict on that container instance; None without one."""
        ...

    def startup(self, container_id: str) -> bool | None:
        """The last verdict on that container instance; None without one."""
        ...

    def has_worker(self, pod_uid: str, container: str, kind: str) -> bool:
        """Whether a probe of *kind* (liveness, readiness, startup) runs for that container."""
        ...


class Probes(Protocol):
    """The probes of all pods: their verdicts, and their start and end."""

    def liveness(self, container_id: str) -> bool | None:
        """The last verdict on that container instance; None without one."""
        ...

    def readiness(self, container_id: str) -> bool | None:
        """The last verdict on that container instance; None without one."""
        ...

    def startup(self, container_id: str) -> bool | None:
        """The last verdict on that container instance; None without one."""
        ...

    def has_worker(self, pod_uid: str, container: str, kind: str) -> bool:
        """Whether a probe of *kind* (liveness, readiness, startup) runs for that container."""
        ...

    def add_pod(self, pod: Pod) -> None:
        """Start a worker for each probe of the pod; those that run already go on."""
        ...

    def stop_liveness_and_startup(self, pod_uid: str) -> None:
        """The pod is being ended: readiness alone goes on."""
        ...

    def remove_pod(self, pod_uid: str) -> None:
        """End all workers of the pod."""
        ...

    def keep_only(self, uids: set[str]) -> None:
        """End the workers of all other pods."""
        ...

    def poke_readiness(self, pod_uid: str, container: str) -> None:
        """Probe at once: the container is not ready and its status was just computed."""
        ...


class StatusSink(Protocol):
    """Takes the statuses of pods; the status manager of the cluster, or a local keeper."""

    def get(self, uid: str) -> PodStatus | None:
        """The last status that was set."""
        ...

    def set(self, pod: Pod, status: PodStatus) -> None:
        """A new status was computed."""
        ...

    def terminate(self, pod: Pod) -> None:
        """The pod has fully ended: containers without an end get one, the phase is final."""
        ...

    def remove(self, uid: str) -> None:
        """Forget the pod."""
        ...

    def keep_only(self, uids: AbstractSet[str]) -> None:
        """Forget all other pods: those that ended while no daemon ran."""
        ...


StatusChange = Callable[[PodStatus], PodStatus]


class PodKiller(Protocol):
    """The only way in which eviction, preemption and shutdown end a pod."""

    async def kill(
        self, uid: str, reason: str, change: StatusChange, grace: int | None, *, evict: bool = False
    ) -> None:
        """End the pod with at most *grace* seconds and wait for it.

        *change* is applied to the status that is reported.

        :raises TimeoutError: it did not end within max(10, 1.5 × grace) seconds.
        """
        ...
