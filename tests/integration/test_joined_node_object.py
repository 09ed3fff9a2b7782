"""The Node object and the lease of a node of a cluster."""

import pytest
from tests.apiserver.client import MERGE
from tests.integration.joined import condition, container_id, is_ready
from tests.integration.killed_node import container
from tests.integration.node import pod

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_what_the_node_says_of_itself(joined):
    node = await joined.node_object()
    labels, status = node["metadata"]["labels"], node["status"]
    assert labels["kubernetes.io/hostname"] == joined.name
    assert labels["kubernetes.io/os"] == "linux"
    assert {c["type"]: c["status"] for c in status["conditions"]} == {
        "MemoryPressure": "False",
        "DiskPressure": "False",
        "PIDPressure": "False",
        "Ready": "True",
    }
    assert condition(node, "Ready")["reason"] == "KubeletReady"
    assert {"Hostname", "InternalIP"} <= {address["type"] for address in status["addresses"]}
    for kind in ("capacity", "allocatable"):
        assert {"cpu", "memory", "ephemeral-storage", "pods"} <= status[kind].keys()
    assert status["nodeInfo"]["containerRuntimeVersion"].startswith("containerd://")
    assert status["nodeInfo"]["kubeletVersion"].startswith("v1.36")
    assert any(taint["key"] == "pykubelet.test" for taint in node["spec"]["taints"])


async def test_the_nodes_own_labels_come_back_and_others_stay(joined):
    # A changed label is set right at the next start of the daemon, as upstream does it.
    changed = {"kubernetes.io/os": "plan9", "kubernetes.io/arch": None, "example.com/mine": "kept"}
    before = (await joined.node_object())["metadata"]["labels"]
    await joined.cluster.patch(joined.node_path, {"metadata": {"labels": changed}}, MERGE)
    await joined.node.restart()
    again = await joined.cluster.until(
        joined.node_path, lambda n: n["metadata"]["labels"].get("kubernetes.io/os") == "linux"
    )
    assert again["metadata"]["labels"] == {**before, "example.com/mine": "kept"}


async def test_a_node_that_is_deleted_registers_again(joined):
    await joined.create(pod("lasting", container("app")))
    [before] = await joined.ready("lasting")
    old = await joined.node_object()
    await joined.cluster.delete(joined.node_path)
    new = await joined.cluster.until(
        joined.node_path, lambda n: n["metadata"]["uid"] != old["metadata"]["uid"] and is_ready(n)
    )
    assert new["status"]["capacity"] == old["status"]["capacity"]
    [after] = await joined.ready("lasting")
    assert container_id(after) == container_id(before)


async def test_the_lease_is_renewed(joined):
    # It goes with its Node, so it may just be made anew.
    lease = await joined.cluster.until(joined.lease_path, lambda one: one["spec"]["renewTime"])
    assert lease["spec"]["holderIdentity"] == joined.name
    assert lease["spec"]["leaseDurationSeconds"] == 40
    later = await joined.cluster.until(
        joined.lease_path, lambda one: one["spec"]["renewTime"] > lease["spec"]["renewTime"]
    )
    assert [owner["name"] for owner in later["metadata"].get("ownerReferences", [])] == [joined.name]
