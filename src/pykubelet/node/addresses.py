"""Under which addresses the node is reached: what it tells, and what others told of it. Pure.

Source: upstream's setter ``NodeAddress`` and ``GetNodeHostIPs``.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from pykubelet.api.node import NodeAddress

#: Tells an external cloud provider which IPs the administrator chose.
PROVIDED_NODE_IP: Final = "alpha.kubernetes.io/provided-node-ip"


@dataclass(frozen=True, slots=True)
class AddressFacts:
    """What is known of the node's addresses."""

    hostname: str
    #: What ``--node-ip`` says: empty, one IP, two, or a family (``0.0.0.0``, ``::``).
    node_ip: str = ""
    #: The IPs chosen on this machine, the primary one first; empty when none could be found.
    ips: tuple[str, ...] = ()
    external_cloud: bool = False

    @property
    def specified(self) -> bool:
        """Whether the administrator named the IPs themselves, not only a family."""
        return bool(self.node_ip) and not any(
            ipaddress.ip_address(part.strip()).is_unspecified for part in self.node_ip.split(",")
        )


def addresses(old: Sequence[NodeAddress], facts: AddressFacts) -> list[NodeAddress]:
    """The addresses after *old*: an external cloud's stay, and the last known where none can be found."""
    hostname = NodeAddress(type="Hostname", address=facts.hostname)
    if facts.external_cloud:
        if old:
            return list(old)
        if not facts.node_ip:
            return [hostname]
    if not facts.ips:
        return list(old)
    return [*(NodeAddress(type="InternalIP", address=ip) for ip in facts.ips), hostname]


def annotations(old: Mapping[str, str], facts: AddressFacts) -> dict[str, str]:
    """The Node's annotations after *old*: an external cloud is told which IPs were chosen."""
    kept = {name: value for name, value in old.items() if name != PROVIDED_NODE_IP}
    if facts.external_cloud and facts.specified and facts.ips:
        kept[PROVIDED_NODE_IP] = ",".join(facts.ips)
    return kept


def host_ips(told: Sequence[NodeAddress]) -> tuple[str, ...]:
    """The IPs that pods are told their host has: one, or one of each family; empty when none is known.

    Internal addresses come before external ones.
    """
    found = [
        address.address
        for kind in ("InternalIP", "ExternalIP")
        for address in told
        if address.type == kind and _is_ip(address.address)
    ]
    other = [ip for ip in found if (":" in ip) != (":" in found[0])]
    return (*found[:1], *other[:1])


def _is_ip(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
