"""Which AppArmor profile a container has, by its fields or by the annotation that came before them."""

from .core import AppArmorProfile, Container, Pod
from .podinfo import all_containers

_ANNOTATION = "container.apparmor.security.beta.kubernetes.io/"
_UNCONFINED = "unconfined"


def _annotated(pod: Pod, container: str) -> AppArmorProfile | None:
    value = pod.metadata.annotations.get(_ANNOTATION + container)
    if value == "runtime/default":
        return AppArmorProfile(type="RuntimeDefault")
    if value == _UNCONFINED:
        return AppArmorProfile(type="Unconfined")
    if value is not None and value.startswith("localhost/"):
        return AppArmorProfile(type="Localhost", localhostProfile=value.removeprefix("localhost/"))
    return None


def apparmor_profile(pod: Pod, container: Container) -> AppArmorProfile | None:
    """The container's own profile, else its annotation's, else the pod's; None if nothing states one."""
    own = container.securityContext
    if own is not None and own.appArmorProfile is not None:
        return own.appArmorProfile
    annotated = _annotated(pod, container.name)
    shared = pod.spec.securityContext
    return annotated or (shared.appArmorProfile if shared is not None else None)


def needs_apparmor(pod: Pod) -> bool:
    """Whether anything of the pod asks for a profile that has to be enforced."""
    stated = [container.securityContext for container, _ in all_containers(pod)]
    profiles = [context.appArmorProfile for context in (pod.spec.securityContext, *stated) if context]
    if any(profile is not None and profile.type != "Unconfined" for profile in profiles):
        return True
    notes = pod.metadata.annotations.items()
    return any(key.startswith(_ANNOTATION) and value != _UNCONFINED for key, value in notes)
