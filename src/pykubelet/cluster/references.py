"""Which config maps and secrets a pod's spec names. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Any

from pykubelet.api.core import Container, Pod
from pykubelet.api.volumes import Volume


@dataclass(frozen=True, slots=True)
class References:
    """Names of objects in the pod's own namespace."""

    config_maps: frozenset[str] = frozenset()
    secrets: frozenset[str] = frozenset()
    #: Those of them whose contents lie in volumes, where a running pod sees them change.
    mounted_config_maps: frozenset[str] = frozenset()
    mounted_secrets: frozenset[str] = frozenset()


def references(pod: Pod) -> References:
    """What the pod's environment, volumes and image pulls need; nothing behind its volume claims."""
    spec = pod.spec
    containers = list(chain(spec.initContainers, spec.containers, spec.ephemeralContainers))
    mounted_maps = {name for volume in spec.volumes for name in _maps_of_volume(volume)}
    mounted_secrets = {name for volume in spec.volumes for name in _mounted_secrets(volume)}
    secrets = chain(
        (reference.name for reference in spec.imagePullSecrets),
        (name for container in containers for name in _secrets_of_container(container)),
        (name for volume in spec.volumes for name in _driver_secrets(volume)),
        mounted_secrets,
    )
    maps = chain((name for container in containers for name in _maps_of_container(container)), mounted_maps)
    # Old objects may hold references without a name; there is nothing to fetch for them.
    return References(
        config_maps=frozenset(filter(None, maps)),
        secrets=frozenset(filter(None, secrets)),
        mounted_config_maps=frozenset(filter(None, mounted_maps)),
        mounted_secrets=frozenset(filter(None, mounted_secrets)),
    )


def _maps_of_container(container: Container) -> Iterator[str]:
    for bulk in container.envFrom:
        if bulk.configMapRef is not None:
            yield bulk.configMapRef.name
    for variable in container.env:
        if variable.valueFrom is not None and variable.valueFrom.configMapKeyRef is not None:
            yield variable.valueFrom.configMapKeyRef.name


def _secrets_of_container(container: Container) -> Iterator[str]:
    for bulk in container.envFrom:
        if bulk.secretRef is not None:
            yield bulk.secretRef.name
    for variable in container.env:
        if variable.valueFrom is not None and variable.valueFrom.secretKeyRef is not None:
            yield variable.valueFrom.secretKeyRef.name


def _maps_of_volume(volume: Volume) -> Iterator[str]:
    if volume.configMap is not None:
        yield volume.configMap.name
    if volume.projected is not None:
        for source in volume.projected.sources:
            if source.configMap is not None:
                yield source.configMap.name


def _mounted_secrets(volume: Volume) -> Iterator[str]:
    if volume.secret is not None:
        yield volume.secret.secretName
    if volume.projected is not None:
        for source in volume.projected.sources:
            if source.secret is not None:
                yield source.secret.name


def _driver_secrets(volume: Volume) -> Iterator[str]:
    """Secrets that go to a volume's driver when it is mounted."""
    if volume.csi is not None and volume.csi.nodePublishSecretRef is not None:
        yield volume.csi.nodePublishSecretRef.name
    if volume.azureFile is not None:
        yield volume.azureFile.secretName
    if volume.cinder is not None and volume.cinder.secretRef is not None:
        yield volume.cinder.secretRef.name
    for source in (
        volume.cephfs,
        volume.flexVolume,
        volume.iscsi,
        volume.rbd,
        volume.scaleIO,
        volume.storageos,
    ):
        reference = source.get("secretRef") if source is not None else None
        if isinstance(reference, dict):
            yield _text(reference.get("name"))


def _text(value: Any) -> str:
    """*value* of a source that is kept as it came, if it is a text."""
    return value if isinstance(value, str) else ""
