"""The statuses of a pod's containers, from what the runtime shows and what was reported before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import msgspec

from pykubelet.api.core import (
    Container,
    ContainerKind,
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStateWaiting,
    ContainerStatus,
    ContainerUser,
    LinuxContainerUser,
    Pod,
)
from pykubelet.api.podinfo import is_sidecar
from pykubelet.api.volumes import VolumeMount, VolumeMountStatus
from pykubelet.base.clock import from_ns
from pykubelet.cri.types import ContainerState as InstanceState
from pykubelet.cri.types import ContainerStatus as Instance
from pykubelet.observe.types import ObservedPod

from .resize.amounts import PodAmounts
from .restart import any_regular_created, should_start
from .status_phase import RESTARTING_ALL_CONTAINERS
from .status_resources import reported_resources

#: Reason and exit code of an end that nobody saw.
STATUS_UNKNOWN = "ContainerStatusUnknown"
_UNSEEN_EXIT = 137
_LOST = "The container could not be located when the pod was terminated"
_LOST_DELETED = (
    "The container could not be located when the pod was deleted.  The container used to be Running"
)
_REMOVED_FOR_RESTART = "The container is removed because RestartAllContainers in place"
_INIT_GONE = (
    "Unable to get init container status from container runtime and pod has been initialized, "
    "treat it as exited normally"
)


@dataclass(frozen=True, slots=True)
class StatusContext:
    """What the statuses of all containers of one pod are computed from."""

    pod: Pod
    observed: ObservedPod
    runtime_name: str
    #: Why a start failed, by container: waiting reason and message.
    reasons: Mapping[str, tuple[str, str]]
    #: All containers are being restarted.
    restarting_all: bool
    #: The runtime can make mounts recursively read-only.
    recursive_read_only: bool
    #: The signal by which a container is stopped is shown, where the runtime tells it.
    stop_signals: bool = False
    #: What containers were made with or changed to.
    recorded: PodAmounts = field(default_factory=PodAmounts)


def container_statuses(
    context: StatusContext,
    containers: Sequence[Container],
    kind: ContainerKind,
    old: Sequence[ContainerStatus],
) -> list[ContainerStatus]:
    """Statuses of *containers*: init ones in the order of the spec, others by name.

    Readiness and ``started`` are not in them yet, see :mod:`.status_ready`.
    """
    before = {status.name: status for status in old}
    statuses = [_container_status(context, c, kind, before.get(c.name)) for c in containers]
    return statuses if kind == "init" else sorted(statuses, key=lambda status: status.name)


def unseen_end(reason: str = STATUS_UNKNOWN, message: str = _LOST) -> ContainerStateTerminated:
    """An end that nobody saw."""
    return ContainerStateTerminated(exitCode=_UNSEEN_EXIT, reason=reason, message=message)


def _container_status(
    context: StatusContext, container: Container, kind: ContainerKind, old: ContainerStatus | None
) -> ContainerStatus:
    instances = context.observed.instances(container.name)
    if instances:
        status = _from_instance(context, container, instances[0], old)
        if len(instances) > 1:
            before = _from_instance(context, container, instances[1], old).state
            status = msgspec.structs.replace(status, lastState=before)
    else:
        status = _without_instance(context, container, old)
    return _waiting_for_start(context, container, kind, status)


# --- without an instance in the runtime ---------------------------------------


def _without_instance(
    context: StatusContext, container: Container, old: ContainerStatus | None
) -> ContainerStatus:
    status = _not_created(context, container, old)
    if old is None:
        return status
    if context.restarting_all and old.state.waiting is None:
        return msgspec.structs.replace(
            status,
            state=ContainerState(
                waiting=ContainerStateWaiting(reason=RESTARTING_ALL_CONTAINERS, message=_REMOVED_FOR_RESTART)
            ),
            lastState=ContainerState(terminated=unseen_end(RESTARTING_ALL_CONTAINERS, _REMOVED_FOR_RESTART)),
            restartCount=old.restartCount + 1,
        )
    if old.state.running is None or old.lastState.terminated is not None:
        return status
    # It ran when last seen: it must show as ended, or the pod would fall back to Pending.
    deleted = context.pod.metadata.deletionTimestamp is not None
    return msgspec.structs.replace(
        status,
        lastState=ContainerState(terminated=unseen_end(message=_LOST_DELETED)),
        restartCount=old.restartCount + (0 if deleted else 1),
    )


def _not_created(
    context: StatusContext, container: Container, old: ContainerStatus | None
) -> ContainerStatus:
    """A container that the runtime does not know: as it ended before, or waiting."""
    if old is not None and old.state.terminated is not None:
        return old
    reason = "PodInitializing" if context.pod.spec.initContainers else "ContainerCreating"
    return ContainerStatus(
        name=container.name,
        image=container.image,
        state=ContainerState(waiting=ContainerStateWaiting(reason=reason)),
        lastState=ContainerState() if old is None else old.lastState,
        restartCount=0 if old is None else old.restartCount,
        volumeMounts=_volume_mounts(container, context.recursive_read_only),
    )


def _volume_mounts(container: Container, recursive: bool) -> list[VolumeMountStatus] | msgspec.UnsetType:
    """How the container's volumes are mounted; the runtime does not know their names."""
    mounts = [
        VolumeMountStatus(
            name=mount.name,
            mountPath=mount.mountPath,
            readOnly=mount.readOnly,
            recursiveReadOnly=_recursive_mode(mount, recursive) if mount.readOnly else None,
        )
        for mount in container.volumeMounts
    ]
    return mounts or msgspec.UNSET


