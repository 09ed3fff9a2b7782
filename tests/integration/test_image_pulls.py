"""Images pulled from real registries on loopback: secrets, plug-ins, records, what is slow and what fails.

One node with serial pulls off, one registry for everyone and one that asks who one is.
"""

import asyncio
import base64
import hashlib
import json
import re
import time

import pytest
import pytest_asyncio
from tests.apiserver.cluster import a_cluster
from tests.integration.joined import container_status, is_ready, joined_node, state
from tests.integration.killed_node import container
from tests.integration.node import PATIENCE, pod
from tests.integration.registry import USERS, running_registry, slow_way

from pykubelet.cli.up.images import BUSYBOX

pytestmark = pytest.mark.asyncio(loop_scope="module")

_PLUGIN = """#!/bin/sh
cat >> {asked}
cat <<END
{{"apiVersion": "credentialprovider.kubelet.k8s.io/v1", "kind": "CredentialProviderResponse",
 "cacheKeyType": "Registry", "auth": {{"127.0.0.1:{port}": {{"username": "bob", "password": "{password}"}}}}}}
END
"""


@pytest.fixture(scope="module")
def everyone(tmp_path_factory):
    with running_registry(tmp_path_factory.mktemp("registry") / "open") as registry:
        registry.push("team/app")
        registry.digest = registry.push("team/app", "v1")
        yield registry


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    with running_registry(tmp_path_factory.mktemp("registry") / "private", private=True) as registry:
        for repository in ("secret/app", "node/app", "plugin/app", "plugin/other"):
            registry.push(repository, "v1")
        yield registry


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def joined(containerd, everyone, members, tmp_path_factory):
    base = tmp_path_factory.mktemp("pulls")
    (base / "root").mkdir()
    logins = {"auths": {f"http://{members.host}/v2/node": {"auth": _auth("alice")}}}
    (base / "root" / "config.json").write_text(json.dumps(logins))
    plugins = base / "plugins"
    plugins.mkdir()
    plugin = plugins / "plug"
    plugin.write_text(_PLUGIN.format(asked=base / "asked", port=members.port, password=USERS["bob"]))
    plugin.chmod(0o755)
    config = base / "providers.yaml"
    config.write_text(json.dumps(_providers(members.host)))
    flags = (
        f"--image-credential-provider-config={config}",
        f"--image-credential-provider-bin-dir={plugins}",
    )
    async with (
        a_cluster() as cluster,
        joined_node(cluster, base, containerd, serializeImagePulls=False, flags=flags) as made,
    ):
        yield made


def _providers(host):
    return {
        "apiVersion": "kubelet.config.k8s.io/v1",
        "kind": "CredentialProviderConfig",
        "providers": [
            {
                "name": "plug",
                "matchImages": [f"{host}/plugin"],
                "defaultCacheDuration": "10m",
                "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
                "tokenAttributes": {
                    "serviceAccountTokenAudience": "registry.test",
                    "cacheType": "ServiceAccount",
                    "requireServiceAccount": True,
                },
            }
        ],
    }


def _auth(user, password=""):
    return base64.b64encode(f"{user}:{password or USERS[user]}".encode()).decode()


async def put_secret(joined, name, registry, user, password="", kind="dockerconfigjson"):
    login = {registry.host: {"auth": _auth(user, password)}}
    document = {"auths": login} if kind == "dockerconfigjson" else login
    data = {f".{kind}": base64.b64encode(json.dumps(document).encode()).decode()}
    await joined.put("secrets", name, type=f"kubernetes.io/{kind}", data=data)


def app(image, policy="IfNotPresent", **fields):
    return container("app", image=image, imagePullPolicy=policy, **fields)


def secrets(*names):
    return {"imagePullSecrets": [{"name": name} for name in names]}


def events(joined, name, reason=""):
    entries = joined.node.kubelet.ground.journal.of_name(joined.cluster.namespace, name)
    return [e.text for e in entries if e.kind == "event" and reason in {"", e.what}]


def waits(*reasons):
    return lambda found: state(found, "waiting").get("reason") in reasons


def records(joined, kind="pulled"):
    return [json.loads(path.read_text()) for path in _files(joined, kind)]


def _files(joined, kind):
    return sorted((joined.node.layout.root / "image_manager" / kind).iterdir())


