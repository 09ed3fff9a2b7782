"""Pods that are deleted at the API server: in order, by force, early, late, and made anew."""

import asyncio

import pytest
from tests.integration.joined import condition, container_id, phase, state
from tests.integration.killed_node import container
from tests.integration.node import pod

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: Never ends by itself, and not on SIGTERM either.
STUBBORN = "trap '' TERM; while :; do sleep 1; done"
#: Takes two seconds to end, and says so.
SLOW = "trap 'sleep 2; exit 7' TERM; while :; do sleep 0.1; done"


async def test_a_graceful_deletion(joined):
    await joined.create(pod("graceful", container("app", SLOW), grace=30))
    [before] = await joined.ready("graceful")
    await joined.delete("graceful")
    shown = await joined.until("graceful", lambda p: p["metadata"].get("deletionTimestamp"))
    assert shown["metadata"]["deletionGracePeriodSeconds"] == 30
    assert phase(shown) == "Running"
    await joined.gone("graceful")
    assert container_id(before) not in await joined.containers()


async def test_the_last_status_before_the_object_goes(joined):
    await joined.create(pod("finalized", container("app", SLOW), grace=30), finalizers=["example.com/keep"])
    await joined.ready("finalized")
    await joined.delete("finalized")
    last = await joined.until("finalized", lambda p: phase(p) == "Failed")
    assert state(last, "terminated")["exitCode"] == 7
    assert condition(last, "Ready")["status"] == "False"
    assert last["metadata"]["deletionTimestamp"]
    await joined.patch("finalized", {"metadata": {"finalizers": None}})
    await joined.gone("finalized")


async def test_a_grace_period_that_is_shortened_meanwhile(joined):
    await joined.create(pod("shortened", container("app", STUBBORN), grace=300))
    await joined.ready("shortened")
    await joined.delete("shortened")
    await asyncio.sleep(0.5)
    await joined.delete("shortened", 1)
    await joined.gone("shortened")


async def test_a_forced_deletion(joined):
    # What is no longer there bears no shorter period: the containers have the one of the spec.
    await joined.create(pod("forced", container("app", STUBBORN), grace=2))
    [before] = await joined.ready("forced")
    await joined.delete("forced", 0)
    await joined.gone("forced")
    await joined.node.until(lambda: _without(joined, container_id(before)))


async def _without(joined, *ids):
    return not set(ids) & await joined.containers()


async def test_a_pod_made_anew_under_its_name_while_the_old_one_ends(joined):
    old = await joined.create(pod("again", container("app", SLOW), grace=30))
    [before] = await joined.ready("again")
    await joined.delete("again", 0)
    await joined.gone("again", uid=old["metadata"]["uid"])
    new = await joined.create(pod("again", container("app"), grace=1))
    assert new["metadata"]["uid"] != old["metadata"]["uid"]
    [after] = await joined.ready("again")
    assert after["metadata"]["uid"] == new["metadata"]["uid"]
    assert container_id(after) != container_id(before)
    await joined.node.until(lambda: _without(joined, container_id(before)))
    await joined.delete("again")
    await joined.gone("again")


async def test_a_pod_deleted_while_its_image_cannot_be_had(joined):
    missing = {"image": "127.0.0.1:1/no-such:v1", "imagePullPolicy": "IfNotPresent"}
    await joined.create(pod("pulling", {**container("app"), **missing}))
    await joined.until(
        "pulling", lambda p: state(p, "waiting").get("reason") in {"ErrImagePull", "ImagePullBackOff"}
    )
    await joined.delete("pulling")
    await joined.gone("pulling")


async def test_a_pod_deleted_while_it_waits_for_its_volumes(joined):
    mounted = container("app", volumeMounts=[{"name": "v", "mountPath": "/v"}])
    await joined.create(pod("creating", mounted, volumes=[{"name": "v", "configMap": {"name": "missing"}}]))
    shown = await joined.until("creating", lambda p: state(p, "waiting"))
    assert state(shown, "waiting")["reason"] == "ContainerCreating"
    assert phase(shown) == "Pending"
    await joined.delete("creating")
    await joined.gone("creating")


async def test_a_pod_deleted_at_once(joined):
    for number in range(4):
        await joined.create(pod(f"hasty-{number}", container("app")))
        await asyncio.sleep(0.1 * number)
        await joined.delete(f"hasty-{number}")
    await joined.gone(*(f"hasty-{number}" for number in range(4)))


async def test_pods_deleted_while_they_start_show_no_failed_start(joined):
    joined.server.requests.clear()
    names = [f"cut{number}" for number in range(8)]

    async def live(name, seconds):
        fails = {**container("fails"), "command": ["false"]}
        await joined.create(pod(name, container("app"), initContainers=[fails], restartPolicy="Never"))
        await asyncio.sleep(seconds)
        await joined.delete(name)

    await asyncio.gather(*(live(name, 0.3 + 0.2 * number) for number, name in enumerate(names)))
    await joined.gone(*names)
    shown = [
        status
        for request in joined.requests("patch")
        if "/pods/cut" in request.path
        for kind in ("initContainerStatuses", "containerStatuses")
        for status in request.body.get("status", {}).get(kind) or ()
    ]
    ends = {
        (status["name"], end["exitCode"], end.get("reason"))
        for status in shown
        if (end := status.get("state", {}).get("terminated")) is not None
    }
    assert ends <= {
        ("fails", 1, "Error"),
        ("fails", 137, "Error"),
        ("fails", 137, "ContainerStatusUnknown"),
        ("app", 137, "ContainerStatusUnknown"),
    }
    assert not any(status.get("started") for status in shown if status["name"] == "app")
