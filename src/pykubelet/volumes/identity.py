"""The user and the group that a pod's volumes are made for. Pure."""

from pykubelet.api.core import Pod


def user_of(pod: Pod) -> int | None:
    """The UID that all containers of *pod* run as; None when they differ or one names none."""
    spec = pod.spec
    default = spec.securityContext.runAsUser if spec.securityContext is not None else None
    users = set()
    for container in [*spec.initContainers, *spec.containers, *spec.ephemeralContainers]:
        context = container.securityContext
        own = context.runAsUser if context is not None else None
        users.add(own if own is not None else default)
    return users.pop() if len(users) == 1 else None


def group_of(pod: Pod) -> int | None:
    """The pod's fsGroup."""
    context = pod.spec.securityContext
    return context.fsGroup if context is not None else None