async def test_names_and_policies(joined, everyone):
    repository = f"{everyone.host}/team/app"
    names = {"plain": repository, "tag": f"{repository}:v1", "digest": f"{repository}@{everyone.digest}"}
    for name, image in names.items():
        await joined.create(pod(name, app(image, "Always")))
    await joined.create(pod("gone", app(f"{repository}:none")))
    await joined.create(pod("never", app(f"{repository}:v2", "Never")))
    for name, shown in zip(names, await joined.ready(*names), strict=True):
        status = container_status(shown)
        assert status["image"].startswith(repository), status
        assert await joined.exec(shown, "cat /etc/salt") == (
            "team/app:latest" if name == "plain" else "team/app:v1"
        )
        pulling, pulled = events(joined, name, "Pulling"), events(joined, name, "Pulled")
        assert pulling == [f'Pulling image "{names[name]}"']
        assert pulled[0].startswith(f'Successfully pulled image "{names[name]}" in ')
        assert " including waiting). Image size: " in pulled[0]
    failed = await joined.until("gone", waits("ErrImagePull", "ImagePullBackOff"))
    message = state(failed, "waiting")["message"]
    assert f"{repository}:none: not found" in message
    failed = await joined.until("gone", waits("ImagePullBackOff"))
    before = f'Back-off pulling image "{repository}:none": ErrImagePull: '
    assert state(failed, "waiting")["message"].startswith(before)
    assert set(events(joined, "gone", "Failed")) >= {"Error: ErrImagePull", "Error: ImagePullBackOff"}
    await joined.until("never", waits("ErrImageNeverPull"))
    text = joined.node.kubelet.ground.metrics.render().decode()
    assert 'kubelet_image_pull_duration_seconds_count{image_size_in_bytes="0-10MB"} 3' in text
    mappings = [record["credentialMapping"] for record in records(joined)]
    assert mappings == [{repository: {"nodePodsAccessible": True}}] * 2


async def test_an_image_is_for_those_who_have_its_secret(joined, members):
    image = f"{members.host}/secret/app:v1"
    await put_secret(joined, "wrong", members, "alice", "guess")
    await put_secret(joined, "right", members, "alice", kind="dockercfg")
    await put_secret(joined, "copy", members, "alice")
    await joined.create(pod("first", app(image), **secrets("wrong", "right")))
    await joined.ready("first")
    [record] = [r for r in records(joined) if f"{members.host}/secret/app" in r["credentialMapping"]]
    [kept] = record["credentialMapping"][f"{members.host}/secret/app"]["kubernetesSecrets"]
    login = '{"username":"alice","password":"wonder"}'
    assert (kept["namespace"], kept["name"]) == (joined.cluster.namespace, "right")
    assert kept["credentialHash"] == hashlib.sha256(login.encode()).hexdigest()
    assert record["imageRef"] == (await joined.node.cri.image_status(image)).id
    assert records(joined, "pulling") == []
    # The image is there: who has the login uses it, who has not must pull, and cannot.
    await joined.create(pod("same", app(image, "Never"), **secrets("copy")))
    await joined.create(pod("bare", app(image), **secrets("missing")))
    await joined.create(pod("guess", app(image, "Never"), **secrets("wrong")))
    await joined.ready("same")
    assert events(joined, "same", "Pulled") == [
        f'Container image "{image}" already present on machine and can be accessed by the pod'
    ]
    failed = await joined.until("bare", waits("ErrImagePull", "ImagePullBackOff"))
    # containerd 1.6 and 2 say it each in its own way.
    assert re.search("401 Unauthorized|authorization failed", state(failed, "waiting")["message"])
    assert events(joined, "bare", "FailedToRetrieveImagePullSecret") == [
        "Unable to retrieve some image pull secrets (missing); attempting to pull the image may not succeed."
    ]
    await joined.until("guess", waits("ErrImageNeverPull"))
    # The records outlive the daemon; and who gets the secret now gets the image.
    await put_secret(joined, "missing", members, "bob")
    await joined.node.restart()
    await joined.create(pod("later", app(image, "Never"), **secrets("copy")))
    await joined.ready("later", "bare")
    stories = joined.story("bare")
    assert f"with the login of the secret {joined.cluster.namespace}/missing" in stories


