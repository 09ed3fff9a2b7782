"""A pod's IPs, one a family."""

import pytest

from pykubelet.api.ips import one_per_family


@pytest.mark.parametrize(
    ("texts", "ipv6_first", "wanted"),
    [
        ([], False, []),
        (["10.0.0.1"], True, ["10.0.0.1"]),
        (["FD00:0::1", "10.0.0.1"], False, ["10.0.0.1", "fd00::1"]),
        (["10.0.0.1", "fd00::1"], True, ["fd00::1", "10.0.0.1"]),
        (["10.0.0.1", "10.0.0.2", "none", "fd00::1", "fd00::2"], False, ["10.0.0.1", "fd00::1"]),
    ],
)
def test_one_per_family(texts, ipv6_first, wanted):
    assert one_per_family(texts, ipv6_first=ipv6_first) == wanted
