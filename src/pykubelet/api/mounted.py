"""A volume that is there, as the rooms that make volumes and containers both see it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MountedVolume:
    """A volume of a pod that is there, as a container's mounts see it."""

    #: The volume's name in the pod's spec.
    name: str
    #: Directory or file on the host that is bound into containers; empty for block and image volumes.
    host_path: str = ""
    #: The volume itself may only be mounted read-only.
    read_only: bool = False
    #: The volume takes an SELinux relabel (managed by the kubelet, not labelled by its own mount).
    selinux_relabel: bool = False
    #: Link to the block device in the pod's device directory; empty for file systems.
    device_path: str = ""
    #: Reference of the image that an image volume mounts; empty for all others.
    image: str = ""
    #: Group that the pod's processes must have to use the volume.
    gid: int | None = None
