import pytest

from pykubelet.server.attributes import attributes, forbidden, subresources
from pykubelet.server.doors import User


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/pods", ("pods", "proxy")),
        ("/pods/", ("pods", "proxy")),
        ("/podsecrets", ("proxy",)),
        ("/runningpods/", ("pods", "proxy")),
        ("/healthz", ("healthz", "proxy")),
        ("/healthz/ping", ("healthz", "proxy")),
        ("/configz", ("configz", "proxy")),
        ("/stats/summary", ("stats",)),
        ("/metrics", ("metrics",)),
        ("/metrics/cadvisor", ("metrics",)),
        ("/logs/", ("log",)),
        ("/checkpoint/a/b/c", ("checkpoint",)),
        ("/statusz", ("statusz",)),
        ("/flagz", ("configz",)),
        ("/exec/a/b/c", ("proxy",)),
        ("/run/a/b/c", ("proxy",)),
        ("/attach/a/b/c", ("proxy",)),
        ("/portForward/a/b", ("proxy",)),
        ("/containerLogs/a/b/c", ("proxy",)),
        ("/debug/pprof/heap", ("proxy",)),
        ("/", ("proxy",)),
        ("//pods", ("proxy",)),
    ],
)
def test_subresources_of_a_path(path: str, expected: tuple[str, ...]) -> None:
    assert subresources(path) == expected


@pytest.mark.parametrize(
    ("method", "verb"),
    [
        ("GET", "get"),
        ("POST", "create"),
        ("PUT", "update"),
        ("PATCH", "patch"),
        ("DELETE", "delete"),
        ("HEAD", ""),
    ],
)
def test_verb_of_a_method(method: str, verb: str) -> None:
    (one,) = attributes(User("u"), method, "/exec/a/b/c", "n")
    assert (one.verb, one.resource, one.node, one.api_version, one.api_group) == (
        verb,
        "nodes",
        "n",
        "v1",
        "",
    )


def test_the_refusal_names_everything_that_was_tried() -> None:
    asked = attributes(User("system:anonymous"), "GET", "/pods", "n")
    assert forbidden(asked) == (
        "Forbidden (user=system:anonymous, verb=get, resource=nodes, subresource(s)=[pods proxy])\n"
    )
