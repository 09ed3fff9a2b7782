"""Static pods as the API server shows them: mirror pods."""

import pytest
from tests.integration.joined import container_id, is_ready
from tests.integration.killed_node import container
from tests.integration.node import pod

pytestmark = pytest.mark.asyncio(loop_scope="module")

MIRROR = "kubernetes.io/config.mirror"


async def mirrored(joined, name):
    """The mirror of a static pod, ready."""
    return await joined.until(f"{name}-{joined.name}", is_ready, namespace="default")


def hash_of(joined, name):
    """What tells the static pod's manifest from all others."""
    return joined.node.pod(name).metadata.annotations["kubernetes.io/config.hash"]


async def test_a_mirror_shows_its_static_pod(joined):
    joined.node.apply(pod("shown", container("app"), initContainers=[container("first", "true")]))
    mirror = await mirrored(joined, "shown")
    meta, status = mirror["metadata"], mirror["status"]
    node = await joined.node_object()
    assert meta["annotations"][MIRROR] == hash_of(joined, "shown")
    assert meta["annotations"]["kubernetes.io/config.source"] == "file"
    owners = [(o["kind"], o["name"], o["uid"], o["controller"]) for o in meta["ownerReferences"]]
    assert owners == [("Node", joined.name, node["metadata"]["uid"], True)]
    assert mirror["spec"]["nodeName"] == joined.name
    assert container_id(mirror) == joined.node.container_id("shown")
    assert status["phase"] == "Running"
    assert status["podIP"] == joined.node.status("shown").podIP
    assert status["initContainerStatuses"][0]["state"]["terminated"]["exitCode"] == 0
    await joined.node.delete("shown")


async def test_a_mirror_that_is_deleted_comes_back(joined):
    joined.node.apply(pod("deleted", container("app")))
    first = await mirrored(joined, "deleted")
    running = joined.node.container_id("deleted")
    for grace in (0, None):
        name, uid = f"deleted-{joined.name}", first["metadata"]["uid"]
        await joined.delete(name, grace, "default")
        await joined.until(name, lambda p, uid=uid: p["metadata"]["uid"] != uid, namespace="default")
        first = await mirrored(joined, "deleted")
        assert container_id(first) == running
    await joined.node.delete("deleted")


async def test_a_mirror_that_is_edited_changes_nothing_and_its_status_is_corrected(joined):
    joined.node.apply(pod("edited", container("app")))
    first = await mirrored(joined, "edited")
    path = f"/api/v1/namespaces/default/pods/edited-{joined.name}"
    await joined.cluster.patch(
        path, {"spec": {"containers": [{"name": "app", "image": "example.com/no:v1"}]}}
    )
    ready = {"type": "Ready", "status": "False", "reason": "Edited"}
    await joined.cluster.patch(f"{path}/status", {"status": {"phase": "Failed", "conditions": [ready]}})
    again = await mirrored(joined, "edited")
    assert again["status"]["phase"] == "Running"
    assert again["metadata"]["uid"] == first["metadata"]["uid"]
    assert container_id(again) == container_id(first) == joined.node.container_id("edited")
    await joined.node.delete("edited")


async def test_a_mirror_goes_with_its_static_pod_and_changes_with_it(joined):
    joined.node.apply(pod("changed", container("app")))
    first = await mirrored(joined, "changed")
    before = hash_of(joined, "changed")
    joined.node.apply(pod("changed", container("app", env=[{"name": "NEW", "value": "1"}])))
    again = await joined.until(
        f"changed-{joined.name}",
        lambda p: p["metadata"]["annotations"].get(MIRROR) != before and is_ready(p),
        namespace="default",
    )
    assert again["metadata"]["uid"] != first["metadata"]["uid"]
    assert again["metadata"]["annotations"][MIRROR] == hash_of(joined, "changed")
    await joined.node.delete("changed")
    await joined.node.until(lambda: absent(joined, "changed"))


async def absent(joined, name):
    return await joined.pod(f"{name}-{joined.name}", "default") is None
