"""What to do next for a pod: everything that one look at it orders, purely.

The plan is recomputed from the whole observation each time; it remembers nothing.
Back-off is not its matter: it orders a start, :mod:`.crashloop` says when.
"""

from collections.abc import Mapping
from dataclasses import replace

from pykubelet.api.container_hash import container_hash
from pykubelet.api.core import Container, Pod
from pykubelet.cri.types import ContainerState, ContainerStatus
from pykubelet.observe.types import ObservedPod

from .doors import Verdicts
from .orders import (
    CreateSandbox,
    KillContainer,
    KillPod,
    KillReason,
    Plan,
    RemoveContainer,
    StartContainer,
    restart_for_resize,
)
from .plan_init import InitPlan, plan_init
from .resize.plan import Change, InForce, changes, plan_resize
from .restart import (
    any_regular_created,
    policy_text,
    restarts_after_kill,
    should_start,
    triggers_restart_all,
)
from .sandbox import SandboxNeed, sandbox_need
from .story import ended, unknown_message


def plan_pod(
    pod: Pod,
    observed: ObservedPod,
    *,
    verdicts: Verdicts,
    terminating: str = "",
    restart_all: bool = False,
    in_force: InForce | None = None,
) -> Plan:
    """Everything that this look at the pod orders.

    *verdicts* are the probes' by container ID. *terminating* is why the pod is being
    ended, if it is: then nothing starts. *restart_all* is whether the pod's status
    says ``AllContainersRestarting`` (:func:`.restart.restart_all_runs`). *in_force* is what
    the pod's resources are, to be compared with its spec; without it nothing is resized.
    """
    if terminating:
        return Plan(kill_pod=KillPod(terminating)) if _something_lives(observed) else Plan()
    if restart_all:
        removals = _remove_all(pod, observed)
        if removals:
            return Plan(remove=removals)
    need = sandbox_need(pod, observed)
    found = {} if in_force is None else changes(pod, observed, in_force)
    if need.needed:
        plan = _plan_new_sandbox(pod, observed, need)
    else:
        restarts = {name: change for name, change in found.items() if change.restart}
        plan = _plan_in_sandbox(pod, observed, need, verdicts, restarts)
    return plan if in_force is None else _with_resize(pod, plan, found, in_force)


def _with_resize(pod: Pod, plan: Plan, found: Mapping[str, Change], in_force: InForce) -> Plan:
    """*plan*, and what gives the containers that it leaves alone, and the pod, what is allocated."""
    ends = plan.kill_pod is not None
    if ends and plan.create_sandbox is None:
        return plan
    killed = {order.id for order in plan.kill}
    kept = {
        name: change
        for name, change in found.items()
        if not ends and not change.restart and change.id not in killed
    }
    restarted = [name for name, change in found.items() if change.restart and change.id in killed]
    return replace(plan, resize=plan_resize(pod, kept, in_force, restarted))


def _something_lives(observed: ObservedPod) -> bool:
    """Whether killing the pod would find anything to do."""
    return observed.ready_sandbox is not None or any(
        container.state in (ContainerState.RUNNING, ContainerState.UNKNOWN)
        for container in observed.containers
    )


# --- a new sandbox ------------------------------------------------------------


def _plan_new_sandbox(pod: Pod, observed: ObservedPod, need: SandboxNeed) -> Plan:
    """Kill what there is and begin anew; or only kill, when nothing would run in a new sandbox."""
    if pod.spec.restartPolicy == "Never" and need.attempt != 0 and observed.containers:
        return _only_kill(observed, f"{need.cause}; restartPolicy Never and containers have run")
    left = [container for container in pod.spec.containers if not _done_for_good(pod, container, observed)]
    if not left and any_regular_created(pod, observed):
        return _only_kill(observed, f"{need.cause}; every container has succeeded")
    cause = f"new sandbox: {need.cause}"
    if pod.spec.initContainers:
        start_init = [StartContainer(pod.spec.initContainers[0].name, "init", cause)]
        start = []
    else:
        start_init = []
        start = [StartContainer(container.name, "regular", cause) for container in left]
    return Plan(
        # The sandboxes are stopped even when dead: that frees what the network plug-in gave them.
        kill_pod=None if observed.empty else KillPod(need.cause),
        remove=_purge_init(pod, observed, cause),
        create_sandbox=CreateSandbox(need.attempt, need.cause, changed=bool(need.id)),
        start_init=tuple(start_init),
        start=tuple(start),
    )


