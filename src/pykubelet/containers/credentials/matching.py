"""Which registry entries match which images: globs per label of the host, ports, path prefixes. Pure.

Entries and images are URLs without a scheme; they are taken apart as Go's ``net/url`` does.
(pkg/credentialprovider.)
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import unquote

_HOST = re.compile(r"""[\w\-.~!$&'()*+,;=:\[\]<>"%]*""", re.ASCII)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
#: What may stand in brackets: characters and ranges of them.
_ITEM = re.compile(r"[^\]\-](?:-[^\]\-])?")
_CLASS = re.compile(rf"\[((?:{_ITEM.pattern})+)\]")


@dataclass(frozen=True, slots=True)
class Location:
    """A registry's place: *host* with its port, and *path*, empty or with a leading slash."""

    host: str
    path: str

    def labels(self) -> tuple[list[str], str]:
        """The labels of the host's name, and the port (empty for none)."""
        name, port = _split_port(self.host)
        return name.split("."), port


def parse_location(text: str) -> Location:
    """Take a URL without scheme apart.

    :raises ValueError: it is none.
    """
    if _CONTROL.search(text):
        raise ValueError("invalid control character in URL")
    rest = text.partition("#")[0].partition("?")[0]
    authority, slash, path = rest.partition("/")
    host = authority.rpartition("@")[2]
    if _HOST.fullmatch(host) is None:
        raise ValueError("invalid character in host name")
    if host.startswith("["):
        _, bracket, after = host.rpartition("]")
        if not bracket:
            raise ValueError("missing ']' in host")
        port = after
    else:
        port = host[host.rindex(":") :] if ":" in host else ""
    if port and not (port[0] == ":" and (port == ":" or port[1:].isdecimal())):
        raise ValueError(f'invalid port "{port}" after host')
    for part in (host, path):
        if _BAD_ESCAPE.search(part):
            raise ValueError("invalid URL escape")
    return Location(host, unquote(slash + path))


def _split_port(host: str) -> tuple[str, str]:
    if host.startswith("["):
        name, bracket, port = host[1:].rpartition("]")
        return (name, port[1:]) if bracket and port.startswith(":") else (host, "")
    name, colon, port = host.rpartition(":")
    return (name, port) if colon and ":" not in name else (host, "")


@lru_cache(maxsize=1024)
def _glob(pattern: str) -> re.Pattern[str] | None:
    """The pattern as Go's ``filepath.Match`` understands it; None when it is malformed.

    Of its special characters a host's label can only have ``*`` and ``[``.
    """
    # The pieces between stars: each stays where it first fits. Tried everywhere, a few stars in a
    # pull secret would hold up the whole daemon.
    pieces, at = [""], 0
    while at < len(pattern):
        if pattern[at] == "*":
            pieces.append("")
        elif pattern[at] == "[":
            found = _CLASS.match(pattern, at)
            if found is None:
                return None
            pieces[-1] += "[" + "".join(map(_item, _ITEM.findall(found[1]))) + "]"
            at = found.end() - 1
        else:
            pieces[-1] += re.escape(pattern[at])
        at += 1
    first, *middle = pieces
    last = f".*{middle.pop()}" if middle else ""
    try:
        return re.compile(first + "".join(f"(?>.*?{piece})" for piece in middle if piece) + last, re.DOTALL)
    except re.error:
        # A range whose end comes before its beginning.
        return None


def _item(item: str) -> str:
    return "-".join(map(re.escape, item.split("-")))


def matches(entry: Location, image: Location) -> bool:
    """Whether the *entry* is for that *image*: same number of labels, each matching, port, path prefix."""
    wanted, wanted_port = entry.labels()
    labels, port = image.labels()
    if wanted_port != port or len(wanted) != len(labels) or not image.path.startswith(entry.path):
        return False
    for pattern, label in zip(wanted, labels, strict=True):
        compiled = _glob(pattern)
        if compiled is None or compiled.fullmatch(label) is None:
            return False
    return True


def texts_match(entry: str, image: str) -> bool:
    """As :func:`matches`, of texts; what is no URL matches nothing."""
    try:
        return matches(parse_location(entry), parse_location(image))
    except ValueError:
        return False
