"""What must hold for a pod's volumes, and for the mounts that use them."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from . import names
from .core import Container, PodSpec
from .fielderrors import FieldErrors
from .quantity import Quantity
from .validation_clouds import CLOUD_CHECKS
from .volumes import (
    ConfigMapProjection,
    ConfigMapVolumeSource,
    DownwardAPIVolumeFile,
    HostPathVolumeSource,
    KeyToPath,
    ObjectFieldSelector,
    ProjectedVolumeSource,
    ResourceFieldSelector,
    SecretProjection,
    SecretVolumeSource,
    ServiceAccountTokenProjection,
    Volume,
    VolumeMount,
)

_KINDS: Final = tuple(name for name in Volume.__struct_fields__ if name != "name")
_HOST_PATH_TYPES: Final = (
    "",
    "BlockDevice",
    "CharDevice",
    "Directory",
    "DirectoryOrCreate",
    "File",
    "FileOrCreate",
    "Socket",
)
_VOLUME_FIELDS: Final = (
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
)
_RESOURCE_FIELDS: Final = tuple(
    f"{which}.{name}" for which in ("limits", "requests") for name in ("cpu", "ephemeral-storage", "memory")
)
_BYTE_DIVISORS: Final = (
    "1", "1k", "1M", "1G", "1T", "1P", "1E", "1Ki", "1Mi", "1Gi", "1Ti", "1Pi", "1Ei",
)  # fmt: skip
_PROPAGATIONS: Final = ("Bidirectional", "HostToContainer", "None")
_RECURSIVE: Final = ("Disabled", "Enabled", "IfPossible")


def check_volumes(spec: PodSpec, path: str, errors: FieldErrors) -> dict[str, Volume]:
    """Check all volumes; returns the sound ones by name, which mounts may refer to."""
    sound: dict[str, Volume] = {}
    for index, volume in enumerate(spec.volumes):
        at = f"{path}[{index}]"
        before = len(errors)
        _volume(volume, at, errors)
        if not volume.name:
            errors.required(f"{at}.name")
        else:
            errors.invalid(f"{at}.name", volume.name, *names.dns_label(volume.name))
        if volume.name in sound:
            errors.duplicate(f"{at}.name", volume.name)
        if len(errors) == before:
            sound[volume.name] = volume
    return sound


def _volume(volume: Volume, at: str, errors: FieldErrors) -> None:
    given = [kind for kind in _KINDS if getattr(volume, kind) is not None]
    if not given:
        errors.required(at, "must specify a volume type")
    for kind in given[1:]:
        errors.forbidden(f"{at}.{kind}", "may not specify more than 1 volume type")
    if given and (check := _CHECKS.get(given[0])) is not None:
        check(getattr(volume, given[0]), f"{at}.{given[0]}", errors)


def _empty_dir(source: Any, at: str, errors: FieldErrors) -> None:
    if source.sizeLimit is not None and source.sizeLimit < Quantity.zero():
        errors.forbidden(f"{at}.sizeLimit", "SizeLimit field must be a valid resource quantity")


def _host_path(source: HostPathVolumeSource, at: str, errors: FieldErrors) -> None:
    if not source.path:
        errors.required(f"{at}.path")
        return
    errors.invalid(f"{at}.path", source.path, *names.no_backsteps(source.path))
    if source.type is not None:
        errors.one_of(f"{at}.type", source.type, _HOST_PATH_TYPES)


def _mode(mode: int | None, at: str, errors: FieldErrors) -> None:
    if mode is not None:
        errors.invalid(at, mode, *names.file_mode(mode))


def _items(items: list[KeyToPath], at: str, errors: FieldErrors) -> None:
    for index, item in enumerate(items):
        here = f"{at}[{index}]"
        if not item.key:
            errors.required(f"{here}.key")
        if not item.path:
            errors.required(f"{here}.path")
        errors.invalid(f"{here}.path", item.path, *names.local_path(item.path))
        _mode(item.mode, f"{here}.mode", errors)


def _secret(source: SecretVolumeSource, at: str, errors: FieldErrors) -> None:
    if not source.secretName:
        errors.required(f"{at}.secretName")
    _mode(source.defaultMode, f"{at}.defaultMode", errors)
    _items(source.items, f"{at}.items", errors)


def _config_map(source: ConfigMapVolumeSource, at: str, errors: FieldErrors) -> None:
    if not source.name:
        errors.required(f"{at}.name")
    _mode(source.defaultMode, f"{at}.defaultMode", errors)
    _items(source.items, f"{at}.items", errors)


def _claim(source: Any, at: str, errors: FieldErrors) -> None:
    if not source.claimName:
        errors.required(f"{at}.claimName")


def _nfs(source: Any, at: str, errors: FieldErrors) -> None:
    if not source.server:
        errors.required(f"{at}.server")
    if not source.path:
        errors.required(f"{at}.path")
    if not source.path.startswith("/"):
        errors.invalid(f"{at}.path", source.path, "must be an absolute path")


def _image(source: Any, at: str, errors: FieldErrors) -> None:
    if not source.reference:
        errors.required(f"{at}.reference")
    check_pull_policy(source.pullPolicy, f"{at}.pullPolicy", errors)


def _csi(source: Any, at: str, errors: FieldErrors) -> None:
    if not source.driver:
        errors.required(f"{at}.driver")
    if source.nodePublishSecretRef is not None and not source.nodePublishSecretRef.name:
        errors.required(f"{at}.nodePublishSecretRef.name")


def _ephemeral(source: Any, at: str, errors: FieldErrors) -> None:
    if source.volumeClaimTemplate is None:
        errors.required(f"{at}.volumeClaimTemplate")


def _downward(source: Any, at: str, errors: FieldErrors) -> None:
    _mode(source.defaultMode, f"{at}.defaultMode", errors)
    for file in source.items:
        _downward_file(file, at, errors)


def _downward_file(file: DownwardAPIVolumeFile, at: str, errors: FieldErrors) -> None:
    if not file.path:
        errors.required(f"{at}.path")
    errors.invalid(f"{at}.path", file.path, *names.local_path(file.path))
    if file.fieldRef is not None:
        check_field_ref(file.fieldRef, _VOLUME_FIELDS, f"{at}.fieldRef", errors)
        if file.resourceFieldRef is not None:
            errors.invalid(
                at, "resource", "fieldRef and resourceFieldRef can not be specified simultaneously"
            )
    elif file.resourceFieldRef is not None:
        check_resource_ref(file.resourceFieldRef, f"{at}.resourceFieldRef", errors, container_needed=True)
    else:
        errors.required(at, "one of fieldRef and resourceFieldRef is required")
    _mode(file.mode, f"{at}.mode", errors)


def _projected(volume: ProjectedVolumeSource, at: str, errors: FieldErrors) -> None:
    _mode(volume.defaultMode, f"{at}.defaultMode", errors)
    taken: set[str] = set()

    def take(path: str, value: str) -> None:
        if path and path in taken:
            errors.invalid(at, value, "conflicting duplicate paths")
        taken.add(path)

    for index, source in enumerate(volume.sources):
        here = f"{at}.sources[{index}]"
        keyed: tuple[tuple[str, SecretProjection | ConfigMapProjection | None], ...] = (
            ("secret", source.secret),
            ("configMap", source.configMap),
        )
        for kind, projection in keyed:
            if projection is not None:
                if not projection.name:
                    errors.required(f"{here}.{kind}.name")
                _items(projection.items, f"{here}.{kind}.items", errors)
                for item in projection.items:
                    take(item.path, projection.name)
        if source.downwardAPI is not None:
            for file in source.downwardAPI.items:
                _downward_file(file, f"{here}.downwardAPI", errors)
                take(file.path, file.path)
        if source.serviceAccountToken is not None:
            _token(source.serviceAccountToken, f"{here}.serviceAccountToken", at, errors)
            take(source.serviceAccountToken.path, source.serviceAccountToken.path)
        given = [kind for kind in source.__struct_fields__ if getattr(source, kind) is not None]
        if len(given) > 1:
            errors.forbidden(here, "may not specify more than 1 volume type per source")
        elif not given:
            errors.required(here, "must specify a volume type")


def _token(token: ServiceAccountTokenProjection, at: str, volume: str, errors: FieldErrors) -> None:
    seconds = token.expirationSeconds
    if seconds is not None and seconds < 600:
        errors.invalid(f"{at}.expirationSeconds", seconds, "may not specify a duration less than 10 minutes")
    if seconds is not None and seconds > 1 << 32:
        errors.invalid(
            f"{at}.expirationSeconds", seconds, "may not specify a duration larger than 2^32 seconds"
        )
    if not token.path:
        errors.required(f"{volume}.path")
    errors.invalid(f"{volume}.path", token.path, *names.local_path(token.path))


_CHECKS: Final[Mapping[str, Callable[[Any, str, FieldErrors], None]]] = {
    "emptyDir": _empty_dir,
    "hostPath": _host_path,
    "secret": _secret,
    "configMap": _config_map,
    "persistentVolumeClaim": _claim,
    "nfs": _nfs,
    "image": _image,
    "csi": _csi,
    "ephemeral": _ephemeral,
    "downwardAPI": _downward,
    "projected": _projected,
    **CLOUD_CHECKS,
}


# --- used by containers too ---------------------------------------------------


def check_pull_policy(policy: str, at: str, errors: FieldErrors) -> None:
    """Always, IfNotPresent or Never."""
    if policy:
        errors.one_of(at, policy, ("Always", "IfNotPresent", "Never"))
    else:
        errors.required(at)


def check_field_ref(ref: ObjectFieldSelector, known: tuple[str, ...], at: str, errors: FieldErrors) -> None:
    """A reference to a field of the pod; *known* are those that may be named here."""
    if not ref.apiVersion:
        errors.required(f"{at}.apiVersion")
        return
    if not ref.fieldPath:
        errors.required(f"{at}.fieldPath")
        return
    path, bracket, rest = ref.fieldPath.partition("['")
    if bracket and rest.endswith("']"):
        key = rest.removesuffix("']")
        if path == "metadata.annotations":
            errors.invalid(at, key.lower(), *names.qualified_name(key.lower()))
        elif path == "metadata.labels":
            errors.invalid(at, key, *names.qualified_name(key))
        else:
            errors.invalid(at, path, "does not support subscript")
    elif ref.fieldPath not in known:
        errors.one_of(f"{at}.fieldPath", ref.fieldPath, known)


def check_resource_ref(
    ref: ResourceFieldSelector, at: str, errors: FieldErrors, *, container_needed: bool = False
) -> None:
    """A reference to a container's request or limit."""
    huge = ref.resource.startswith(("requests.hugepages-", "limits.hugepages-"))
    if container_needed and not ref.containerName:
        errors.required(f"{at}.containerName")
    elif not ref.resource:
        errors.required(f"{at}.resource")
    elif not huge:
        errors.one_of(f"{at}.resource", ref.resource, _RESOURCE_FIELDS)
    if not ref.divisor:
        return
    name = ref.resource.partition(".")[2]
    text = str(ref.divisor)
    if name == "cpu":
        if text not in ("1m", "1"):
            errors.invalid(
                f"{at}.divisor",
                ref.resource,
                "only divisor's values 1m and 1 are supported with the cpu resource",
            )
    elif (huge or name in ("memory", "ephemeral-storage")) and text not in _BYTE_DIVISORS:
        what = {"memory": "memory", "ephemeral-storage": "local ephemeral storage"}.get(name, "hugepages")
        listed = ", ".join(_BYTE_DIVISORS)
        errors.invalid(
            f"{at}.divisor",
            ref.resource,
            f"only divisor's values {listed} are supported with the {what} resource",
        )


