"""Which certificate a node wants, and when it wants a new one. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from ipaddress import ip_address
from typing import Final

from pykubelet.api.node import NodeAddress

from .certificate_store import Leaf

_NODES: Final = "system:nodes"
#: Shares of its lifetime between which a certificate is replaced.
_EARLIEST: Final = 0.7
_SPREAD: Final = 0.2


@dataclass(frozen=True, slots=True)
class Template:
    """What a certificate is asked for; IP addresses in their canonical form."""

    common_name: str
    organizations: tuple[str, ...] = (_NODES,)
    dns_names: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()


def client_template(node: str) -> Template:
    """The certificate by which the API server knows *node*."""
    return Template(f"system:node:{node}")


def serving_template(
    node: str, addresses: Sequence[NodeAddress], *, dns_only: bool = False
) -> Template | None:
    """The certificate for serving at *addresses*; None before one is an IP (or, *dns_only*, a name)."""
    names: set[str] = set()
    ips: set[str] = set()
    for one in addresses:
        ip = _ip(one.address)
        if one.type in ("InternalDNS", "ExternalDNS") or (one.type == "Hostname" and not ip):
            names.add(one.address)
        elif one.type in ("Hostname", "InternalIP", "ExternalIP") and ip:
            ips.add(ip)
    names.discard("")
    if not ips and not (dns_only and names):
        return None
    return Template(f"system:node:{node}", dns_names=tuple(sorted(names)), addresses=tuple(sorted(ips)))


def _ip(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        return ""


def unsatisfied(leaf: Leaf, template: Template) -> str:
    """What *template* asks for and *leaf* has not, in words; more in *leaf* is no fault."""
    if leaf.common_name != template.common_name:
        return f"the name is {leaf.common_name!r}, not {template.common_name!r}"
    for what, has, wants in (
        ("DNS names", leaf.dns_names, template.dns_names),
        ("IP addresses", leaf.addresses, template.addresses),
        ("organizations", leaf.organizations, template.organizations),
    ):
        missing = sorted(set(wants) - has)
        if missing:
            return f"{what} {', '.join(missing)} are missing"
    return ""


def rotation_deadline(leaf: Leaf, share: float) -> datetime:
    """When to replace the certificate: after 70 to 90 % of its lifetime; *share*, 0 to 1, picks where.

    So nodes that joined together do not all come back at the same time.
    """
    return leaf.not_before + (leaf.not_after - leaf.not_before) * (_EARLIEST + _SPREAD * share)
