"""What HTTP probes and hooks ask for."""

import pytest

from pykubelet.api.core import Container, ContainerPort, HTTPGetAction, HTTPHeader
from pykubelet.api.http_action import action_headers, action_url, join_host_port, resolve_port

WEB = Container(name="web", ports=[ContainerPort(name="http", containerPort=8080)])


@pytest.mark.parametrize(
    ("action", "ip", "url"),
    [
        (HTTPGetAction(port=90), "10.0.0.1", "http://10.0.0.1:90/"),
        (HTTPGetAction(path="/a?b=c", port=90), "10.0.0.1", "http://10.0.0.1:90/a?b=c"),
        (HTTPGetAction(port="http", scheme="HTTPS", path="/a/b"), "10.0.0.1", "https://10.0.0.1:8080/a/b"),
        (HTTPGetAction(port="81", path="x"), "fd00::1", "http://[fd00::1]:81/x"),
        (HTTPGetAction(port=90, host="h.example", path="/q"), "10.0.0.1", "http://h.example:90/q"),
        (HTTPGetAction(port=90, host="fd00::2", path=""), "10.0.0.1", "http://[fd00::2]:90/"),
        (HTTPGetAction(port=90, path="/a b%20c%zz"), "10.0.0.1", "http://10.0.0.1:90/a%20b%20c%25zz"),
        # Neither a host nor a scheme in the path leads elsewhere.
        (HTTPGetAction(port=90, path="//evil.example/p"), "10.0.0.1", "http://10.0.0.1:90/p"),
        (HTTPGetAction(port=90, path="https://evil.example:1/p?q"), "10.0.0.1", "http://10.0.0.1:90/p?q"),
        (HTTPGetAction(port=90, path="/p?to=http://x/y"), "10.0.0.1", "http://10.0.0.1:90/p?to=http://x/y"),
        (HTTPGetAction(port=90, path="@evil.example/"), "10.0.0.1", "http://10.0.0.1:90/@evil.example/"),
    ],
)
def test_the_url(action, ip, url) -> None:
    assert str(action_url(action, WEB, ip)) == url


@pytest.mark.parametrize(
    ("port", "text"),
    [
        (0, "invalid port number: 0"),
        (70_000, "invalid port number: 70000"),
        (-1, "invalid port number: -1"),
        ("0", "invalid port number: 0"),
        ("gone", 'strconv.Atoi: parsing "gone": invalid syntax'),
    ],
)
def test_a_port_that_is_none(port, text) -> None:
    with pytest.raises(ValueError, match=text):
        resolve_port(port, WEB)


def test_headers_keep_their_first_say() -> None:
    action = HTTPGetAction(httpHeaders=[HTTPHeader(name="USER-agent", value="")])
    headers, skip = action_headers(action, "agent")
    assert list(headers.items()) == [("Accept", "*/*")]
    assert skip == {"User-Agent", "Accept-Encoding"}
    action = HTTPGetAction(
        httpHeaders=[HTTPHeader(name="accept", value=""), HTTPHeader(name="x-A", value="1")]
    )
    assert dict(action_headers(action, "agent")[0]) == {"X-A": "1", "User-Agent": "agent"}


def test_addresses_are_joined_with_brackets_where_needed() -> None:
    assert join_host_port("10.0.0.1", 80) == "10.0.0.1:80"
    assert join_host_port("fd00::1", 80) == "[fd00::1]:80"