def _recursive_mode(mount: VolumeMount, supported: bool) -> str:
    wanted = mount.recursiveReadOnly in ("IfPossible", "Enabled")
    return "Enabled" if wanted and supported and mount.mountPropagation in (None, "None") else "Disabled"


# --- with an instance ---------------------------------------------------------


def _from_instance(
    context: StatusContext, container: Container, instance: Instance, old: ContainerStatus | None
) -> ContainerStatus:
    container_id = f"{context.runtime_name}://{instance.id}"
    mounts = _volume_mounts(container, context.recursive_read_only)
    same = old is not None and old.containerID == container_id
    status = ContainerStatus(
        name=instance.name,
        image=instance.image,
        imageID=instance.image_ref,
        containerID=container_id,
        state=_state(context, instance, container_id, old),
        lastState=_last_state(container_id, old),
        restartCount=_restart_count(instance, old),
        volumeMounts=mounts if old is None or not old.volumeMounts else old.volumeMounts,
        # Another instance's start says nothing about this one.
        started=old.started if old is not None and same and _runs(instance) else msgspec.UNSET,
        allocatedResources=container.resources.requests or msgspec.UNSET,
        user=_user(instance),
        stopSignal=_stop_signal(instance) if context.stop_signals else msgspec.UNSET,
    )
    recorded = context.recorded.containers.get(container.name)
    resources = reported_resources(container, instance, old if same else None, recorded)
    return msgspec.structs.replace(status, resources=resources)


def _stop_signal(instance: Instance) -> str | msgspec.UnsetType:
    """The signal in the API's words; unset where the runtime tells none (containerd 1.x)."""
    return instance.stop_signal.replace("PLUS", "+").replace("MINUS", "-") or msgspec.UNSET


def _runs(instance: Instance) -> bool:
    return instance.state is InstanceState.RUNNING


def _state(
    context: StatusContext, instance: Instance, container_id: str, old: ContainerStatus | None
) -> ContainerState:
    if _runs(instance):
        return ContainerState(running=ContainerStateRunning(startedAt=from_ns(instance.started_at)))
    if instance.state is InstanceState.EXITED:
        return ContainerState(
            terminated=ContainerStateTerminated(
                exitCode=instance.exit_code,
                reason=instance.reason or msgspec.UNSET,
                message=instance.message or msgspec.UNSET,
                startedAt=from_ns(instance.started_at),
                finishedAt=from_ns(instance.finished_at),
                containerID=container_id,
            )
        )
    if instance.state is InstanceState.UNKNOWN and old is not None and old.state.running is not None:
        # It ran and must not look as if it never had: that could run a pod twice.
        reason = RESTARTING_ALL_CONTAINERS if context.restarting_all else STATUS_UNKNOWN
        return ContainerState(terminated=unseen_end(reason))
    return ContainerState(waiting=ContainerStateWaiting())


def _restart_count(instance: Instance, old: ContainerStatus | None) -> int:
    """The instance's own count; never less than what was reported.

    Where the instances before are gone from the runtime, what was reported counts on.
    """
    own = instance.restart_count
    if old is None:
        return own
    ran_again = _runs(instance) and old.state.terminated is not None and old.restartCount >= own
    lost = instance.state is InstanceState.UNKNOWN and old.state.running is not None
    return old.restartCount + 1 if ran_again or lost else max(own, old.restartCount)


def _last_state(container_id: str, old: ContainerStatus | None) -> ContainerState:
    """The end before this instance, where the runtime itself may not know it any more."""
    if old is None:
        return ContainerState()
    if old.containerID != container_id and old.state.terminated is not None:
        return ContainerState(terminated=old.state.terminated)
    return ContainerState(terminated=old.lastState.terminated)


def _user(instance: Instance) -> ContainerUser | msgspec.UnsetType:
    if instance.user is None:
        return msgspec.UNSET
    groups = list(instance.user.supplemental_groups)
    return ContainerUser(
        linux=LinuxContainerUser(
            uid=instance.user.uid, gid=instance.user.gid, supplementalGroups=groups or msgspec.UNSET
        )
    )


# --- waiting for the next start -----------------------------------------------


def _waiting_for_start(
    context: StatusContext, container: Container, kind: ContainerKind, status: ContainerStatus
) -> ContainerStatus:
    """A container whose next start failed or is backed off waits, and says why."""
    newest = context.observed.newest(container.name)
    if kind == "init":
        if newest is not None and newest.state is InstanceState.EXITED and newest.exit_code == 0:
            return status
        if (
            newest is None
            and status.state.waiting is not None
            and not is_sidecar(container)
            and any_regular_created(context.pod, context.observed)
        ):
            done = ContainerStateTerminated(exitCode=0, reason="Completed", message=_INIT_GONE)
            return msgspec.structs.replace(status, state=ContainerState(terminated=done))
    if container.name not in context.reasons or not should_start(context.pod, container, context.observed):
        return status
    reason, message = context.reasons[container.name]
    return msgspec.structs.replace(
        status,
        state=ContainerState(waiting=ContainerStateWaiting(reason=reason, message=message)),
        lastState=status.state if status.state.terminated is not None else status.lastState,
    )
