"""Pull secrets, the node's configuration and plug-ins, in their order."""

import base64
import json

import pytest

from pykubelet.api.core import LocalObjectReference, Pod, PodSpec
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.objects import Secret
from pykubelet.base.clock import SystemClock
from pykubelet.containers.credentials import Credentials
from pykubelet.containers.credentials.docker_config import Login
from pykubelet.containers.credentials.keyring import Source
from pykubelet.containers.credentials.lookup import secrets_keyring


def secret(name, user, *, kind="kubernetes.io/dockerconfigjson", registry="r.io"):
    login = {registry: {"auth": base64.b64encode(f"{user}:p".encode()).decode()}}
    document = {"auths": login} if kind.endswith("json") else login
    key = "." + kind.rpartition("/")[2]
    return Secret(
        metadata=ObjectMeta(name=name, namespace="ns", uid=f"uid-{name}"),
        type=kind,
        data={key: json.dumps(document).encode()},
    )


class Secrets:
    def __init__(self, *secrets):
        self.there = {each.metadata.name: each for each in secrets}

    async def secret(self, namespace, name):
        if name == "unknown":
            raise LookupError("not registered")
        return self.there.get(name)


class Plugin:
    async def logins(self, image, pod, service_account):
        assert (image, pod.name, service_account) == ("r.io/x/y", "p", "robot")
        return {"r.io": Login("plugin", "p")}, Source("serviceaccount", "sa", "ns", "robot")

    async def stop(self):
        self.stopped = True


def pod(*names):
    references = [LocalObjectReference(name=name) for name in names]
    spec = PodSpec(imagePullSecrets=references, serviceAccountName="robot")
    return Pod(metadata=ObjectMeta(name="p", namespace="ns", uid="u"), spec=spec)


async def test_all_sources_in_their_order(tmp_path, told):
    (tmp_path / "config.json").write_text('{"auths": {"r.io/x": {"username": "node"}}}')
    there = Secrets(secret("a", "first"), secret("b", "second", kind="kubernetes.io/dockercfg"))
    credentials = Credentials(tmp_path, SystemClock(), told, there)
    plugin = Plugin()
    credentials.use([plugin])
    wanted = pod("a", "", "b")
    found = await credentials.lookup(wanted, "r.io/x/y:v1", await credentials.pull_secrets(wanted))
    assert [each.login.username for each in found] == ["first", "second", "node", "plugin"]
    assert [each.source and each.source.uid for each in found] == ["uid-a", "uid-b", None, "sa"]
    assert told.events == []
    await credentials.stop()
    assert plugin.stopped


async def test_missing_secrets_are_told(tmp_path, told):
    credentials = Credentials(tmp_path, SystemClock(), told, Secrets(secret("a", "first")))
    assert len(await credentials.pull_secrets(pod("gone", "a", "unknown"))) == 1
    text = (
        "Unable to retrieve some image pull secrets (gone, unknown); "
        "attempting to pull the image may not succeed."
    )
    assert told.events == [("Warning", "FailedToRetrieveImagePullSecret", text, "")]


def test_other_secrets_say_nothing():
    empty = Secret(type="kubernetes.io/dockercfg", data={".dockercfg": b""})
    other = Secret(type="Opaque", data={".dockerconfigjson": b"{"})
    assert secrets_keyring([empty, other]).lookup("r.io/x") == []


def test_a_broken_secret_is_named():
    broken = secret("a", "u")
    broken.data[".dockerconfigjson"] = b"{hush"
    with pytest.raises(ValueError, match=r"^image pull secret ns/a: \.docker.*: it is not valid JSON$"):
        secrets_keyring([broken])
