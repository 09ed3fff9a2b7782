"""What must hold for a pod's security context and its profiles."""

from typing import Final

from . import names
from .core import AppArmorProfile, PodSpec, SeccompProfile
from .fielderrors import FieldErrors

_IPC_SYSCTLS: Final = ("kernel.shm", "kernel.msg", "kernel.sem", "fs.mqueue.")


def check_seccomp(profile: SeccompProfile | None, at: str, errors: FieldErrors) -> None:
    """Type and, for Localhost alone, the file."""
    if profile is None:
        return
    if not profile.type:
        errors.required(f"{at}.type", "type is required when seccompProfile is set")
    else:
        errors.one_of(f"{at}.type", profile.type, ("Localhost", "RuntimeDefault", "Unconfined"))
    file = profile.localhostProfile
    if profile.type != "Localhost":
        if file is not None:
            errors.invalid(
                f"{at}.localhostProfile", profile, "can only be set when seccomp type is Localhost"
            )
    elif file is None:
        errors.required(f"{at}.localhostProfile", "must be set when seccomp type is Localhost")
    else:
        errors.invalid(f"{at}.localhostProfile", file, *names.descending_path(file))


def check_apparmor(profile: AppArmorProfile | None, at: str, errors: FieldErrors) -> None:
    """Type and, for Localhost alone, the loaded profile's name."""
    if profile is None:
        return
    name = profile.localhostProfile
    if not profile.type:
        errors.required(f"{at}.type", "type is required when appArmorProfile is set")
        return
    errors.one_of(f"{at}.type", profile.type, ("Localhost", "RuntimeDefault", "Unconfined"))
    at = f"{at}.localhostProfile"
    if profile.type != "Localhost":
        if name is not None:
            errors.invalid(at, name, "can only be set when AppArmor type is Localhost")
    elif name is not None and name != name.strip():
        errors.invalid(at, name, "must not be padded with whitespace")
    elif not name:
        errors.required(at, "must be set when AppArmor type is Localhost")
    elif len(name.encode()) > 4095:
        errors.too_long(at, 4095)


def check_pod_security(spec: PodSpec, path: str, errors: FieldErrors) -> None:
    """The pod's security context, and what the host's namespaces exclude."""
    context = spec.securityContext
    at = f"{path}.securityContext"
    if spec.shareProcessNamespace and spec.hostPID:
        errors.invalid(
            f"{at}.shareProcessNamespace", True, "ShareProcessNamespace and HostPID cannot both be enabled"
        )
    if spec.hostUsers is False:
        if spec.hostNetwork:
            errors.forbidden(f"{path}.hostNetwork", "when `hostUsers` is false")
        if spec.hostPID:
            errors.forbidden(f"{path}.HostPID", "when `hostUsers` is false")
        if spec.hostIPC:
            errors.forbidden(f"{path}.HostIPC", "when `hostUsers` is false")
        for kind in ("initContainers", "containers"):
            for index, container in enumerate(getattr(spec, kind)):
                if container.volumeDevices:
                    errors.forbidden(f"{path}.{kind}[{index}].volumeDevices", "when `hostUsers` is false")
    if context is None:
        return
    for field in ("fsGroup", "runAsUser", "runAsGroup"):
        value: int | None = getattr(context, field)
        if value is not None:
            errors.invalid(f"{at}.{field}", value, *names.numeric_id(value))
    for index, group in enumerate(context.supplementalGroups):
        errors.invalid(f"{at}.supplementalGroups[{index}]", group, *names.numeric_id(group))
    _sysctls(spec, f"{at}.sysctls", errors)
    for field, known in (
        ("fsGroupChangePolicy", ("Always", "OnRootMismatch")),
        ("supplementalGroupsPolicy", ("Merge", "Strict")),
        ("seLinuxChangePolicy", ("MountOption", "Recursive")),
    ):
        choice: str | None = getattr(context, field)
        if choice is not None:
            errors.one_of(f"{at}.{field}", choice, known)
    check_seccomp(context.seccompProfile, f"{at}.seccompProfile", errors)
    check_apparmor(context.appArmorProfile, f"{at}.appArmorProfile", errors)


def _sysctls(spec: PodSpec, path: str, errors: FieldErrors) -> None:
    taken: set[str] = set()
    for index, sysctl in enumerate(spec.securityContext.sysctls if spec.securityContext else ()):
        at = f"{path}[{index}].name"
        problems = names.sysctl_name(sysctl.name)
        if not sysctl.name:
            errors.required(at)
        elif problems:
            errors.invalid(at, sysctl.name, *problems)
        elif sysctl.name in taken:
            errors.duplicate(at, sysctl.name)
        dotted = sysctl.name.replace("/", ".")
        if spec.hostNetwork and dotted.startswith("net."):
            errors.invalid(at, sysctl.name, "may not be specified when 'hostNetwork' is true")
        if spec.hostIPC and dotted.startswith(_IPC_SYSCTLS):
            errors.invalid(at, sysctl.name, "may not be specified when 'hostIPC' is true")
        taken.add(sysctl.name)