async def test_logins_of_the_node_and_of_a_plugin(joined, members):
    await joined.create(pod("node", app(f"{members.host}/node/app:v1")))
    await joined.create(pod("plugin", app(f"{members.host}/plugin/app:v1"), serviceAccountName="default"))
    await joined.ready("node", "plugin")
    await joined.create(pod("other", app(f"{members.host}/plugin/other:v1"), serviceAccountName="default"))
    await joined.ready("other")
    # One run of the plug-in: its answer holds for the registry.
    asked = json.loads((joined.node.base / "asked").read_text())
    assert asked["image"] == f"{members.host}/plugin/app"
    _, claims, _ = asked["serviceAccountToken"].split(".")
    assert "registry.test" in json.loads(base64.urlsafe_b64decode(claims + "=="))["aud"]
    mapping = {image: found for r in records(joined) for image, found in r["credentialMapping"].items()}
    assert mapping[f"{members.host}/node/app"] == {"nodePodsAccessible": True}
    [account] = mapping[f"{members.host}/plugin/app"]["kubernetesServiceAccounts"]
    assert (account["namespace"], account["name"]) == (joined.cluster.namespace, "default")


async def test_a_slow_pull_is_seen_given_up_and_survives_the_daemon(joined, everyone):
    everyone.push("slow/app", "v1", padding=12 << 20)
    async with slow_way(everyone, 500_000) as way:
        image = f"{way.host}/slow/app:v1"
        made = await joined.create(pod("slow", app(image)))
        uid = made["metadata"]["uid"]

        async def pulls():
            ends = time.monotonic() + PATIENCE
            while not (found := joined.node.kubelet.containers.starter.images.under_way(uid)) or not way.sent:
                assert time.monotonic() < ends, joined.story("slow")
                await asyncio.sleep(0.05)
            return found

        [seen] = await pulls()
        assert seen.need.image == image
        metrics = joined.node.kubelet.ground.metrics.render().decode()
        assert 'pykubelet_image_pulls{state="pulling"} 1' in metrics
        await _bytes_are_told(joined, uid)
        assert [intent["image"] for intent in records(joined, "pulling")] == [image]
        # The daemon ends in the middle: the next one knows that it was this kubelet who pulled.
        await joined.node.restart()
        assert [intent["image"] for intent in records(joined, "pulling")] == [image]
        await pulls()
        await joined.delete("slow", 1)
        await joined.gone("slow")
        ends, sent = time.monotonic() + PATIENCE, -1
        while sent != way.sent:
            assert time.monotonic() < ends, "the runtime goes on pulling"
            sent = way.sent
            await asyncio.sleep(0.5)
        assert await joined.node.cri.image_status(image) is None
        way.rate = 1 << 30
        await joined.create(pod("slow", app(image)))
        await joined.ready("slow")
        assert records(joined, "pulling") == []


async def _bytes_are_told(joined, uid):
    """What ``describe`` shows: which image, how long, and how much of it, as containerd tells."""
    ends = time.monotonic() + PATIENCE
    while True:
        [view] = await joined.node.kubelet.api.pulls(uid)
        if view.done:
            break
        assert time.monotonic() < ends, view
        await asyncio.sleep(0.1)
    assert 0 < view.done < view.total
    assert view.total > 12 << 20
    assert view.container == "app"
    assert re.fullmatch(r"pulling 127\.0\.0\.1:\S+ for \S+, [0-9.]+ of [0-9.]+ MiB so far", view.text)


async def test_an_image_volume(joined, everyone):
    """containerd has image volumes from 2.1 on; older ones refuse the container, as under the Go kubelet."""
    everyone.push("volume/data", "v1")
    volume = {"name": "data", "image": {"reference": f"{everyone.host}/volume/data:v1"}}
    mounts = [{"name": "data", "mountPath": "/data"}]
    await joined.create(pod("volume", app(BUSYBOX, "Never", volumeMounts=mounts), volumes=[volume]))
    version = (await joined.node.cri.version()).runtime_version
    if tuple(map(int, version.lstrip("v").split("~")[0].split(".")[:2])) >= (2, 1):
        [shown] = await joined.ready("volume")
        assert await joined.exec(shown, "cat /data/etc/salt") == "volume/data:v1"
    else:
        failed = await joined.until("volume", waits("CreateContainerError"))
        assert 'failed to mkdir ""' in state(failed, "waiting")["message"]
        assert not is_ready(failed)
    assert events(joined, "volume", "Pulled")[0].startswith("Successfully pulled image")
    # One whose image cannot be pulled holds its container up.
    missing = {"name": "data", "image": {"reference": f"{everyone.host}/volume/none:v1"}}
    await joined.create(pod("missing", app(BUSYBOX, "Never", volumeMounts=mounts), volumes=[missing]))
    await joined.until("missing", waits("ErrImagePull", "ImagePullBackOff"))
