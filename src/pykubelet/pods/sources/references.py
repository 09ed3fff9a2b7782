"""Whether a pod refers to objects that only an API server has; a static pod may not."""

from typing import Any, Final

from pykubelet.api.core import Container, Pod
from pykubelet.api.podinfo import all_containers
from pykubelet.api.volumes import Volume

#: Volume sources that need nothing of an API server by themselves.
_LOCAL: Final = frozenset(
    {
        "awsElasticBlockStore", "azureDisk", "cephfs", "cinder", "downwardAPI", "emptyDir", "fc",
        "flexVolume", "flocker", "gcePersistentDisk", "gitRepo", "hostPath", "image", "iscsi", "nfs",
        "photonPersistentDisk", "portworxVolume", "quobyte", "rbd", "scaleIO", "storageos", "vsphereVolume",
    }
)  # fmt: skip
_REMOTE: Final = {
    "configMap": "configmaps (via configmap volumes)",
    "secret": "secrets (via secret volumes)",
    "csi": "csidrivers (via CSI volumes)",
    "glusterfs": "endpoints (via glusterFS volumes)",
    "persistentVolumeClaim": "persistentvolumeclaims",
    "ephemeral": "persistentvolumeclaims (via ephemeral volumes)",
    "azureFile": "secrets (via azureFile volumes)",
}
_PROJECTED: Final = {
    "configMap": "configmaps (via projected volumes)",
    "secret": "secrets (via projected volumes)",
    "serviceAccountToken": "serviceaccounts (via projected volumes)",
    "clusterTrustBundle": "clustertrustbundles",
    "podCertificate": "podcertificates",
}


class UnknownVolume(ValueError):
    """A volume whose kind is not known; *field* is its path."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


def api_reference(pod: Pod) -> tuple[str, str]:
    """What the pod refers to, as upstream names it, and by which field; both empty if nothing.

    :raises UnknownVolume: a volume's kind is not known.
    """
    if pod.spec.serviceAccountName:
        return "serviceaccounts", "spec.serviceAccountName"
    for kind, what in (("secret", "secrets"), ("configMap", "configmaps")):
        field = _named(pod, kind)
        if field:
            return what, field
    if pod.spec.resourceClaims:
        return "resourceclaims", "spec.resourceClaims"
    for index, volume in enumerate(pod.spec.volumes):
        what = _volume(volume, f"spec.volumes[{index}]")
        if what:
            return what, f"spec.volumes[{index}]"
    return "", ""


def _named(pod: Pod, kind: str) -> str:
    """The first field that names an object of *kind* (secret, configMap); empty if none does."""
    if kind == "secret":
        for index, pull in enumerate(pod.spec.imagePullSecrets):
            if pull.name:
                return f"spec.imagePullSecrets[{index}]"
    for container, where in all_containers(pod):
        if _in_container(container, kind):
            name = {"init": "initContainers", "regular": "containers"}.get(where, "ephemeralContainers")
            return f"spec.{name}[{container.name}].env"
    for index, volume in enumerate(pod.spec.volumes):
        if _in_volume(volume, kind):
            return f"spec.volumes[{index}]"
    return ""


def _in_container(container: Container, kind: str) -> bool:
    refs: list[Any] = [getattr(source, f"{kind}Ref") for source in container.envFrom]
    refs += [getattr(var.valueFrom, f"{kind}KeyRef") for var in container.env if var.valueFrom is not None]
    return any(ref is not None and ref.name for ref in refs)


def _in_volume(volume: Volume, kind: str) -> bool:
    """Whether the volume names such an object, also where a driver would fetch a secret."""
    projected = volume.projected.sources if volume.projected is not None else []
    names = [getattr(source, kind).name for source in projected if getattr(source, kind) is not None]
    if kind == "configMap":
        names += [volume.configMap.name] if volume.configMap is not None else []
        return any(names)
    names += [volume.secret.secretName] if volume.secret is not None else []
    if volume.csi is not None and volume.csi.nodePublishSecretRef is not None:
        names.append(volume.csi.nodePublishSecretRef.name)
    if volume.azureFile is not None:
        names.append(volume.azureFile.secretName)
    if volume.cinder is not None and volume.cinder.secretRef is not None:
        names.append(volume.cinder.secretRef.name)
    for driver in (volume.cephfs, volume.flexVolume, volume.rbd, volume.scaleIO, volume.iscsi):
        names.append(_secret_ref(driver))
    names.append(_secret_ref(volume.storageos))
    return any(names)


def _secret_ref(driver: dict[str, Any] | None) -> str:
    ref = (driver or {}).get("secretRef")
    return str(ref.get("name") or "") if isinstance(ref, dict) else ""


def _volume(volume: Volume, field: str) -> str:
    given = {
        name for name in Volume.__struct_fields__ if name != "name" and getattr(volume, name) is not None
    }
    if given & _LOCAL:
        return ""
    for name, what in _REMOTE.items():
        if name in given:
            return what
    if volume.projected is None:
        raise UnknownVolume(f'unknown volume type for volume  "{volume.name}"', field)
    for source in volume.projected.sources:
        for name, what in _PROJECTED.items():
            if getattr(source, name) is not None:
                return what
        if source.downwardAPI is None:
            raise UnknownVolume(f'unknown source for projected volume "{volume.name}"', field)
    return ""
