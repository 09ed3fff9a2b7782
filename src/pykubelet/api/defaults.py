"""The values that an API server fills into a pod before anybody sees it.

All functions return new structs; what is already given stays.
"""

import re
from typing import Any, Final, TypeVar

from msgspec.structs import replace

from .cloud_volumes import AzureDiskVolumeSource
from .core import (
    Container,
    ContainerPort,
    EnvVar,
    HTTPGetAction,
    Lifecycle,
    LifecycleHandler,
    Pod,
    PodSecurityContext,
    PodSpec,
    Probe,
    ResourceList,
    ResourceRequirements,
)
from .quantity import Quantity
from .resources import containers_total, pod_level
from .volumes import (
    DownwardAPIVolumeFile,
    EmptyDirVolumeSource,
    ObjectFieldSelector,
    Volume,
    VolumeProjection,
)
from .wellknown import CPU, HUGEPAGES_PREFIX, MEMORY

GRACE_PERIOD_SECONDS: Final = 30
TERMINATION_MESSAGE_PATH: Final = "/dev/termination-log"
FILE_MODE: Final = 0o644
TOKEN_EXPIRATION_SECONDS: Final = 3600

_TAG = re.compile(r":(\w[\w.-]{0,127})$", re.ASCII)
C = TypeVar("C", bound=Container)

_KINDS: Final = tuple(name for name in Volume.__struct_fields__ if name != "name")


def set_pod_defaults(pod: Pod) -> Pod:
    """The pod as the API server would store it."""
    return replace(pod, spec=_spec(pod))


def pull_policy(image: str) -> str:
    """Always for the tag ``latest`` or none at all, IfNotPresent for another tag or a digest."""
    name, _, digest = image.partition("@")
    tag = _TAG.search(name)
    if tag is None:
        return "IfNotPresent" if digest else "Always"
    return "Always" if tag[1] == "latest" else "IfNotPresent"


def _spec(pod: Pod) -> PodSpec:
    spec = pod.spec
    grace = spec.terminationGracePeriodSeconds
    spec = replace(
        spec,
        volumes=[_volume(volume) for volume in spec.volumes],
        initContainers=[_requested(_container(c), host=spec.hostNetwork) for c in spec.initContainers],
        containers=[_requested(_container(c), host=spec.hostNetwork) for c in spec.containers],
        ephemeralContainers=[_container(c) for c in spec.ephemeralContainers],
        dnsPolicy=spec.dnsPolicy or "ClusterFirst",
        restartPolicy=spec.restartPolicy or "Always",
        securityContext=spec.securityContext or PodSecurityContext(),
        terminationGracePeriodSeconds=GRACE_PERIOD_SECONDS if grace is None else grace,
        schedulerName=spec.schedulerName or "default-scheduler",
        enableServiceLinks=True if spec.enableServiceLinks is None else spec.enableServiceLinks,
        overhead=_rounded(spec.overhead),
        # The old name of the field is the same field.
        serviceAccountName=spec.serviceAccountName or spec.serviceAccount,
        serviceAccount=spec.serviceAccountName or spec.serviceAccount,
    )
    if spec.resources is None:
        return spec
    return replace(spec, resources=_pod_resources(replace(pod, spec=spec), spec.resources))


def _rounded(resources: ResourceList) -> ResourceList:
    """Amounts rounded up to thousandths."""
    return {
        name: amount
        if amount.nano_value() % 10**6 == 0
        else Quantity.of_milli(amount.milli_value(), amount.format)
        for name, amount in resources.items()
    }


def _pod_resources(pod: Pod, stated: ResourceRequirements) -> ResourceRequirements:
    """Pod-level resources: huge page limits and requests come from the containers, then from limits."""
    limits, requests = _rounded(stated.limits), _rounded(stated.requests)
    if limits or requests:
        for name, amount in containers_total(pod, "limits").items():
            if name.startswith(HUGEPAGES_PREFIX) and name not in requests:
                limits.setdefault(name, amount)
    if limits:
        for name, amount in containers_total(pod, "requests").items():
            if name in (CPU, MEMORY):
                requests.setdefault(name, amount)
        for name, amount in limits.items():
            if pod_level(name):
                requests.setdefault(name, amount)
    return replace(stated, limits=limits, requests=requests)


# --- containers ---------------------------------------------------------------


def _container(container: C) -> C:
    return replace(
        container,
        imagePullPolicy=container.imagePullPolicy or pull_policy(container.image),
        terminationMessagePath=container.terminationMessagePath or TERMINATION_MESSAGE_PATH,
        terminationMessagePolicy=container.terminationMessagePolicy or "File",
        ports=[replace(port, protocol=port.protocol or "TCP") for port in container.ports],
        env=[_env(var) for var in container.env],
        resources=replace(
            container.resources,
            limits=_rounded(container.resources.limits),
            requests=_rounded(container.resources.requests),
        ),
        livenessProbe=_probe(container.livenessProbe),
        readinessProbe=_probe(container.readinessProbe),
        startupProbe=_probe(container.startupProbe),
        lifecycle=_lifecycle(container.lifecycle),
    )