# --- mounts -------------------------------------------------------------------


def check_mounts(container: Container, sound: dict[str, Volume], at: str, errors: FieldErrors) -> None:
    """The mounts and raw devices of one container; *sound* are the pod's volumes."""
    devices = {device.name: device.devicePath for device in container.volumeDevices}
    mounts = {mount.name: mount.mountPath for mount in container.volumeMounts}
    taken: set[str] = set()
    for index, mount in enumerate(container.volumeMounts):
        here = f"{at}.volumeMounts[{index}]"
        if not mount.name:
            errors.required(f"{here}.name")
        if mount.name not in sound:
            errors.not_found(f"{here}.name", mount.name)
        if not mount.mountPath:
            errors.required(f"{here}.mountPath")
        if mount.mountPath in taken:
            errors.invalid(f"{here}.mountPath", mount.mountPath, "must be unique")
        taken.add(mount.mountPath)
        if mount.name in devices:
            errors.invalid(f"{here}.name", mount.name, "must not already exist in volumeDevices")
        if mount.mountPath in devices.values():
            errors.invalid(
                f"{here}.mountPath", mount.mountPath, "must not already exist as a path in volumeDevices"
            )
        _sub_path(mount, here, errors)
        _propagation(mount, container, here, errors)
    _devices(container, mounts, sound, f"{at}.volumeDevices", errors)


