"""One question to a plug-in: a real program."""

import json
import os

import pytest

from pykubelet.containers.credentials.provider_exec import PluginError, ask, read, request

V1 = "credentialprovider.kubelet.k8s.io/v1"


@pytest.fixture
def plugin(tmp_path):
    def make(script):
        path = tmp_path / "plug"
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return str(path)

    return make


def answer(**more):
    return json.dumps(
        {"apiVersion": V1, "kind": "CredentialProviderResponse", "cacheKeyType": "Image", **more}
    )


async def test_a_question_and_its_answer(plugin, tmp_path):
    said = answer(cacheDuration="5s", auth={"r.io": {"username": "u", "password": "p"}})
    command = plugin(f"cat > {tmp_path}/in; echo \"$1 $X\" > {tmp_path}/args; echo '{said}'; echo oops >&2")
    found = await ask(
        (command, "arg"), {**os.environ, "X": "y"}, V1, "r.io/a", token="t", annotations={"k": "v"}
    )
    assert (found.auth["r.io"].password, found.cacheDuration.seconds) == ("p", 5)
    assert (tmp_path / "args").read_text() == "arg y\n"
    assert (tmp_path / "in").read_text() == (
        '{"kind":"CredentialProviderRequest","apiVersion":"credentialprovider.kubelet.k8s.io/v1",'
        '"image":"r.io/a","serviceAccountToken":"t","serviceAccountAnnotations":{"k":"v"}}\n'
    )
    assert "'p'" not in repr(found)


def test_older_plugins_get_no_token():
    old = V1.replace("/v1", "/v1beta1")
    assert b"erviceAccount" not in request(old, "i", "t", {"k": "v"})
    assert b"erviceAccount" not in request(V1, "i", "", {})


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ("echo no luck >&2; exit 3", "plug for image i: exit status 3: no luck$"),
        ("kill -9 $$", "signal: 9"),
        ("sleep 60", "context deadline exceeded"),
        ("head -c 2000000 /dev/zero", "printed too much"),
    ],
)
async def test_failures(plugin, script, told):
    timeout = 1.0 if "sleep" in script else 30.0
    with pytest.raises(PluginError, match=told) as caught:
        await ask((plugin(script),), os.environ, V1, "i", timeout=timeout)
    assert caught.value.run


async def test_a_plugin_that_complains_of_its_token(plugin):
    with pytest.raises(PluginError, match='"serviceAccountToken":"<token>"') as caught:
        await ask((plugin("cat >&2; exit 1"),), os.environ, V1, "i", token="hush hush")
    assert "hush" not in str(caught.value)


async def test_a_plugin_that_is_not_there(tmp_path):
    with pytest.raises(PluginError, match="No such file"):
        await ask((str(tmp_path / "none"),), os.environ, V1, "i")


@pytest.mark.parametrize(
    ("output", "told"),
    [
        ("", "error reading GVK"),
        ("[]", "error reading GVK"),
        ("{}", "did not match expected apiVersion:.*/v1, actual apiVersion:$"),
        (answer(kind="Other"), "^error decoding credential provider plugin response from stdout$"),
        (answer(auth={"r": {"password": 1}}), "^error decoding"),
        (answer(surprise="hush"), "^error decoding"),
    ],
)
def test_answers_that_are_none(output, told):
    with pytest.raises(PluginError, match=told):
        read(output.encode(), V1)