def _requested(container: Container, *, host: bool) -> Container:
    """Requests default to limits; on the host's network every port is a host port."""
    resources = container.resources
    ports: list[ContainerPort] = container.ports
    if host:
        ports = [replace(port, hostPort=port.hostPort or port.containerPort) for port in ports]
    return replace(
        container,
        ports=ports,
        resources=replace(resources, requests=resources.limits | resources.requests),
    )


def _field_ref(ref: ObjectFieldSelector | None) -> ObjectFieldSelector | None:
    return ref if ref is None else replace(ref, apiVersion=ref.apiVersion or "v1")


def _env(var: EnvVar) -> EnvVar:
    source = var.valueFrom
    if source is None:
        return var
    file = source.fileKeyRef
    if file is not None and file.optional is None:
        file = replace(file, optional=False)
    return replace(var, valueFrom=replace(source, fieldRef=_field_ref(source.fieldRef), fileKeyRef=file))


def _http_get(action: HTTPGetAction | None) -> HTTPGetAction | None:
    if action is None:
        return None
    return replace(action, path=action.path or "/", scheme=action.scheme or "HTTP")


def _probe(probe: Probe | None) -> Probe | None:
    if probe is None:
        return None
    grpc = probe.grpc
    if grpc is not None and grpc.service is None:
        grpc = replace(grpc, service="")
    return replace(
        probe,
        httpGet=_http_get(probe.httpGet),
        grpc=grpc,
        timeoutSeconds=probe.timeoutSeconds or 1,
        periodSeconds=probe.periodSeconds or 10,
        successThreshold=probe.successThreshold or 1,
        failureThreshold=probe.failureThreshold or 3,
    )


def _handler(handler: LifecycleHandler | None) -> LifecycleHandler | None:
    return handler if handler is None else replace(handler, httpGet=_http_get(handler.httpGet))


def _lifecycle(lifecycle: Lifecycle | None) -> Lifecycle | None:
    if lifecycle is None:
        return None
    return replace(lifecycle, postStart=_handler(lifecycle.postStart), preStop=_handler(lifecycle.preStop))


# --- volumes ------------------------------------------------------------------


def _mode(source: Any) -> Any:
    """A source whose files get the usual mode unless it names another."""
    if source is None or source.defaultMode is not None:
        return source
    return replace(source, defaultMode=FILE_MODE)


def _files(files: list[DownwardAPIVolumeFile]) -> list[DownwardAPIVolumeFile]:
    return [replace(file, fieldRef=_field_ref(file.fieldRef)) for file in files]


def _projection(source: VolumeProjection) -> VolumeProjection:
    downward, token = source.downwardAPI, source.serviceAccountToken
    if downward is not None:
        downward = replace(downward, items=_files(downward.items))
    if token is not None and token.expirationSeconds is None:
        token = replace(token, expirationSeconds=TOKEN_EXPIRATION_SECONDS)
    return replace(source, downwardAPI=downward, serviceAccountToken=token)


def _azure_disk(disk: AzureDiskVolumeSource | None) -> AzureDiskVolumeSource | None:
    if disk is None:
        return None
    return replace(
        disk,
        cachingMode="ReadWrite" if disk.cachingMode is None else disk.cachingMode,
        fsType="ext4" if disk.fsType is None else disk.fsType,
        readOnly=bool(disk.readOnly),
        kind="Shared" if disk.kind is None else disk.kind,
    )


def _volume(volume: Volume) -> Volume:
    if all(getattr(volume, kind) is None for kind in _KINDS):
        return replace(volume, emptyDir=EmptyDirVolumeSource())
    host, image = volume.hostPath, volume.image
    downward, projected = _mode(volume.downwardAPI), _mode(volume.projected)
    if host is not None and host.type is None:
        host = replace(host, type="")
    if image is not None and not image.pullPolicy:
        image = replace(image, pullPolicy=pull_policy(image.reference))
    if downward is not None:
        downward = replace(downward, items=_files(downward.items))
    if projected is not None:
        projected = replace(projected, sources=[_projection(source) for source in projected.sources])
    return replace(
        volume,
        hostPath=host,
        image=image,
        azureDisk=_azure_disk(volume.azureDisk),
        secret=_mode(volume.secret),
        configMap=_mode(volume.configMap),
        downwardAPI=downward,
        projected=projected,
    )
