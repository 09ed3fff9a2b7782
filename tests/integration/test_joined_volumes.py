"""Volumes made of the API server's objects: their contents, and how changes reach a running container."""

import base64

import pytest
from tests.integration.joined import is_ready, state
from tests.integration.killed_node import container
from tests.integration.node import pod

pytestmark = pytest.mark.asyncio(loop_scope="module")


def mounted(**sources):
    """A container and its volumes, each mounted at its name."""
    mounts = [{"name": name, "mountPath": f"/{name}"} for name in sources]
    return container("app", volumeMounts=mounts), [
        {"name": name, **source} for name, source in sources.items()
    ]


def encoded(text):
    return base64.b64encode(text.encode()).decode()


async def test_contents_and_modes(joined):
    await joined.put("configmaps", "settings", data={"a": "1", "b": "2"}, binaryData={"raw": encoded("\0x")})
    await joined.put("secrets", "keys", data={"key": encoded("hush")})
    items = [{"key": "b", "path": "deep/b", "mode": 0o400}]
    app, volumes = mounted(
        whole={"configMap": {"name": "settings"}},
        part={"configMap": {"name": "settings", "items": items, "defaultMode": 0o640}},
        secret={"secret": {"secretName": "keys", "defaultMode": 0o400}},
        info={
            "downwardAPI": {
                "items": [
                    {"path": "name", "fieldRef": {"fieldPath": "metadata.name"}},
                    {"path": "uid", "fieldRef": {"fieldPath": "metadata.uid"}},
                    {
                        "path": "cpu",
                        "resourceFieldRef": {
                            "containerName": "app",
                            "resource": "limits.memory",
                            "divisor": "1Mi",
                        },
                    },
                ]
            }
        },
        all={
            "projected": {
                "sources": [
                    {"configMap": {"name": "settings", "items": [{"key": "a", "path": "cm/a"}]}},
                    {"secret": {"name": "keys"}},
                    {
                        "downwardAPI": {
                            "items": [{"path": "ns", "fieldRef": {"fieldPath": "metadata.namespace"}}]
                        }
                    },
                    {"serviceAccountToken": {"path": "token", "expirationSeconds": 3600, "audience": "test"}},
                ]
            }
        },
    )
    app["resources"] = {"limits": {"memory": "64Mi"}}
    made = await joined.create(pod("contents", app, volumes=volumes))
    [shown] = await joined.ready("contents")
    assert await joined.exec(shown, "cd /whole; ls; cat a b; wc -c < raw") == "a\nb\nraw\n122"
    assert (
        await joined.exec(shown, "cd /part; ls . deep/; stat -Lc %a deep/b") == ".:\ndeep\n\ndeep/:\nb\n400"
    )
    assert (
        await joined.exec(shown, "cat /part/deep/b; stat -Lc %a /secret/key; cat /secret/key") == "2400\nhush"
    )
    assert await joined.exec(shown, "stat -fc %T /secret") == "tmpfs"
    name, uid, memory = (
        await joined.exec(shown, "cd /info; for f in name uid cpu; do cat $f; echo; done")
    ).split()
    assert (name, uid, memory) == ("contents", made["metadata"]["uid"], "64")
    said = await joined.exec(shown, "cd /all; cat cm/a; echo; cat key; echo; cat ns; echo; cat token")
    assert said.split()[:3] == ["1", "hush", joined.cluster.namespace]
    assert len(said.split()[3]) > 20
    for volume in ("whole", "secret", "info", "all"):
        assert await joined.exec(shown, f"touch /{volume}/x 2>&1 || true") != ""


async def test_changes_reach_the_running_container(joined):
    await joined.put("configmaps", "moving", data={"k": "1", "old": "x"})
    await joined.put("secrets", "moving", data={"k": encoded("1")})
    app, volumes = mounted(
        cm={"configMap": {"name": "moving"}},
        secret={"secret": {"secretName": "moving"}},
        info={
            "downwardAPI": {"items": [{"path": "a", "fieldRef": {"fieldPath": "metadata.annotations['a']"}}]}
        },
        all={"projected": {"sources": [{"configMap": {"name": "moving"}}]}},
    )
    await joined.create(pod("changing", app, volumes=volumes), annotations={"a": "1"})
    [shown] = await joined.ready("changing")
    await joined.put("configmaps", "moving", data={"k": "2", "new": "y"})
    await joined.put("secrets", "moving", data={"k": encoded("2")})
    await joined.patch("changing", {"metadata": {"annotations": {"a": "2"}}})
    await joined.says(shown, "ls /cm; cat /cm/k", "k\nnew\n2")
    await joined.says(shown, "cat /secret/k /info/a", "22")
    await joined.says(shown, "ls /all; cat /all/k", "k\nnew\n2")


async def test_what_is_missing_is_waited_for(joined):
    app, volumes = mounted(
        cm={"configMap": {"name": "to-come"}}, secret={"secret": {"secretName": "to-come"}}
    )
    await joined.create(pod("waiting", app, volumes=volumes))
    shown = await joined.until("waiting", lambda p: state(p, "waiting"))
    assert state(shown, "waiting")["reason"] == "ContainerCreating"
    await joined.put("configmaps", "to-come", data={"k": "1"})
    await joined.put("secrets", "to-come", data={"k": encoded("2")})
    [shown] = await joined.ready("waiting")
    assert await joined.exec(shown, "cat /cm/k /secret/k") == "12"


async def test_what_is_optional_appears_and_goes(joined):
    app, volumes = mounted(
        cm={"configMap": {"name": "perhaps", "optional": True}},
        secret={"secret": {"secretName": "perhaps", "optional": True}},
    )
    await joined.create(pod("optional", app, volumes=volumes))
    [shown] = await joined.ready("optional")
    assert await joined.exec(shown, "ls /cm /secret") == "/cm:\n\n/secret:"
    await joined.put("configmaps", "perhaps", data={"k": "1"})
    await joined.put("secrets", "perhaps", data={"k": encoded("2")})
    await joined.says(shown, "cat /cm/k /secret/k 2>/dev/null || true", "12")
    await joined.cluster.delete(joined.cluster.path("configmaps", "perhaps"))
    await joined.says(shown, "ls /cm", "")


async def test_what_a_mounted_object_loses_does_not_end_the_pod(joined):
    await joined.put("configmaps", "lost", data={"k": "1"})
    app, volumes = mounted(cm={"configMap": {"name": "lost"}})
    await joined.create(pod("loser", app, volumes=volumes))
    [shown] = await joined.ready("loser")
    await joined.cluster.delete(joined.cluster.path("configmaps", "lost"))
    await joined.put("configmaps", "lost", data={"k": "2"})
    await joined.says(shown, "cat /cm/k", "2")
    assert is_ready(await joined.pod("loser"))
