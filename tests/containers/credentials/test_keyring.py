"""Which credentials are tried for an image, and in which order."""

import pytest

from pykubelet.containers.credentials.docker_config import Login
from pykubelet.containers.credentials.keyring import Credential, Keyring, Source, registry_key


@pytest.mark.parametrize(
    ("entry", "key"),
    [
        ("registry.io", "registry.io"),
        ("https://registry.io/", "registry.io"),
        ("http://registry.io/v1/", "registry.io"),
        ("https://registry.io/v2/team", "registry.io/team"),
        ("registry.io/v1", "registry.io/v1"),
        ("https://index.docker.io/v1/", "index.docker.io"),
    ],
)
def test_keys(entry, key):
    assert registry_key(entry) == key


def ring(*entries):
    keyring = Keyring()
    keyring.add({entry: Login(entry) for entry in entries})
    return keyring


def users(keyring, image):
    return [credential.login.username for credential in keyring.lookup(image)]


def test_the_longest_match_comes_first():
    keyring = ring("registry.io", "registry.io/a", "registry.io/a/b", "*.io", "registry.io/c")
    assert users(keyring, "registry.io/a/b/c") == [
        "registry.io/a/b",
        "registry.io/a",
        "registry.io",
        "*.io",
    ]


@pytest.mark.parametrize(
    "entry", ["https://index.docker.io/v1/", "index.docker.io", "docker.io", "https://docker.io/v2/"]
)
def test_docker_hub(entry):
    assert users(ring(entry), "docker.io/library/busybox") == [entry]
    assert users(ring(entry), "quay.io/x") == []


def test_several_logins_for_one_registry():
    keyring = Keyring()
    first, second = Source("secret", "1", "ns", "a"), Source("secret", "2", "ns", "b")
    keyring.add({"registry.io": Login("a")}, first)
    keyring.add({"https://registry.io": Login("b"), "bad host": Login("c")}, second)
    assert keyring.lookup("registry.io/x") == [Credential(Login("a"), first), Credential(Login("b"), second)]


def test_digests_are_upstreams():
    # sha256 of {"username":"u","password":"p"} and {"username":"a\\u003cb","email":"e"}, as Go writes them.
    assert Credential(Login("u", "p")).digest == (
        "edbd57ca9372e64eb1c9070ecf3a049ac553596b0529acf034c7a71d4e618e88"
    )
    assert Credential(Login("a<b", "", "e")).digest == (
        "a0254aa579aeec9693f497e9119b0684aa2d197c60efb591cba2cddf5aef6409"
    )