def _only_kill(observed: ObservedPod, cause: str) -> Plan:
    return Plan(kill_pod=KillPod(cause)) if _something_lives(observed) else Plan()


def _done_for_good(pod: Pod, container: Container, observed: ObservedPod) -> bool:
    """Whether the container has succeeded under OnFailure and so is not run again in a new sandbox."""
    policy = container.restartPolicy or pod.spec.restartPolicy
    newest = observed.newest(container.name)
    return (
        policy == "OnFailure"
        and newest is not None
        and newest.state is ContainerState.EXITED
        and newest.exit_code == 0
    )


def _purge_init(pod: Pod, observed: ObservedPod, cause: str) -> tuple[RemoveContainer, ...]:
    """Removal of all instances of init containers: they all run again in the new sandbox."""
    names = {container.name for container in pod.spec.initContainers}
    return tuple(
        RemoveContainer(status.name, status.id, cause)
        for status in observed.containers
        if status.name in names
    )


# --- in the present sandbox ---------------------------------------------------


def _plan_in_sandbox(
    pod: Pod, observed: ObservedPod, need: SandboxNeed, verdicts: Verdicts, restarts: Mapping[str, Change]
) -> Plan:
    """What the pod needs; *restarts* are the resizes, by container, that want it restarted."""
    prune = _prune_init(pod, observed)
    init = plan_init(pod, observed, verdicts, restarts)
    if init.kill_pod:
        return Plan(kill_pod=KillPod(init.kill_pod), remove=prune, sandbox_id=need.id)
    ephemeral = tuple(
        StartContainer(container.name, "ephemeral", f"ephemeral container {container.name} never ran")
        for container in pod.spec.ephemeralContainers
        if observed.newest(container.name) is None
    )
    if not init.initialized:
        return Plan(
            kill=init.kill,
            remove=prune,
            sandbox_id=need.id,
            start_ephemeral=ephemeral,
            start_init=init.start,
        )
    return _plan_regular(pod, observed, need, verdicts, restarts, init, ephemeral, prune)


def _plan_regular(
    pod: Pod,
    observed: ObservedPod,
    need: SandboxNeed,
    verdicts: Verdicts,
    restarts: Mapping[str, Change],
    init: InitPlan,
    ephemeral: tuple[StartContainer, ...],
    prune: tuple[RemoveContainer, ...],
) -> Plan:
    """The regular containers of an initialized pod."""
    kill: list[KillContainer] = []
    start: list[StartContainer] = []
    kept = 0
    for container in pod.spec.containers:
        newest = observed.newest(container.name)
        if newest is None or newest.state is not ContainerState.RUNNING:
            if should_start(pod, container, observed):
                start.append(StartContainer(container.name, "regular", _start_cause(pod, container, newest)))
                if newest is not None and newest.state is ContainerState.UNKNOWN:
                    kill.append(_kill_unknown(newest))
            continue
        unwanted = _unwanted(pod, container, newest, verdicts) or _resized(restarts.get(container.name))
        if unwanted is None:
            kept += 1
            continue
        order, restart = unwanted
        kill.append(order)
        if restart:
            start.append(StartContainer(container.name, "regular", order.cause))
    if not kept and not start:
        # Sidecars alone do not keep a pod alive.
        cause = "no container is running and none is to be started: " + _ends(pod, observed)
        return Plan(kill_pod=KillPod(cause), remove=prune, sandbox_id=need.id)
    return Plan(
        kill=init.kill + tuple(kill),
        remove=prune,
        sandbox_id=need.id,
        start_ephemeral=ephemeral,
        start_init=init.start,
        start=tuple(start),
    )


