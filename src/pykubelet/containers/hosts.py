"""The text of the ``/etc/hosts`` that a pod's containers see."""

from collections.abc import Sequence

from pykubelet.api.core import HostAlias

CONTAINER_PATH = "/etc/hosts"

_MANAGED = (
    "# Kubernetes-managed hosts file.\n"
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::0\tip6-localnet\n"
    "fe00::0\tip6-mcastprefix\n"
    "fe00::1\tip6-allnodes\n"
    "fe00::2\tip6-allrouters\n"
)
_HOST_NETWORK = b"# Kubernetes-managed hosts file (host network).\n"


def _aliases(aliases: Sequence[HostAlias]) -> str:
    if not aliases:
        return ""
    lines = ["\n# Entries added by HostAliases.\n"]
    lines += ["\t".join((alias.ip, *alias.hostnames)) + "\n" for alias in aliases]
    return "".join(lines)


def pod_hosts(ips: Sequence[str], hostname: str, domain: str, aliases: Sequence[HostAlias]) -> bytes:
    """Content for a pod with a network of its own."""
    names = f"{hostname}.{domain}\t{hostname}" if domain else hostname
    own = "".join(f"{ip}\t{names}\n" for ip in ips)
    return (_MANAGED + own + _aliases(aliases)).encode()


def host_network_hosts(node_hosts: bytes, aliases: Sequence[HostAlias]) -> bytes:
    """Content for a pod on the host's network: the node's own file and the aliases."""
    return _HOST_NETWORK + node_hosts + _aliases(aliases).encode()
