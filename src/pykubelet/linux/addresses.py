"""Which IP addresses this machine has, and which of them is the node's.

Observed through ``/proc/net`` and one ioctl; the choice itself is pure.
"""

import contextlib
import fcntl
import ipaddress
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

_SIOCGIFADDR = 0x8915
_RTF_UP = 0x1
_RTF_REJECT = 0x200

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class AddressError(Exception):
    """No address of this machine can be the node's; the message says why."""


@dataclass(frozen=True, slots=True)
class HostNetwork:
    """What the machine's interfaces look like."""

    #: Addresses of all interfaces.
    local: frozenset[Address] = frozenset()
    #: Usable addresses of the interfaces that default routes lead through, best route first.
    default_route: tuple[Address, ...] = ()
    #: What the node's name resolves to, in the resolver's order.
    resolved: tuple[Address, ...] = ()


def choose_node_ips(node_name: str, node_ip: str, network: HostNetwork) -> tuple[Address, ...]:
    """The node's IPs: what ``--node-ip`` asks for, else name, resolver, default route.

    *node_ip* is empty, one IP, ``0.0.0.0`` or ``::`` (a preferred family), or two IPs of
    different families with a comma.

    :raises AddressError: nothing fits.
    """
    wanted = [_parse(text) for text in node_ip.split(",")] if node_ip else []
    specified = tuple(address for address in wanted if not address.is_unspecified)
    if specified:
        if len(wanted) > 2 or len(specified) != len(wanted):
            raise AddressError(f"bad --node-ip {node_ip!r}: give one IP, or two of different families")
        if len(specified) == 2 and specified[0].version == specified[1].version:
            raise AddressError(f"bad --node-ip {node_ip!r}: both are of the same family")
        for address in specified:
            why = _unfit(address, network)
            if why:
                raise AddressError(f'node IP: "{address}" {why}')
        return specified
    with contextlib.suppress(ValueError):
        return (ipaddress.ip_address(node_name),)
    version = wanted[0].version if wanted else 4
    candidates = [address for address in network.resolved if not _unfit(address, network)]
    chosen = _prefer(candidates, version) or _prefer(network.default_route, version)
    if chosen is None:
        raise AddressError(f"can't get ip address of node {node_name}: no default route and no --node-ip")
    return (chosen,)


def _parse(text: str) -> Address:
    try:
        return ipaddress.ip_address(text.strip())
    except ValueError:
        raise AddressError(f"bad --node-ip: {text!r} is not an IP address") from None


def _prefer(addresses: Sequence[Address], version: int) -> Address | None:
    ordered = sorted(addresses, key=lambda address: address.version != version)
    return ordered[0] if ordered else None


def _unfit(address: Address, network: HostNetwork) -> str:
    if address.is_loopback:
        return "can't be loopback address"
    if address.is_multicast:
        return "can't be a multicast address"
    if address.is_link_local:
        return "can't be a link-local unicast address"
    if address.is_unspecified:
        return "can't be an all zeros address"
    if address not in network.local:
        return "not found in the host's network interfaces"
    return ""


def observe_network(node_name: str, root: Path = Path("/")) -> HostNetwork:
    """Look at the interfaces and resolve *node_name*; blocking (the resolver may take seconds)."""
    net = root / "proc/net"
    six = parse_if_inet6(_text(net / "if_inet6"))
    routes: list[Address] = []
    for interface in parse_default_routes(_text(net / "route")):
        address = interface_ipv4(interface)
        if address is not None:
            routes.append(address)
    for interface in parse_default_routes6(_text(net / "ipv6_route")):
        routes += [a for name, a in six if name == interface and not a.is_link_local and not a.is_loopback]
    local = {*parse_local_ipv4(_text(net / "fib_trie")), *(address for _, address in six)}
    return HostNetwork(frozenset(local), tuple(dict.fromkeys(routes)), resolve(node_name))


def parse_default_routes(text: str) -> list[str]:
    """Interfaces of the default routes in ``/proc/net/route``, lowest metric first."""
    found = []
    for line in text.splitlines()[1:]:
        fields = line.split()
        if len(fields) < 8 or fields[1] != "00000000" or fields[7] != "00000000":
            continue
        flags = int(fields[3], 16)
        if flags & _RTF_UP and not flags & _RTF_REJECT:
            found.append((int(fields[6]), fields[0]))
    return [interface for _, interface in sorted(found, key=lambda entry: entry[0])]


def parse_default_routes6(text: str) -> list[str]:
    """Interfaces of the default routes in ``/proc/net/ipv6_route``, lowest metric first."""
    found = []
    for line in text.splitlines():
        fields = line.split()
        if len(fields) < 10 or fields[0] != "0" * 32 or fields[1] != "00":
            continue
        flags = int(fields[8], 16)
        if flags & _RTF_UP and not flags & _RTF_REJECT and fields[9] != "lo":
            found.append((int(fields[5], 16), fields[9]))
    return [interface for _, interface in sorted(found, key=lambda entry: entry[0])]


def parse_local_ipv4(text: str) -> set[Address]:
    """Addresses of this machine in ``/proc/net/fib_trie``."""
    found: set[Address] = set()
    last = ""
    for line in text.splitlines():
        words = line.split()
        if words[:1] == ["|--"] and len(words) == 2:
            last = words[1]
        elif words[:3] == ["/32", "host", "LOCAL"] and last:
            found.add(ipaddress.IPv4Address(last))
    return found


def parse_if_inet6(text: str) -> list[tuple[str, ipaddress.IPv6Address]]:
    """(interface, address) of each line of ``/proc/net/if_inet6``."""
    rows = (line.split() for line in text.splitlines())
    return [(row[5], ipaddress.IPv6Address(int(row[0], 16))) for row in rows if len(row) == 6]


def interface_ipv4(interface: str) -> ipaddress.IPv4Address | None:
    """The first IPv4 address of an interface, None without one."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as query, contextlib.suppress(OSError):
        answer = fcntl.ioctl(query, _SIOCGIFADDR, struct.pack("256s", interface.encode()[:15]))
        return ipaddress.IPv4Address(answer[20:24])
    return None


def resolve(name: str) -> tuple[Address, ...]:
    """What *name* resolves to; empty when it does not. Blocking."""
    try:
        answers = socket.getaddrinfo(name, None, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError):
        return ()
    found = []
    for *_, where in answers:
        with contextlib.suppress(ValueError):
            found.append(ipaddress.ip_address(str(where[0]).partition("%")[0]))
    return tuple(dict.fromkeys(found))


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
