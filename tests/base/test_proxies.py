"""Proxies' URLs, and which one the environment names."""

import pytest

from pykubelet.base.proxies import Proxy, parse_proxy, proxy_from_environment


def test_proxy_urls() -> None:
    assert parse_proxy("p:3128") == Proxy("http://p:3128")
    assert parse_proxy("https://u:p%40@p") == Proxy("https://p:443", "u", "p@")
    assert "p@" not in repr(parse_proxy("https://u:p%40@p"))
    with pytest.raises(ValueError, match="socks5"):
        parse_proxy("socks5://p")


@pytest.mark.parametrize(
    ("server", "environ", "through"),
    [
        ("https://api:6443", {}, False),
        ("https://api:6443", {"HTTPS_PROXY": "p:1"}, True),
        ("https://api:6443", {"https_proxy": "p:1"}, True),
        ("https://api:6443", {"HTTP_PROXY": "p:1"}, False),
        ("http://api", {"HTTP_PROXY": "p:1"}, True),
        ("https://localhost", {"HTTPS_PROXY": "p:1"}, False),
        ("https://127.0.0.1:6443", {"HTTPS_PROXY": "p:1"}, False),
        ("https://api", {"HTTPS_PROXY": "p:1", "NO_PROXY": "*"}, False),
        ("https://a.corp", {"HTTPS_PROXY": "p:1", "NO_PROXY": "x, corp"}, False),
        ("https://a.corp", {"HTTPS_PROXY": "p:1", "NO_PROXY": "*.corp"}, False),
        ("https://corp", {"HTTPS_PROXY": "p:1", "NO_PROXY": ".corp"}, True),
        ("https://acorp", {"HTTPS_PROXY": "p:1", "NO_PROXY": "corp"}, True),
        ("https://10.1.2.3", {"HTTPS_PROXY": "p:1", "NO_PROXY": "10.0.0.0/8"}, False),
        ("https://10.1.2.3", {"HTTPS_PROXY": "p:1", "NO_PROXY": "10.1.2.3:443"}, False),
        ("https://10.1.2.3", {"HTTPS_PROXY": "p:1", "NO_PROXY": "10.1.2.3:80"}, True),
        ("https://[fd00::1]:6443", {"HTTPS_PROXY": "p:1", "NO_PROXY": "fd00::/8"}, False),
    ],
)
def test_the_environments_proxy(server: str, environ: dict[str, str], through: bool) -> None:
    assert (proxy_from_environment(server, environ) is not None) is through
