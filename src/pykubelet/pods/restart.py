"""Restart policies and container restart rules: may this container be started again?

Sources: PodSpec.restartPolicy, Container.restartPolicy (also KEP-753, sidecars) and
Container.restartPolicyRules (KEP-5307, and KEP-5532 for restarting all containers).
"""

from collections.abc import Iterator

from pykubelet.api.core import (
    Container,
    ContainerRestartRule,
    ContainerStatus,
    Pod,
    PodSpec,
    PodStatus,
)
from pykubelet.cri.types import ContainerState
from pykubelet.cri.types import ContainerStatus as Instance
from pykubelet.observe.types import ObservedPod

ALL_CONTAINERS_RESTARTING = "AllContainersRestarting"
_RESTART = "Restart"
_RESTART_ALL = "RestartAllContainers"


def matching_rule(container: Container, exit_code: int) -> ContainerRestartRule | None:
    """The first of the container's restart rules that *exit_code* matches."""
    for rule in container.restartPolicyRules:
        if rule.exitCodes is None:
            continue
        listed = exit_code in rule.exitCodes.values
        if (rule.exitCodes.operator == "In" and listed) or (
            rule.exitCodes.operator == "NotIn" and not listed
        ):
            return rule
    return None


def _policy_restarts(policy: str, exit_code: int) -> bool:
    if policy == "OnFailure":
        return exit_code != 0
    return policy != "Never"


def restarts_after(container: Container, spec: PodSpec, exit_code: int) -> bool:
    """Whether a container that ended with *exit_code* is to run again.

    The container's rules speak first, then its own policy, then the pod's.
    """
    if container.restartPolicy is None:
        return _policy_restarts(spec.restartPolicy, exit_code)
    rule = matching_rule(container, exit_code)
    if rule is not None and rule.action in (_RESTART, _RESTART_ALL):
        return True
    return _policy_restarts(container.restartPolicy, exit_code)


def restarts_after_kill(container: Container, spec: PodSpec) -> bool:
    """Whether a container that we kill ourselves is to run again: no exit code, so no rules."""
    return (container.restartPolicy or spec.restartPolicy) != "Never"


def policy_text(container: Container, spec: PodSpec, exit_code: int) -> str:
    """What decides over the container's restart, in words, for the journal."""
    if container.restartPolicy is None:
        return f"restartPolicy {spec.restartPolicy or 'Always'}"
    rule = matching_rule(container, exit_code)
    if rule is not None and rule.action in (_RESTART, _RESTART_ALL):
        return f"restart rule {rule.action}"
    return f"container restartPolicy {container.restartPolicy}"


def should_start(pod: Pod, container: Container, observed: ObservedPod) -> bool:
    """Whether the container is to be started (again), as far as its policies say."""
    if pod.metadata.deletionTimestamp is not None:
        return False
    newest = observed.newest(container.name)
    if newest is None:
        return True
    if newest.state is ContainerState.RUNNING:
        return False
    if newest.state is ContainerState.EXITED:
        return restarts_after(container, pod.spec, newest.exit_code)
    return True


def any_regular_created(pod: Pod, observed: ObservedPod) -> bool:
    """Whether a regular container was ever created, so that initialization was over once."""
    newest = (observed.newest(container.name) for container in pod.spec.containers)
    return any(status is not None and status.state is not ContainerState.UNKNOWN for status in newest)


# --- RestartAllContainers -----------------------------------------------------


def may_restart_all(spec: PodSpec) -> bool:
    """Whether any rule of the pod could restart all its containers."""
    return any(
        rule.action == _RESTART_ALL for container in _both(spec) for rule in container.restartPolicyRules
    )


def triggers_restart_all(container: Container, exit_code: int) -> bool:
    """Whether the end of *container* with *exit_code* restarts all containers."""
    rule = matching_rule(container, exit_code)
    return rule is not None and rule.action == _RESTART_ALL


def restart_all_runs(status: PodStatus | None) -> bool:
    """Whether *status* says that all containers are being restarted."""
    return status is not None and any(
        condition.type == ALL_CONTAINERS_RESTARTING and condition.status == "True"
        for condition in status.conditions
    )


def restart_all_wanted(pod: Pod, observed: ObservedPod, status: PodStatus | None) -> bool:
    """Whether all containers are to be restarted, or still are being restarted.

    An end counts whether the runtime still knows it or only the last *status* does.
    """
    if restart_all_runs(status):
        return True
    if not may_restart_all(pod.spec):
        return False
    reported: dict[str, ContainerStatus] = {}
    if status is not None:
        reported = {s.name: s for s in (*status.initContainerStatuses, *status.containerStatuses)}
    return any(
        _ended_with_restart_all(container, observed.newest(container.name), reported.get(container.name))
        for container in _both(pod.spec)
    )


def _ended_with_restart_all(
    container: Container, newest: Instance | None, reported: ContainerStatus | None
) -> bool:
    if newest is None or newest.state is not ContainerState.EXITED:
        return False
    if triggers_restart_all(container, newest.exit_code):
        return True
    terminated = None if reported is None else reported.state.terminated
    return terminated is not None and triggers_restart_all(container, terminated.exitCode)


def restart_all_cleaned(pod: Pod, observed: ObservedPod) -> bool:
    """Whether no container is left, so that the restart of all may begin anew."""
    return all(observed.newest(container.name) is None for container in _both(pod.spec))


def _both(spec: PodSpec) -> Iterator[Container]:
    yield from spec.initContainers
    yield from spec.containers
