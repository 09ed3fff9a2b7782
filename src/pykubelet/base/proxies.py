"""Which proxy a request goes through: the kubeconfig's, or the environment's as Go's HTTP client reads it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import ip_address, ip_network
from urllib.parse import unquote, urlsplit

_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy; its repr tells no password."""

    #: Without user and password.
    url: str
    username: str = ""
    password: str = field(default="", repr=False)


def parse_proxy(text: str) -> Proxy:
    """The proxy of a URL; one without a scheme is HTTP's.

    :raises ValueError: no URL, or a kind of proxy that is not supported; the text is not repeated.
    """
    parts = urlsplit(text if "://" in text else f"http://{text}")
    if parts.scheme not in _DEFAULT_PORTS:
        raise ValueError(f'proxies of the kind "{parts.scheme}" are not supported, only http and https')
    if not parts.hostname:
        raise ValueError("a proxy's URL without a host")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    port = parts.port or _DEFAULT_PORTS[parts.scheme]
    return Proxy(
        f"{parts.scheme}://{host}:{port}", unquote(parts.username or ""), unquote(parts.password or "")
    )


def proxy_from_environment(server: str, environ: Mapping[str, str]) -> Proxy | None:
    """The proxy for requests to the URL *server*.

    :raises ValueError: what the environment names is no proxy.
    """
    parts = urlsplit(server)
    name = "HTTPS_PROXY" if parts.scheme == "https" else "HTTP_PROXY"
    text = environ.get(name) or environ.get(name.lower()) or ""
    host = (parts.hostname or "").rstrip(".")
    port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 443)
    excluded = environ.get("NO_PROXY") or environ.get("no_proxy") or ""
    if not text or _local(host) or _excluded(host, port, excluded):
        return None
    try:
        return parse_proxy(text)
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from error


def _local(host: str) -> bool:
    """Go never uses a proxy for the machine itself."""
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _excluded(host: str, port: int, no_proxy: str) -> bool:
    return any(_matches(host, port, entry.strip().lower()) for entry in no_proxy.split(",") if entry.strip())


def _matches(host: str, port: int, entry: str) -> bool:
    if entry == "*":
        return True
    try:
        # A range or an address, which no port follows.
        return ip_address(host) in ip_network(entry, strict=False)
    except ValueError:
        pass
    name, colon, number = entry.rpartition(":")
    if colon and number.isdigit():
        if int(number) != port:
            return False
        entry = name.strip("[]")
    if entry.startswith("*."):
        entry = entry[1:]
    host = host.lower()
    if entry.startswith("."):
        return host.endswith(entry)
    return host == entry or host.endswith(f".{entry}")
