"""Which mounts a container gets, in which order (core/v1 VolumeMount, CRI Mount)."""

from collections.abc import Mapping
from dataclasses import dataclass

from pykubelet.api.core import Container
from pykubelet.api.mounted import MountedVolume
from pykubelet.api.volumes import VolumeMount
from pykubelet.base.expansion import expand_subpath
from pykubelet.rpc import cri_v1

from .doors import BindMount, HostDevice
from .hosts import CONTAINER_PATH

_PROPAGATION = {
    None: cri_v1.PROPAGATION_PRIVATE,
    "None": cri_v1.PROPAGATION_PRIVATE,
    "HostToContainer": cri_v1.PROPAGATION_HOST_TO_CONTAINER,
    "Bidirectional": cri_v1.PROPAGATION_BIDIRECTIONAL,
}


@dataclass(frozen=True, slots=True)
class PlannedMount:
    """One volume mount; a sub path still has to be prepared by whoever owns the volumes."""

    index: int
    name: str
    volume: MountedVolume
    container_path: str
    subpath: str
    read_only: bool
    recursive_read_only: bool
    propagation: "cri_v1.MountPropagation.ValueType"
    selinux_relabel: bool

    def message(self, host_path: str, image: cri_v1.ImageSpec | None = None) -> cri_v1.Mount:
        """The mount as CRI takes it, from *host_path*, or from the *image* of an image volume."""
        mount = cri_v1.Mount(
            container_path=self.container_path,
            host_path="" if image is not None else host_path,
            readonly=self.read_only,
            recursive_read_only=self.recursive_read_only,
            propagation=self.propagation,
            selinux_relabel=self.selinux_relabel,
        )
        if image is not None:
            mount.image.CopyFrom(image)
            mount.image_sub_path = self.subpath
        return mount


def absolute(path: str) -> str:
    """A path in the container, made absolute."""
    return path if path.startswith("/") else f"/{path}"


def _propagation(mode: str | None) -> "cri_v1.MountPropagation.ValueType":
    if mode not in _PROPAGATION:
        raise ValueError(f'invalid MountPropagation mode: "{mode}"')
    return _PROPAGATION[mode]


def _subpath(mount: VolumeMount, env: Mapping[str, str]) -> str:
    path = expand_subpath(mount.subPathExpr, env) if mount.subPathExpr else mount.subPath
    if path.startswith("/"):
        raise ValueError(f"error SubPath `{path}` must not be an absolute path")
    if ".." in path.split("/"):
        raise ValueError(f"unable to provision SubPath `{path}`: must not contain '..'")
    return path


def _recursive(mount: VolumeMount, *, supported: bool) -> bool:
    mode = mount.recursiveReadOnly
    if mode is None or mode == "Disabled":
        return False
    failed = "failed to resolve recursive read-only mode"
    asked = f'{failed}: volume "{mount.name}" requested recursive read-only mode'
    if not mount.readOnly:
        raise ValueError(f"{asked}, but it is not read-only")
    if mount.mountPropagation not in (None, "None"):
        raise ValueError(f'{asked}, but it is not compatible with propagation "{mount.mountPropagation}"')
    if mode == "IfPossible":
        return supported
    if mode != "Enabled":
        raise ValueError(f'{failed}: unknown recursive read-only mode "{mode}"')
    if not supported:
        raise ValueError(f"{asked}, but it is not supported by the runtime")
    return True


def plan_mounts(
    container: Container,
    volumes: Mapping[str, MountedVolume],
    env: Mapping[str, str],
    *,
    recursive_supported: bool,
    selinux: bool = False,
) -> list[PlannedMount]:
    """The container's volume mounts in their order.

    :raises ValueError: a volume is missing or a mount asks for what cannot be given.
    """
    planned = []
    relabelled: set[tuple[str, str]] = set()
    for index, mount in enumerate(container.volumeMounts):
        volume = volumes.get(mount.name)
        if volume is None or not (volume.host_path or volume.image):
            raise ValueError(f'cannot find volume "{mount.name}" to mount into container "{container.name}"')
        subpath = _subpath(mount, env)
        relabel = selinux and volume.selinux_relabel and (mount.name, subpath) not in relabelled
        planned.append(
            PlannedMount(
                index=index,
                name=mount.name,
                volume=volume,
                container_path=absolute(mount.mountPath),
                subpath=subpath,
                read_only=mount.readOnly or volume.read_only,
                recursive_read_only=_recursive(mount, supported=recursive_supported),
                propagation=_propagation(mount.mountPropagation),
                selinux_relabel=relabel,
            )
        )
        relabelled.add((mount.name, subpath))
    return planned


def wants_hosts_file(container: Container, *, host_network: bool, has_ips: bool) -> bool:
    """Whether the container gets our hosts file: not over a mount of its own, nor before IPs are known."""
    own = any(mount.mountPath == CONTAINER_PATH for mount in container.volumeMounts)
    return (host_network or has_ips) and not own


def block_devices(container: Container, volumes: Mapping[str, MountedVolume]) -> list[HostDevice]:
    """The container's raw block volumes.

    :raises ValueError: a volume is missing or a path is not absolute.
    """
    devices = []
    for device in container.volumeDevices:
        if not device.devicePath.startswith("/"):
            raise ValueError(f"error DevicePath `{device.devicePath}` must be an absolute path")
        volume = volumes.get(device.name)
        if volume is None or not volume.device_path:
            raise ValueError(f'cannot find volume "{device.name}" to pass into container "{container.name}"')
        permissions = "r" if volume.read_only else "mrw"
        devices.append(HostDevice(volume.device_path, device.devicePath, permissions))
    return devices


def bind(mount: BindMount) -> cri_v1.Mount:
    """A contributor's mount as CRI takes it."""
    return cri_v1.Mount(
        host_path=mount.host_path, container_path=mount.container_path, readonly=mount.read_only
    )
