"""A pod's IPs as they are told: the runtime's own, in the order of the node's families."""

import ipaddress
from collections.abc import Iterable


def one_per_family(texts: Iterable[str], *, ipv6_first: bool) -> list[str]:
    """The first IP of each family in its canonical form, the node's primary family first.

    What is no IP is left out.
    """
    found: dict[int, str] = {}
    for text in texts:
        try:
            address = ipaddress.ip_address(text)
        except ValueError:
            continue
        found.setdefault(address.version, str(address))
    return [found[version] for version in ((6, 4) if ipv6_first else (4, 6)) if version in found]
