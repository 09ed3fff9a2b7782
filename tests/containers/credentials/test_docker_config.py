"""Docker's configuration files."""

import base64
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.containers.credentials.docker_config import Login, config_json, dockercfg


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def test_both_forms():
    entry = {"username": "u", "password": "p", "email": "e", "unknown": 1}
    assert dockercfg(json.dumps({"r": entry}).encode()) == {"r": Login("u", "p", "e")}
    whole = {"auths": {"r": entry}, "credsStore": "x"}
    assert config_json(json.dumps(whole).encode()) == {"r": Login("u", "p", "e")}
    assert config_json(b'{"AUTHS": {"r": {"UserName": "u"}}}') == {"r": Login("u")}


@pytest.mark.parametrize("document", [b"{}", b"null", b'{"auths": null}', b'{"other": 1}'])
def test_documents_that_say_nothing(document):
    assert config_json(document) == {}


@pytest.mark.parametrize("auth", [encoded("user:pass:word"), encoded("user:pass:word").rstrip("=")])
def test_auth_wins(auth):
    document = {"r": {"auth": auth, "username": "x", "password": "y", "email": "e"}}
    assert dockercfg(json.dumps(document).encode()) == {"r": Login("user", "pass:word", "e")}


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (b"{", "not valid JSON"),
        (b"[]", "the document is not an object"),
        (b'{"auths": 1}', "auths is not an object"),
        (b'{"auths": {"r": 1}}', 'the entry of "r" is not an object'),
        (b'{"auths": {"r": {"password": 12345}}}', 'password of "r" is not a text'),
        (b'{"auths": {"r": {"auth": "=="}}}', "illegal base64"),
        (b'{"auths": {"r": {"auth": "c2VjcmV0"}}}', "base64\\(username:password\\)"),
    ],
)
def test_what_is_wrong_is_named_without_secrets(document, told):
    with pytest.raises(ValueError, match=told) as caught:
        config_json(document)
    assert "12345" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_password_is_not_shown():
    assert "hush" not in repr(Login("u", "hush"))


@given(st.binary())
def test_nothing_breaks_it(data):
    with contextlib.suppress(ValueError):
        config_json(data)
