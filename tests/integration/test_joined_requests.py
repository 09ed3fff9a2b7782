"""How much a node asks of its API server; the double counts."""

import asyncio
from collections import Counter

import pytest
from tests.integration.joined import phase
from tests.integration.killed_node import container
from tests.integration.node import pod

pytestmark = pytest.mark.asyncio(loop_scope="module")


#: Where events of the node itself go, which have their own times.
NODE_EVENTS = "/api/v1/namespaces/default/events"


def told(requests):
    return Counter(f"{request.verb} {request.path}" for request in requests)


async def test_a_pods_start_costs_five_writes_at_most(joined):
    joined.server.requests.clear()
    await joined.create(pod("cheap", container("app"), automountServiceAccountToken=False))
    await joined.ready("cheap")
    # Events follow the status.
    await asyncio.sleep(1.5)
    writes = [write for write in joined.writes() if write.path != NODE_EVENTS]
    print(told(writes))
    assert 2 <= len(writes) <= 5, told(writes)


async def test_a_deletion_costs_few_writes(joined):
    await joined.create(pod("ended", container("app"), automountServiceAccountToken=False))
    await joined.ready("ended")
    await asyncio.sleep(1.5)
    joined.server.requests.clear()
    await joined.delete("ended")
    await joined.gone("ended")
    await asyncio.sleep(1.5)
    writes = [write for write in joined.writes() if write.path != NODE_EVENTS]
    print(told(writes))
    assert len(writes) <= 4, told(writes)


async def test_at_rest_only_lease_and_node_status(joined):
    joined.node.apply(pod("static", container("app")))
    await joined.create(pod("resting", container("app")))
    await joined.create(pod("over", container("app", "true"), restartPolicy="Never"))
    await joined.ready("resting")
    await joined.until("over", lambda p: phase(p) == "Succeeded")
    await asyncio.sleep(2.0)
    joined.server.requests.clear()
    await asyncio.sleep(12.0)
    assert joined.writes() == [], told(joined.writes())
    others = [r for r in joined.requests() if r.path not in {joined.node_path, f"{joined.node_path}/status"}]
    assert {r.path for r in others} <= {joined.lease_path}, told(others)
    assert len(joined.requests()) <= 6, told(joined.requests())
    await joined.node.delete("static")
