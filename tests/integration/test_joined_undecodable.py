"""A pod object that cannot be decoded: it harms no other, and what ran goes on. The double only."""

import logging

import pytest
from tests.apiserver import resources
from tests.integration.joined import container_id
from tests.integration.killed_node import container
from tests.integration.node import pod

pytestmark = pytest.mark.asyncio(loop_scope="module")


def write(joined, name, containers):
    """Give the stored pod *containers*, past all rules."""
    found = joined.server.pod(joined.cluster.namespace, name)
    found["spec"]["containers"] = containers
    joined.server.store.put(resources.PODS, found)
    return found


async def relist(joined):
    """Make the node ask for all pods anew, and wait until it has."""
    joined.server.requests.clear()
    joined.server.compact()
    await joined.server.drop_connections()
    await joined.node.until(
        lambda: any("sendInitialEvents" in r.query for r in joined.server.requests.find("/api/v1/pods"))
    )


async def test_a_pod_that_becomes_undecodable_goes_on_and_so_do_the_others(joined, caplog):
    await joined.create(pod("spoilt", container("app")))
    await joined.create(pod("other", container("app")))
    spoilt, other = await joined.ready("spoilt", "other")
    with caplog.at_level(logging.WARNING):
        good = spoilt["spec"]["containers"]
        write(joined, "spoilt", "a string")
        await relist(joined)
        await joined.create(pod("later", container("app")))
        await joined.ready("later")
    expected = f"Pod {joined.cluster.namespace}/spoilt cannot be read and stays as it is on this node"
    assert any(m.startswith(expected) and "spec.containers" in m for m in caplog.messages)
    assert {container_id(spoilt), container_id(other)} <= await joined.containers()
    # It can be read again: nothing happened.
    write(joined, "spoilt", good)
    [after] = await joined.ready("spoilt")
    assert after["status"]["containerStatuses"] == spoilt["status"]["containerStatuses"]
    # Nor does what cannot be read keep a deletion from the node.
    write(joined, "other", "a string")
    await relist(joined)
    joined.server.delete(resources.PODS, joined.cluster.namespace, "other", 0)
    await joined.node.until(lambda: without(joined, container_id(other)))
    assert container_id(spoilt) in await joined.containers()


async def test_after_a_restart_it_runs_on_until_it_is_deleted(joined):
    await joined.create(pod("kept", container("app")))
    [kept] = await joined.ready("kept")
    await joined.node.stop()
    write(joined, "kept", "a string")
    await joined.node.start()
    await joined.create(pod("beside", container("app")))
    await joined.ready("beside")
    await joined.node.until(lambda: joined.node.kubelet.upkeep.housekeeping.passed)
    await joined.node.kubelet.upkeep.housekeeping.tidy()
    assert container_id(kept) in await joined.containers()
    joined.server.delete(resources.PODS, joined.cluster.namespace, "kept", 0)
    await joined.node.until(lambda: without(joined, container_id(kept)))


async def test_an_unknown_one_waits_and_is_told_of(joined, caplog):
    with caplog.at_level(logging.WARNING):
        await joined.node.stop()
        await joined.create(pod("unknown", container("app")))
        good = joined.server.pod(joined.cluster.namespace, "unknown")["spec"]["containers"]
        write(joined, "unknown", "a string")
        await joined.node.start()
        await joined.create(pod("known", container("app")))
        await joined.ready("known")
    told = [m for m in caplog.messages if f"{joined.cluster.namespace}/unknown" in m]
    assert len(told) == 1
    assert "stays as it is on this node: spec.containers" in told[0]
    write(joined, "unknown", good)
    await joined.ready("unknown")


async def without(joined, one):
    return one not in await joined.containers()
