"""What a request asks for in terms of authorization. Pure."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from .doors import Attributes, User

#: Verb of the API for each method; others have none.
_VERBS: Final[Mapping[str, str]] = MappingProxyType(
    {"POST": "create", "GET": "get", "PUT": "update", "PATCH": "patch", "DELETE": "delete"}
)

#: Path → subresources in the order in which they are tried; any one that is allowed suffices.
_SUBRESOURCES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "/pods": ("pods", "proxy"),
        "/runningpods": ("pods", "proxy"),
        "/healthz": ("healthz", "proxy"),
        "/configz": ("configz", "proxy"),
        "/stats": ("stats",),
        "/metrics": ("metrics",),
        "/logs": ("log",),
        "/checkpoint": ("checkpoint",),
        "/statusz": ("statusz",),
        "/flagz": ("configz",),
    }
)

#: Paths below which pods are made: nobody without a name gets there, whoever decides about others,
#: and every method needs what making a pod needs.
_PUSHED: Final = "/manifests"


def _root(path: str) -> str:
    return "/" + path.lstrip("/").partition("/")[0]


def needs_name(path: str) -> bool:
    """Whether *path* is never for anonymous callers, whatever the authorization mode."""
    return _root(path) == _PUSHED


def subresources(path: str) -> tuple[str, ...]:
    """The node's subresources of which one must be allowed for *path*."""
    if not path.startswith("/") or path.startswith("//"):
        return ("proxy",)
    return _SUBRESOURCES.get(_root(path), ("proxy",))


def attributes(user: User, method: str, path: str, node: str) -> Sequence[Attributes]:
    """All alternatives for one request; they differ in their subresource alone."""
    verb = "create" if needs_name(path) else _VERBS.get(method, "")
    return [Attributes(user, verb, node, subresource, path) for subresource in subresources(path)]


def forbidden(asked: Sequence[Attributes]) -> str:
    """The answer's text when none of *asked* is allowed."""
    first = asked[0]
    tried = " ".join(one.subresource for one in asked)
    return (
        f"Forbidden (user={first.user.name}, verb={first.verb}, resource={first.resource}, "
        f"subresource(s)=[{tried}])\n"
    )