def _sub_path(mount: VolumeMount, at: str, errors: FieldErrors) -> None:
    if mount.subPath:
        errors.invalid(f"{at}.subPath", mount.subPath, *names.descending_path(mount.subPath))
    if mount.subPathExpr:
        if mount.subPath:
            errors.invalid(
                f"{at}.subPathExpr", mount.subPathExpr, "subPathExpr and subPath are mutually exclusive"
            )
        errors.invalid(f"{at}.subPathExpr", mount.subPathExpr, *names.descending_path(mount.subPathExpr))


def _propagation(mount: VolumeMount, container: Container, at: str, errors: FieldErrors) -> None:
    if mount.mountPropagation is not None:
        errors.one_of(f"{at}.mountPropagation", mount.mountPropagation, _PROPAGATIONS)
        context = container.securityContext
        if mount.mountPropagation == "Bidirectional" and not (context and context.privileged):
            errors.forbidden(
                f"{at}.mountPropagation",
                "Bidirectional mount propagation is available only to privileged containers",
            )
    if mount.recursiveReadOnly is None:
        return
    here = f"{at}.recursiveReadOnly"
    errors.one_of(here, mount.recursiveReadOnly, _RECURSIVE)
    if mount.recursiveReadOnly in ("Enabled", "IfPossible"):
        if not mount.readOnly:
            errors.forbidden(here, "may only be specified when readOnly is true")
        if mount.mountPropagation not in (None, "None"):
            errors.forbidden(here, "may only be specified when mountPropagation is None or not specified")


