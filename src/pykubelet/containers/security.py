"""The Linux security context of a container and of a sandbox, from the pod's and the container's own.

One function computes a container's whole context, for every start alike. A field of the
container wins over the pod's (core/v1 SecurityContext, CRI LinuxContainerSecurityContext).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pykubelet.api.apparmor import apparmor_profile
from pykubelet.api.core import (
    Container,
    Pod,
    PodSecurityContext,
    SeccompProfile,
    SecurityContext,
    SELinuxOptions,
)
from pykubelet.base.journal import PodRef
from pykubelet.rpc import cri_v1

T = TypeVar("T")

_MASKED = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
_READONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_MAX_UID = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class ImageUser:
    """Whom an image runs as: a number, or a name; root when it says neither."""

    uid: int | None = 0
    name: str = ""


@dataclass(frozen=True, slots=True)
class SecurityFacts:
    """What the context needs beside the spec."""

    #: Host range of the pod's user namespace: first ID and length; None without one of its own.
    user_range: tuple[int, int] | None = None
    volume_gids: tuple[int, ...] = ()
    seccomp_default: bool = False
    seccomp_root: Path = Path("/var/lib/kubelet/seccomp")
    #: Paths under /sys that show power states of single CPUs, masked where they exist.
    thermal_paths: tuple[str, ...] = ()
    #: ID of the container whose PID namespace an ephemeral container joins.
    target_id: str = ""


def thermal_throttle_paths(cpus: Path = Path("/sys/devices/system/cpu")) -> tuple[str, ...]:
    """The per-CPU thermal throttle directories that exist; reads the file system."""
    found = [p for p in cpus.glob("cpu[0-9]*/thermal_throttle") if p.parent.name[3:].isdecimal()]
    return tuple(str(p) for p in sorted(found, key=lambda p: int(p.parent.name[3:])))


def _first(own: T | None, shared: T | None) -> T | None:
    return own if own is not None else shared


def namespaces(pod: Pod, user_range: tuple[int, int] | None = None) -> cri_v1.NamespaceOption:
    """The namespaces that the pod's sandbox and containers live in."""
    spec = pod.spec
    shared = cri_v1.POD if spec.shareProcessNamespace else cri_v1.CONTAINER
    pid = cri_v1.NODE if spec.hostPID else shared
    users = cri_v1.UserNamespace(mode=cri_v1.NODE)
    if user_range is not None:
        first, length = user_range
        mapping = cri_v1.IDMapping(host_id=first, container_id=0, length=length)
        users = cri_v1.UserNamespace(mode=cri_v1.POD, uids=[mapping], gids=[mapping])
    return cri_v1.NamespaceOption(
        network=cri_v1.NODE if spec.hostNetwork else cri_v1.POD,
        ipc=cri_v1.NODE if spec.hostIPC else cri_v1.POD,
        pid=pid,
        userns_options=users,
    )


def selinux_option(options: SELinuxOptions | None) -> cri_v1.SELinuxOption | None:
    """SELinux labels as CRI takes them."""
    if options is None:
        return None
    return cri_v1.SELinuxOption(user=options.user, role=options.role, type=options.type, level=options.level)


def int64(value: int | None) -> cri_v1.Int64Value | None:
    """A number that may be absent."""
    return None if value is None else cri_v1.Int64Value(value=value)


def groups_policy(policy: str | None) -> "cri_v1.SupplementalGroupsPolicy.ValueType":
    """The policy for groups that the image adds.

    :raises ValueError: not ``Merge`` or ``Strict``.
    """
    if policy is None or policy == "Merge":
        return cri_v1.Merge
    if policy == "Strict":
        return cri_v1.Strict
    raise ValueError(f"unsupported supplementalGroupsPolicy: {policy}")


def _run_as_user(pod: PodSecurityContext, own: SecurityContext) -> int | None:
    return _first(own.runAsUser, pod.runAsUser)


def verify_non_root(pod: Pod, container: Container, image: ImageUser) -> None:
    """Hold ``runAsNonRoot`` against whom the container would run as.

    :raises ValueError: it would be root, or that cannot be known.
    """
    shared = pod.spec.securityContext or PodSecurityContext()
    own = container.securityContext or SecurityContext()
    if not _first(own.runAsNonRoot, shared.runAsNonRoot):
        return
    meta = pod.metadata
    where = f'(pod: "{PodRef(meta.namespace, meta.name, meta.uid)}", container: {container.name})'
    user = _run_as_user(shared, own)
    if user is not None:
        if user == 0:
            raise ValueError(f"container's runAsUser breaks non-root policy {where}")
        return
    if image.uid is None:
        if image.name:
            raise ValueError(
                f"container has runAsNonRoot and image has non-numeric user ({image.name}), "
                f"cannot verify user is non-root {where}"
            )
        return
    if image.uid == 0:
        raise ValueError(f"container has runAsNonRoot and image will run as root {where}")
    if not 0 < image.uid <= _MAX_UID:
        raise ValueError(
            f"container has runAsNonRoot and image has an invalid user id ({image.uid}). "
            f"(Must be 1-({_MAX_UID})): must be between 0 and {_MAX_UID}, inclusive {where}"
        )


