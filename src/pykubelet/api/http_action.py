"""What an ``httpGet`` of a probe or hook (core/v1 HTTPGetAction) asks for: port, URL, headers. Pure."""

import re
from urllib.parse import quote

from multidict import CIMultiDict
from yarl import URL

from pykubelet.base.gotext import go_quote

from .core import Container, HTTPGetAction

_SAFE = "/?&=%:@!$'()*+,;~#[]"
#: What a path may wrongly bring along: it counts no more than it does with Go's ``url.Parse``.
_SCHEME_AND_HOST = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*:)?//[^/?#]*")
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def resolve_port(port: int | str, container: Container) -> int:
    """A port's number; a name is looked up among the container's ports.

    :raises ValueError: there is no such port, or it is out of range; in upstream's words.
    """
    if isinstance(port, str):
        named = next((p.containerPort for p in container.ports if p.name == port), None)
        if named is None:
            if not port.isdecimal():
                raise ValueError(f"strconv.Atoi: parsing {go_quote(port)}: invalid syntax")
            named = int(port)
        port = named
    if not 0 < port < 65536:
        raise ValueError(f"invalid port number: {port}")
    return port


def join_host_port(host: str, port: int) -> str:
    """``host:port``, an IPv6 address in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def action_url(action: HTTPGetAction, container: Container, ip: str) -> URL:
    """Where the request goes: the action's own host, or *ip*.

    :raises ValueError: its port is not to be found, or it makes no URL.
    """
    where = join_host_port(action.host or ip, resolve_port(action.port, container))
    path = quote(_BAD_PERCENT.sub("%25", action.path), safe=_SAFE)
    if found := _SCHEME_AND_HOST.match(path):
        path = path[found.end() :]
    slash = "" if path.startswith("/") else "/"
    return URL(f"{action.scheme.lower() or 'http'}://{where}{slash}{path}", encoded=True)


def action_headers(action: HTTPGetAction, agent: str) -> tuple[CIMultiDict[str], frozenset[str]]:
    """Headers to send, and those that must not be added; an empty Accept or User-Agent removes it."""
    headers: CIMultiDict[str] = CIMultiDict()
    for header in action.httpHeaders:
        headers.add("-".join(part.capitalize() for part in header.name.split("-")), header.value)
    skip = {"Accept-Encoding"}
    for name, default in (("User-Agent", agent), ("Accept", "*/*")):
        if headers.setdefault(name, default) == "":
            del headers[name]
            skip.add(name)
    return headers, frozenset(skip)
