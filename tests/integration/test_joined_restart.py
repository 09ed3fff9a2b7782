"""The daemon of a cluster's node ends and starts again, while its pods run, end, or are deleted."""

import pytest
from tests.integration.joined import condition, container_id, container_status, is_ready, phase, state
from tests.integration.killed_node import container
from tests.integration.node import pod

pytestmark = pytest.mark.asyncio(loop_scope="module")


def lasting(found):
    """What of a pod's status a new daemon must not touch."""
    status = found["status"]
    kinds = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    since = {kind: condition(found, kind)["lastTransitionTime"] for kind in kinds}
    return since, status["containerStatuses"], status["podIP"], status["startTime"]


async def test_what_runs_is_left_alone(joined):
    # A busy machine may not make it unready.
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 1, "timeoutSeconds": 20}
    await joined.create(pod("plain", container("app")))
    await joined.create(pod("probed", container("app", readinessProbe=probe, livenessProbe=probe)))
    joined.node.apply(pod("static", container("app")))
    name = f"static-{joined.name}"
    await joined.until(name, is_ready, namespace="default")
    before = [*await joined.ready("plain", "probed"), await joined.pod(name, "default")]
    node = await joined.node_object()
    await joined.node.restart()
    await joined.create(pod("new", container("app")))
    await joined.ready("new")
    after = [*await joined.ready("plain", "probed"), await joined.pod(name, "default")]
    assert [lasting(one) for one in after] == [lasting(one) for one in before]
    # The mirror is the same object, too.
    assert after[2]["metadata"]["uid"] == before[2]["metadata"]["uid"]
    now = await joined.node_object()
    for kind in ("Ready", "MemoryPressure"):
        assert condition(now, kind)["lastTransitionTime"] == condition(node, kind)["lastTransitionTime"]
    assert now["metadata"]["uid"] == node["metadata"]["uid"]
    await joined.node.delete("static")


async def test_what_happened_while_the_daemon_was_away(joined):
    once = {"restartPolicy": "Never"}
    await joined.create(pod("deleted", container("app")))
    await joined.create(pod("forced", container("app")))
    await joined.create(pod("ends", container("app", "sleep 4; exit 0"), **once))
    await joined.create(pod("fails", container("app", "sleep 4; exit 5"), **once))
    await joined.create(pod("again", container("app", "sleep 4; exit 6")))
    deleted, forced, *_ = await joined.ready("deleted", "forced", "ends", "fails", "again")
    await joined.node.stop()
    await joined.delete("deleted")
    await joined.delete("forced", 0)
    await joined.create(pod("created", container("app")))
    ids = {container_id(one) for one in (deleted, forced)}
    assert ids <= await joined.containers()
    await joined.node.until(lambda: exited(joined, 3), 15)
    await joined.node.start()
    await joined.gone("deleted")
    assert state(await joined.until("ends", lambda p: phase(p) == "Succeeded"), "terminated")["exitCode"] == 0
    assert state(await joined.until("fails", lambda p: phase(p) == "Failed"), "terminated")["exitCode"] == 5
    again = await joined.until("again", lambda p: container_status(p)["restartCount"] >= 1)
    assert container_status(again)["lastState"]["terminated"]["exitCode"] == 6
    await joined.ready("created")
    await joined.node.until(lambda: without(joined, ids))


async def exited(joined, number):
    """Whether this many containers have ended."""
    listed = await joined.node.cri.list_containers()
    return sum(one.state.name == "EXITED" for one in listed) >= number


async def without(joined, ids):
    return not ids & await joined.containers()
