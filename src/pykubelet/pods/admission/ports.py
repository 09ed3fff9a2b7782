"""Whether the host ports that a pod wants are free beside those of the other pods. Pure."""

from collections.abc import Iterable, Iterator, Sequence

from pykubelet.api.core import Pod
from pykubelet.api.podinfo import is_sidecar

_ALL = "0.0.0.0"

#: Host IP, protocol, port.
HostPort = tuple[str, str, int]


def host_ports(pod: Pod) -> Iterator[HostPort]:
    """The host ports of the containers that run for long: regular ones and sidecars."""
    sidecars = [container for container in pod.spec.initContainers if is_sidecar(container)]
    for container in (*pod.spec.containers, *sidecars):
        for port in container.ports:
            if port.hostPort > 0:
                yield port.hostIP or _ALL, port.protocol or "TCP", port.hostPort


def conflicting(wanted: Iterable[HostPort], used: set[HostPort]) -> HostPort | None:
    """The first of *wanted* that is taken; 0.0.0.0 stands for every address."""
    addresses: dict[tuple[str, int], set[str]] = {}
    for ip, protocol, port in used:
        addresses.setdefault((protocol, port), set()).add(ip)
    for ip, protocol, port in wanted:
        taken = addresses.get((protocol, port), set())
        if taken and (ip == _ALL or _ALL in taken or ip in taken):
            return ip, protocol, port
    return None


def ports_free(pod: Pod, others: Sequence[Pod]) -> bool:
    """Whether all host ports of *pod* are free beside *others*."""
    wanted = list(host_ports(pod))
    return not wanted or conflicting(wanted, {port for other in others for port in host_ports(other)}) is None
