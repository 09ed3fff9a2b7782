"""The API server is away, slow, or talks nonsense, while pods run, end and restart. The double only.

``tests/test_joined_memory.py`` has the long outages, in virtual time.
"""

import asyncio
from collections import Counter

import pytest
from tests.apiserver import Hang, Malformed, Refuse, Slow, resources
from tests.integration.joined import container_id, container_status, is_ready, joined_node
from tests.integration.killed_node import container
from tests.integration.node import pod

from pykubelet.base.tasks import TaskOwner

#: Seconds that an outage lasts, beyond what happens in it.
LASTS = 2.0
#: Requests that a node with three pods may need to catch up, at most.
CATCH_UP = 60

FAULTS = {
    "hanging": Hang(),
    "slow": Slow(1.0),
    "busy": Refuse(429, retry_after=1),
    "broken": Refuse(500),
    "unavailable": Refuse(503),
    "malformed": Malformed(),
}


async def start(server, kind):
    """Begin an outage; answers what ends it."""
    if kind == "away":
        await server.down()
        return server.up
    if kind == "flapping":
        flapping = TaskOwner("flapping")
        flapping.spawn("flap", server.flap(1000, down=0.5, up=0.3))

        async def end():
            await flapping.close()
            await server.up()

        return end
    await server.drop_connections()
    switch = server.faults.add(FAULTS[kind])

    async def mend():
        server.faults.remove(switch)

    return mend


def create_directly(joined, manifest):
    """Create a pod past HTTP."""
    meta = {**manifest["metadata"], "namespace": joined.cluster.namespace}
    spec = {**manifest["spec"], "nodeName": joined.name}
    joined.server.create(resources.PODS, {"metadata": meta, "spec": spec})


async def runs_anew(joined, uid, before):
    """ID of a container of the pod that runs and is not *before*."""
    listed = await joined.node.cri.list_containers()
    return next(
        (
            one.id
            for one in listed
            if one.labels["io.kubernetes.pod.uid"] == uid and one.id != before and one.state.name == "RUNNING"
        ),
        "",
    )


@pytest.fixture
async def joined(cluster, short_dir, containerd):
    """A node of the test's own: one that saw outages before waits longer before it asks again."""
    async with joined_node(cluster, short_dir, containerd) as made:
        yield made


@pytest.mark.parametrize("kind", ["away", "flapping", *FAULTS])
async def test_an_outage(joined, kind):
    server, space = joined.server, joined.cluster.namespace
    names = ("lasting", "ending", "crashing")
    for name in names:
        await joined.create(pod(name, container("app")))
    lasting, ending, crashing = await joined.ready(*names)

    end = await start(server, kind)
    try:
        await joined.node.cri.stop_container(container_id(crashing), 0)
        uid, before = crashing["metadata"]["uid"], container_id(crashing)
        # Without anybody's leave.
        await joined.node.until(lambda: runs_anew(joined, uid, before))
        server.delete(resources.PODS, space, "ending", 1)
        create_directly(joined, pod("new", container("app")))
        await asyncio.sleep(LASTS)
        assert container_id(lasting) in await joined.containers()
        if kind not in {"slow", "flapping"}:
            # It was not told, so it does not guess.
            assert container_id(ending) in await joined.containers()
    finally:
        server.requests.clear()
        await end()

    await joined.ready("new")
    await joined.gone("ending")
    restarted = await joined.until(
        "crashing", lambda p: container_status(p)["restartCount"] == 1 and is_ready(p)
    )
    assert restarted["metadata"]["uid"] == uid
    [after] = await joined.ready("lasting")
    assert after["status"] == lasting["status"]
    await asyncio.sleep(1.0)
    asked = Counter(f"{request.verb} {request.path}" for request in joined.requests())
    assert asked.total() <= CATCH_UP, asked.most_common(8)
    patched = Counter(r.path for r in joined.requests("patch") if r.path.endswith("/status"))
    assert max(patched.values()) <= 6, patched