def _devices(
    container: Container, mounts: dict[str, str], sound: dict[str, Volume], at: str, errors: FieldErrors
) -> None:
    taken_names: set[str] = set()
    taken_paths: set[str] = set()
    for index, device in enumerate(container.volumeDevices):
        here = f"{at}[{index}]"
        volume = sound.get(device.name)
        if not device.name:
            errors.required(f"{here}.name")
        if device.name in taken_names:
            errors.invalid(f"{here}.name", device.name, "must be unique")
        if volume is None:
            errors.not_found(f"{here}.name", device.name)
        elif volume.persistentVolumeClaim is None and volume.ephemeral is None:
            errors.invalid(
                f"{here}.name",
                device.name,
                "can only use volume source type of PersistentVolumeClaim or Ephemeral for block mode",
            )
        if not device.devicePath:
            errors.required(f"{here}.devicePath")
        if device.devicePath in taken_paths:
            errors.invalid(f"{here}.devicePath", device.devicePath, "must be unique")
        if names.no_backsteps(device.devicePath):
            errors.invalid(f"{here}.devicePath", device.devicePath, "can not contain backsteps ('..')")
        if device.name in mounts:
            errors.invalid(f"{here}.name", device.name, "must not already exist in volumeMounts")
        if device.devicePath in mounts.values():
            errors.invalid(
                f"{here}.devicePath", device.devicePath, "must not already exist as a path in volumeMounts"
            )
        taken_names.add(device.name)
        taken_paths.add(device.devicePath)
