"""A volume as its driver is told of it, persistent or the pod's own. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from pykubelet.api.core import Pod
from pykubelet.api.storage import CSIPersistentVolumeSource, PersistentVolume, SecretReference

from ..spec import VolumeSpec
from . import context
from .data_file import EPHEMERAL, PERSISTENT
from .means import HEAD, unchanged
from .paths import check_name, inline_handle


@dataclass(frozen=True, slots=True)
class Source:
    """What a driver is told of a volume when it is published."""

    driver: str
    handle: str
    lifecycle: str
    read_only: bool
    fs_type: str
    attributes: Mapping[str, str]
    secret: SecretReference | None
    access_mode: str
    mount_options: tuple[str, ...]


def source_of(spec: VolumeSpec, pod: Pod) -> Source:
    """What the driver is to be told of the volume.

    :raises VolumeError: the spec names nothing usable.
    """
    own = spec.volume.csi
    if spec.pv is None and own is not None:
        check_name("driver", own.driver)
        named = own.nodePublishSecretRef
        return Source(
            driver=own.driver,
            handle=inline_handle(pod.metadata.uid, spec.name),
            lifecycle=EPHEMERAL,
            read_only=bool(own.readOnly),
            fs_type=own.fsType or "",
            attributes=own.volumeAttributes,
            secret=SecretReference(name=named.name, namespace=pod.metadata.namespace) if named else None,
            access_mode="ReadWriteOnce",
            mount_options=(),
        )
    pv, source = persistent(spec)
    return Source(
        driver=source.driver,
        handle=source.volumeHandle,
        lifecycle=PERSISTENT,
        read_only=spec.read_only,
        fs_type=source.fsType,
        attributes=source.volumeAttributes,
        secret=source.nodePublishSecretRef,
        access_mode=context.access_mode(pv.spec.accessModes),
        mount_options=tuple(pv.spec.mountOptions),
    )


def persistent(spec: VolumeSpec) -> tuple[PersistentVolume, CSIPersistentVolumeSource]:
    """A persistent volume and its CSI part.

    :raises VolumeError: the spec has none, or it names nothing usable.
    """
    source = spec.pv.spec.csi if spec.pv is not None else None
    if spec.pv is None or source is None:
        raise unchanged(f"{HEAD}volume source not found in volume.Spec")
    check_name("driver", source.driver)
    # Whoever names a cloud provider's volume chooses its name, which has slashes.
    check_name("volume", spec.directory if spec.inline else spec.name)
    if not source.volumeHandle:
        raise unchanged(f"{HEAD}spec.csi.volumeHandle of persistent volume {spec.name} is empty")
    return spec.pv, source
