"""What pods ask for that feature gates have switched off is taken out of them where they come in.

An API server with the same gates would not have let it through; one with other gates, or a
manifest, does. So nobody else needs to know of these gates.
"""

from collections.abc import Callable

import msgspec

from pykubelet.api.core import Container, Pod
from pykubelet.api.podinfo import is_sidecar


def gated(enabled: Callable[[str], bool]) -> Callable[[Pod], Pod]:
    """What takes from a pod what is off by *enabled*, which tells whether a feature gate is on."""
    rules = enabled("ContainerRestartRules")
    if rules and enabled("RestartAllContainersOnContainerExits"):
        return lambda pod: pod
    return _without_restart_all if rules else _without_restart_rules


def _changed(pod: Pod, change: Callable[[Container], Container]) -> Pod:
    if not any(
        c.restartPolicy or c.restartPolicyRules for c in (*pod.spec.initContainers, *pod.spec.containers)
    ):
        return pod
    spec = msgspec.structs.replace(
        pod.spec,
        initContainers=[c if is_sidecar(c) else change(c) for c in pod.spec.initContainers],
        containers=[change(c) for c in pod.spec.containers],
    )
    return msgspec.structs.replace(pod, spec=spec)


def _without_restart_rules(pod: Pod) -> Pod:
    """Only the pod's own policy counts (that of a sidecar makes it one)."""
    return _changed(pod, lambda c: msgspec.structs.replace(c, restartPolicy=None, restartPolicyRules=[]))


def _without_restart_all(pod: Pod) -> Pod:
    """A rule that would restart all containers still ends the search: the container's policy counts."""

    def change(container: Container) -> Container:
        kept = [
            rule if rule.action != "RestartAllContainers" else msgspec.structs.replace(rule, action="")
            for rule in container.restartPolicyRules
        ]
        return msgspec.structs.replace(container, restartPolicyRules=kept)

    return _changed(pod, change)