def _unwanted(
    pod: Pod, container: Container, running: ContainerStatus, verdicts: Verdicts
) -> tuple[KillContainer, bool] | None:
    """The order that ends a running container if anything speaks against it, and whether it runs again."""
    restart = restarts_after_kill(container, pod.spec)
    reason = KillReason.OTHER
    wanted = container_hash(container)
    if running.hash != wanted:
        # A changed definition is put into force whatever the policy says.
        restart = True
        what = "definition changed"
        cause = f"{container.name} runs with hash {running.hash or 'none'}, its spec has {wanted}"
    elif verdicts.liveness(running.id) is False:
        reason, what = KillReason.LIVENESS_PROBE, "failed liveness probe"
        cause = f"the liveness probe of {container.name} failed"
    elif verdicts.startup(running.id) is False:
        reason, what = KillReason.STARTUP_PROBE, "failed startup probe"
        cause = f"the startup probe of {container.name} failed"
    else:
        return None
    message = f"Container {container.name} {what}" + (", will be restarted" if restart else "")
    return KillContainer(container.name, running.id, message, reason, cause), restart


def _resized(change: Change | None) -> tuple[KillContainer, bool] | None:
    """The order that restarts a container for other resources; its restart policies do not speak here."""
    return None if change is None else (restart_for_resize(change), True)


def _kill_unknown(status: ContainerStatus) -> KillContainer:
    message = unknown_message("Container")
    cause = f"the runtime does not know the state of {status.name}"
    return KillContainer(status.name, status.id, message, KillReason.OTHER, cause)


def _start_cause(pod: Pod, container: Container, newest: ContainerStatus | None) -> str:
    if newest is None:
        return f"{container.name} has not run yet"
    if newest.state is ContainerState.EXITED:
        return f"{ended(newest)}; {policy_text(container, pod.spec, newest.exit_code)}"
    return f"{container.name} is in state {newest.state.name.lower()}"


def _ends(pod: Pod, observed: ObservedPod) -> str:
    newest = (observed.newest(container.name) for container in pod.spec.containers)
    return ", ".join(ended(status) for status in newest if status is not None) or "none has run"


def _prune_init(pod: Pod, observed: ObservedPod) -> tuple[RemoveContainer, ...]:
    """Removal of dead init containers but the newest dead one of each name."""
    orders = []
    for container in pod.spec.initContainers:
        dead = [
            status
            for status in observed.instances(container.name)
            if status.state in (ContainerState.EXITED, ContainerState.UNKNOWN)
        ]
        orders += [
            RemoveContainer(
                status.name,
                status.id,
                f"a newer instance of init container {status.name} is kept",
                kill=status.state is ContainerState.UNKNOWN,
            )
            for status in dead[1:]
        ]
    return tuple(orders)


# --- restart of all containers ------------------------------------------------


def _remove_all(pod: Pod, observed: ObservedPod) -> tuple[RemoveContainer, ...]:
    """Removal of every instance: those whose end caused it last, so that the cause is not lost half way."""
    sources: list[RemoveContainer] = []
    targets: list[RemoveContainer] = []
    for containers in (pod.spec.containers, pod.spec.initContainers):
        for container in containers:
            for status in observed.instances(container.name):
                exited = status.state is ContainerState.EXITED
                caused = exited and triggers_restart_all(container, status.exit_code)
                order = RemoveContainer(
                    status.name,
                    status.id,
                    f"{ended(status)}; its restart rule restarts all containers"
                    if caused
                    else "all containers are being restarted",
                    keep_logs=True,
                    kill=not exited,
                )
                (sources if caused else targets).append(order)
    return tuple(targets + sources)