def seccomp(profile: SeccompProfile | None, root: Path, *, runtime_default: bool) -> cri_v1.SecurityProfile:
    """A seccomp profile; none is Unconfined, or the runtime's with ``seccompDefault``.

    :raises ValueError: ``Localhost`` without a file, or with one outside of *root*.
    """
    kinds = cri_v1.SecurityProfile
    if profile is None:
        kind = kinds.RuntimeDefault if runtime_default else kinds.Unconfined
        return cri_v1.SecurityProfile(profile_type=kind)
    if profile.type == "RuntimeDefault":
        return cri_v1.SecurityProfile(profile_type=kinds.RuntimeDefault)
    if profile.type == "Localhost":
        if not profile.localhostProfile:
            raise ValueError("localhostProfile must be set if seccompProfile type is Localhost.")
        relative = Path(profile.localhostProfile)
        if relative.is_absolute() or ".." in relative.parts:
            raise ValueError(f'localhostProfile "{relative}" must be a path inside of the seccomp directory')
        return cri_v1.SecurityProfile(profile_type=kinds.Localhost, localhost_ref=str(root / relative))
    return cri_v1.SecurityProfile(profile_type=kinds.Unconfined)


def _apparmor(pod: Pod, container: Container) -> tuple[cri_v1.SecurityProfile | None, str]:
    """The AppArmor profile in CRI's new form and in its old one."""
    kinds = cri_v1.SecurityProfile
    profile = apparmor_profile(pod, container)
    if profile is None:
        return None, ""
    if profile.type == "RuntimeDefault":
        return cri_v1.SecurityProfile(profile_type=kinds.RuntimeDefault), "runtime/default"
    if profile.type == "Unconfined":
        return cri_v1.SecurityProfile(profile_type=kinds.Unconfined), "unconfined"
    if profile.type == "Localhost":
        if profile.localhostProfile is None:
            raise ValueError("missing localhost apparmor profile name")
        name = profile.localhostProfile
        new = cri_v1.SecurityProfile(profile_type=kinds.Localhost, localhost_ref=name)
        return new, f"localhost/{name}"
    raise ValueError(f'unknown apparmor profile type: "{profile.type}"')


def _groups(shared: PodSecurityContext | None, volume_gids: Sequence[int]) -> list[int]:
    groups = []
    if shared is not None:
        groups += [] if shared.fsGroup is None else [shared.fsGroup]
        groups += shared.supplementalGroups
    return [*groups, *volume_gids]


def container_security(
    pod: Pod, container: Container, image: ImageUser, facts: SecurityFacts
) -> cri_v1.LinuxContainerSecurityContext:
    """The whole context of the container.

    :raises ValueError: the spec asks for what cannot be given; the text is for the status.
    """
    verify_non_root(pod, container, image)
    shared = pod.spec.securityContext or PodSecurityContext()
    own = container.securityContext or SecurityContext()
    scope = namespaces(pod, facts.user_range)
    if facts.target_id and scope.pid == cri_v1.CONTAINER:
        scope.pid = cri_v1.TARGET
        scope.target_id = facts.target_id
    unmasked = own.procMount == "Unmasked"
    apparmor, old_apparmor = _apparmor(pod, container)
    context = cri_v1.LinuxContainerSecurityContext(
        privileged=bool(own.privileged),
        readonly_rootfs=bool(own.readOnlyRootFilesystem),
        no_new_privs=own.allowPrivilegeEscalation is False,
        namespace_options=scope,
        selinux_options=selinux_option(_first(own.seLinuxOptions, shared.seLinuxOptions)),
        run_as_user=int64(_run_as_user(shared, own)),
        run_as_group=int64(_first(own.runAsGroup, shared.runAsGroup)),
        supplemental_groups=_groups(pod.spec.securityContext, facts.volume_gids),
        supplemental_groups_policy=groups_policy(shared.supplementalGroupsPolicy),
        masked_paths=[] if unmasked else [*_MASKED, *facts.thermal_paths],
        readonly_paths=[] if unmasked else list(_READONLY),
        seccomp=seccomp(
            _first(own.seccompProfile, shared.seccompProfile),
            facts.seccomp_root,
            runtime_default=facts.seccomp_default,
        ),
        apparmor=apparmor,
        apparmor_profile=old_apparmor,
    )
    if own.capabilities is not None:
        context.capabilities.add_capabilities.extend(own.capabilities.add)
        context.capabilities.drop_capabilities.extend(own.capabilities.drop)
    if not context.HasField("run_as_user"):
        if image.uid is not None:
            context.run_as_user.CopyFrom(cri_v1.Int64Value(value=image.uid))
        context.run_as_username = image.name
    return context


def sandbox_security(pod: Pod, facts: SecurityFacts) -> cri_v1.LinuxSandboxSecurityContext:
    """The context of the pod's sandbox; its seccomp profile is the runtime's own in any case.

    :raises ValueError: an unknown policy for supplemental groups.
    """
    everyone = [*pod.spec.initContainers, *pod.spec.containers, *pod.spec.ephemeralContainers]
    context = cri_v1.LinuxSandboxSecurityContext(
        privileged=any(c.securityContext and c.securityContext.privileged for c in everyone),
        seccomp=cri_v1.SecurityProfile(profile_type=cri_v1.SecurityProfile.RuntimeDefault),
        # Without a pod security context upstream leaves these unset, which reads as "a PID namespace for
        # the pod"; the API server always fills one in, and host namespaces must hold either way.
        namespace_options=namespaces(pod, facts.user_range),
    )
    shared = pod.spec.securityContext
    if shared is None:
        return context
    if shared.runAsUser is not None:
        context.run_as_user.CopyFrom(cri_v1.Int64Value(value=shared.runAsUser))
    if shared.runAsGroup is not None:
        context.run_as_group.CopyFrom(cri_v1.Int64Value(value=shared.runAsGroup))
    groups = [] if shared.fsGroup is None else [shared.fsGroup]
    context.supplemental_groups.extend([*groups, *facts.volume_gids, *shared.supplementalGroups])
    context.supplemental_groups_policy = groups_policy(shared.supplementalGroupsPolicy)
    selinux = selinux_option(shared.seLinuxOptions)
    if selinux is not None:
        context.selinux_options.CopyFrom(selinux)
    return context
