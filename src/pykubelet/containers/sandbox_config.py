"""What the runtime is told of a pod's sandbox (CRI PodSandboxConfig)."""

import ipaddress
from collections.abc import Mapping

from pykubelet.api.core import Container, Pod
from pykubelet.api.resources import pod_limits, pod_requests
from pykubelet.base.layout import Layout
from pykubelet.rpc import cri_v1

from .bandwidth import check_bandwidth
from .dns import Resolver
from .hostname import kernel_hostname
from .linux_resources import basic_resources
from .security import SecurityFacts, sandbox_security
from .settings import ContainerSettings

POD_NAME = "io.kubernetes.pod.name"
POD_NAMESPACE = "io.kubernetes.pod.namespace"
POD_UID = "io.kubernetes.pod.uid"

_PROTOCOLS = {"TCP": cri_v1.TCP, "UDP": cri_v1.UDP, "SCTP": cri_v1.SCTP, "": cri_v1.TCP}
_SWAP_SEPARATORS = str.maketrans("./", "/.")


def normalize_sysctl(name: str) -> str:
    """A sysctl's name with dots between its parts (sysctl.d(5)): ``net/ipv4/x`` → ``net.ipv4.x``."""
    first = next((char for char in name if char in "./"), ".")
    return name if first == "." else name.translate(_SWAP_SEPARATORS)


def _family(host_ip: str) -> str:
    if not host_ip:
        return "any"
    try:
        return f"v{ipaddress.ip_address(host_ip).version}"
    except ValueError:
        return "v4"


def port_mappings(container: Container) -> list[cri_v1.PortMapping]:
    """The container's ports, each once."""
    ports: dict[str, cri_v1.PortMapping] = {}
    for port in container.ports:
        key = port.name or (
            f"{_family(port.hostIP)}-{port.protocol}-{port.hostIP}:{port.containerPort}:{port.hostPort}"
        )
        mapping = cri_v1.PortMapping(
            protocol=_PROTOCOLS.get(port.protocol, cri_v1.TCP),
            container_port=port.containerPort,
            host_port=port.hostPort,
            host_ip=port.hostIP,
        )
        ports.setdefault(key, mapping)
    return list(ports.values())


def pod_labels(pod: Pod) -> Mapping[str, str]:
    """The pod's own labels and those by which its sandbox is found again."""
    meta = pod.metadata
    own = {POD_NAME: meta.name, POD_NAMESPACE: meta.namespace, POD_UID: meta.uid}
    return {**meta.labels, **own}


def overhead_resources(pod: Pod, settings: ContainerSettings) -> cri_v1.LinuxContainerResources:
    """What a pod takes beyond its containers."""
    overhead = pod.spec.overhead
    if not overhead:
        return cri_v1.LinuxContainerResources()
    cpu = overhead.get("cpu")
    return basic_resources(settings, cpu, cpu, overhead.get("memory"))


def _total(pod: Pod, settings: ContainerSettings, *, exclusive: bool) -> cri_v1.LinuxContainerResources:
    requests = pod_requests(pod, overhead=False)
    limits = pod_limits(pod, overhead=False)
    return basic_resources(
        settings, requests.get("cpu"), limits.get("cpu"), limits.get("memory"), exclusive_cpus=exclusive
    )


def sandbox_config(
    pod: Pod,
    attempt: int,
    *,
    resolver: Resolver,
    cgroup_parent: str,
    security: SecurityFacts,
    settings: ContainerSettings,
    layout: Layout,
    exclusive_cpus: bool = False,
) -> cri_v1.PodSandboxConfig:
    """The configuration of the pod's sandbox number *attempt*.

    :raises ValueError: the spec asks for what cannot be given; the text is for the event.
    """
    meta = pod.metadata
    if not pod.spec.hostNetwork:
        check_bandwidth(meta.annotations)
    shared = pod.spec.securityContext
    sysctls = shared.sysctls if shared is not None else []
    return cri_v1.PodSandboxConfig(
        metadata=cri_v1.PodSandboxMetadata(
            name=meta.name, namespace=meta.namespace, uid=meta.uid, attempt=attempt
        ),
        hostname=""
        if pod.spec.hostNetwork
        else kernel_hostname(pod, settings.cluster_domain, override=settings.hostname_override),
        log_directory=str(layout.pod_log_dir(meta.namespace, meta.name, meta.uid)),
        dns_config=cri_v1.DNSConfig(
            servers=resolver.servers, searches=resolver.searches, options=resolver.options
        ),
        port_mappings=[m for container in pod.spec.containers for m in port_mappings(container)],
        labels=pod_labels(pod),
        annotations=meta.annotations,
        linux=cri_v1.LinuxPodSandboxConfig(
            cgroup_parent=cgroup_parent,
            sysctls={normalize_sysctl(s.name): s.value for s in sysctls},
            security_context=sandbox_security(pod, security),
            resources=_total(pod, settings, exclusive=exclusive_cpus),
            overhead=overhead_resources(pod, settings),
        ),
    )
