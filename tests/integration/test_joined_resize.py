"""Pods of a cluster's node resized in place: seen from inside, in their cgroups, and in their statuses."""

import asyncio

import pytest
from tests.integration.joined import condition, container_id, container_status
from tests.integration.killed_node import container
from tests.integration.node import pod

from pykubelet.pods.resize.state_file import decode_state

pytestmark = pytest.mark.asyncio(loop_scope="module")

MIB = 1 << 20


def amounts(cpu, memory, request=None):
    """Resources with these limits; requests are the same unless *request* gives their CPU and memory."""
    asked = {"cpu": cpu, "memory": memory} if request is None else {"cpu": request[0], "memory": request[1]}
    return {"limits": {"cpu": cpu, "memory": memory}, "requests": asked}


def policy(**restarts):
    return [{"resourceName": name, "restartPolicy": value} for name, value in restarts.items()]


async def resize(joined, name, **containers):
    """Ask for other resources, as ``kubectl patch --subresource resize`` does."""
    listed = [{"name": each, "resources": resources} for each, resources in containers.items()]
    path = joined.cluster.path("pods", name, "resize")
    return await joined.cluster.patch(path, {"spec": {"containers": listed}})


def settled(generation):
    """Whether a pod is shown as resized to its *generation* and ready."""

    def holds(found):
        return (
            found["status"].get("observedGeneration", 0) >= generation
            and not condition(found, "PodResizePending")
            and not condition(found, "PodResizeInProgress")
            and condition(found, "Ready").get("status") == "True"
        )

    return holds


async def resized(joined, name, **containers):
    """Resize and wait for it: the pod after."""
    asked = await resize(joined, name, **containers)
    return await joined.until(name, settled(asked["metadata"]["generation"]))


async def in_force(joined, found, name=""):
    """CPU quota, shares and memory of the pod's cgroup, or of a container's in it, as the kernel has them."""
    kubelet = joined.node.kubelet
    path = kubelet.node.cgroups.parent(kubelet.intake.store.get(found["metadata"]["uid"]))
    path = f"{path}/{container_id(found, name)}" if name else path
    limits = await asyncio.to_thread(kubelet.ground.host.cgroups.limits, path)
    return limits.cpu_quota, limits.cpu_shares, limits.memory


def shown(found, name="app"):
    """What the container's status says: resources, and what is allocated."""
    status = container_status(found, name)
    return status["resources"], status["allocatedResources"]


def events(joined, found):
    told = joined.node.kubelet.ground.journal.events_of(found["metadata"]["uid"])
    return [event.what for event in told if event.what.startswith("Resize")]


async def test_up_and_down_without_a_restart(joined):
    small, large = amounts("100m", "32Mi"), amounts("200m", "64Mi")
    await joined.create(pod("plain", container("app", resources=small), container("other", resources=small)))
    [before] = await joined.ready("plain")
    assert await in_force(joined, before) == (20_000, 204, 64 * MIB)
    after = await resized(joined, "plain", app=large)
    assert await in_force(joined, after) == (30_000, 307, 96 * MIB)
    assert await in_force(joined, after, "app") == (20_000, 204, 64 * MIB)
    assert await in_force(joined, after, "other") == (10_000, 102, 32 * MIB)
    assert shown(after) == (large, large["requests"])
    assert shown(after, "other") == (small, small["requests"])
    assert after["status"]["resources"] == amounts("300m", "96Mi")
    # The same instances run on.
    assert container_id(after) == container_id(before)
    assert container_status(after)["restartCount"] == 0
    # Seen from inside.
    inside = "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2> /dev/null; true"
    assert await joined.exec(after, inside) == str(64 * MIB)
    # One up, one down, one of each.
    mixed = await resized(joined, "plain", app=amounts("100m", "96Mi"), other=amounts("150m", "24Mi"))
    assert await in_force(joined, mixed) == (25_000, 256, 120 * MIB)
    assert await in_force(joined, mixed, "app") == (10_000, 102, 96 * MIB)
    assert await in_force(joined, mixed, "other") == (15_000, 153, 24 * MIB)
    back = await resized(joined, "plain", app=small, other=small)
    assert await in_force(joined, back) == (20_000, 204, 64 * MIB)
    assert events(joined, back) == ["ResizeStarted", "ResizeCompleted"] * 3
    story = joined.story("plain")
    assert "ResizeAccepted" in story or "allocated: app requests cpu=200m" in story
    await joined.delete("plain")
    await joined.gone("plain")


async def test_requests_alone_and_both_checkpoints(joined):
    await joined.create(pod("asking", container("app", resources=amounts("200m", "64Mi", ("50m", "16Mi")))))
    [before] = await joined.ready("asking")
    wanted = amounts("200m", "64Mi", ("100m", "32Mi"))
    after = await resized(joined, "asking", app=wanted)
    assert await in_force(joined, after) == await in_force(joined, after, "app") == (20_000, 102, 64 * MIB)
    assert shown(after) == (wanted, wanted["requests"])
    assert container_id(after) == container_id(before)
    uid, layout = after["metadata"]["uid"], joined.node.layout
    for file in (layout.allocated_state, layout.actuated_state):
        recorded = decode_state(file.read_bytes())[uid].containers["app"]
        assert {name: str(each) for name, each in recorded.requests.items()} == wanted["requests"]
    await joined.delete("asking")
    await joined.gone("asking")


async def test_a_policy_that_wants_a_restart(joined):
    small = amounts("100m", "32Mi")
    restarts = policy(cpu="NotRequired", memory="RestartContainer")
    sidecar = container("side", resources=small, restartPolicy="Always", resizePolicy=restarts)
    await joined.create(
        pod("policy", container("app", resources=small, resizePolicy=restarts), initContainers=[sidecar])
    )
    [before] = await joined.ready("policy")
    cpu = await resized(joined, "policy", app=amounts("150m", "32Mi"))
    assert container_id(cpu) == container_id(before)
    memory = await resized(joined, "policy", app=amounts("150m", "48Mi"))
    assert container_status(memory)["restartCount"] == 1
    assert container_status(memory, "side")["restartCount"] == 0
    assert await in_force(joined, memory, "app") == (15_000, 153, 48 * MIB)
    assert await in_force(joined, memory) == (25_000, 256, 80 * MIB)
    path = joined.cluster.path("pods", "policy", "resize")
    body = {"spec": {"initContainers": [{"name": "side", "resources": amounts("100m", "40Mi")}]}}
    asked = await joined.cluster.patch(path, body)
    side = await joined.until("policy", settled(asked["metadata"]["generation"]))
    assert container_status(side, "side")["restartCount"] == 1
    assert container_id(side) == container_id(memory)
    assert await in_force(joined, side, "side") == (10_000, 102, 40 * MIB)
    assert await in_force(joined, side) == (25_000, 256, 88 * MIB)
    assert "requires restart" in joined.story("policy")
    await joined.delete("policy")
    await joined.gone("policy")


async def test_what_does_not_fit_waits_until_another_pod_leaves(joined):
    free = joined.node.kubelet.node.info.allocatable["cpu"].milli_value()
    most = f"{free - 300}m"
    small = amounts("100m", "32Mi")
    await joined.create(pod("leaves", container("app", resources={"requests": {"cpu": most}})))
    await joined.create(pod("waits", container("app", resources={"requests": {"cpu": "100m"}})))
    await joined.create(pod("shrinks", container("app", resources=small)))
    before = (await joined.ready("leaves", "waits", "shrinks"))[1]
    await resize(joined, "waits", app={"requests": {"cpu": "400m"}})
    waits = await joined.until("waits", lambda p: condition(p, "PodResizePending"))
    pending = condition(waits, "PodResizePending")
    assert (pending["status"], pending["reason"]) == ("True", "Deferred")
    assert pending["observedGeneration"] == waits["metadata"]["generation"]
    assert pending["message"].startswith("Node didn't have enough resource: cpu, requested: 400, used: ")
    # It keeps what it has, and is shown so.
    assert shown(waits)[1] == {"cpu": "100m"}
    assert (await in_force(joined, waits))[1] == 102
    # A resize that needs less is not held up.
    await resized(joined, "shrinks", app=amounts("50m", "32Mi"))
    assert condition(await joined.pod("waits"), "PodResizePending")
    # A daemon that begins anew knows that the pod waits, and does not refuse it.
    await joined.node.restart()
    waits = await joined.until("waits", lambda p: condition(p, "PodResizePending"))
    assert container_id(waits) == container_id(before)
    await joined.delete("leaves")
    after = await joined.until("waits", settled(waits["metadata"]["generation"]))
    assert (await in_force(joined, after))[1] == (await in_force(joined, after, "app"))[1] == 409
    assert container_id(after) == container_id(before)
    metrics = joined.node.kubelet.ground.metrics.render().decode()
    accepted = [line for line in metrics.splitlines() if line.startswith("kubelet_pod_deferred_accepted")]
    assert sum(float(line.split()[-1]) for line in accepted) == 1
    assert 'kubelet_pod_pending_resizes{reason="deferred"} 0.0' in metrics
    for name in ("waits", "shrinks"):
        await joined.delete(name)
    await joined.gone("leaves", "waits", "shrinks")


async def test_a_withdrawn_resize(joined):
    small = {"requests": {"cpu": "100m"}}
    await joined.create(pod("fickle", container("app", resources=small)))
    await joined.ready("fickle")
    await resize(joined, "fickle", app={"requests": {"cpu": "1000"}})
    await joined.until("fickle", lambda p: condition(p, "PodResizePending"))
    found = await resized(joined, "fickle", app=small)
    assert (await in_force(joined, found))[1] == 102
    assert events(joined, found) == ["ResizeDeferred"]
    await joined.delete("fickle")
    await joined.gone("fickle")


async def test_memory_below_what_is_used_is_refused_until_it_is_free(joined):
    # A file in memory counts for the container that wrote it.
    holds = "trap 'exit 0' TERM; dd if=/dev/zero of=/dev/shm/full bs=1M count=40 2>/dev/null; "
    script = holds + "while :; do sleep 0.2 & wait $!; [ ! -e /dev/shm/free ] || rm -f /dev/shm/full; done"
    await joined.create(pod("full", container("app", script, resources=amounts("100m", "128Mi"))))
    [before] = await joined.ready("full")
    await joined.says(before, "du -m /dev/shm/full | cut -f1", "40")
    asked = await resize(joined, "full", app=amounts("100m", "24Mi"))
    failed = await joined.until(
        "full", lambda p: condition(p, "PodResizeInProgress").get("reason") == "Error"
    )
    told = condition(failed, "PodResizeInProgress")
    assert "memory limit (25165824) below current usage (" in told["message"]
    assert told["observedGeneration"] == asked["metadata"]["generation"]
    assert shown(failed)[0] == amounts("100m", "128Mi")
    assert shown(failed)[1] == amounts("100m", "24Mi")["requests"]
    assert (await in_force(joined, failed, "app"))[2] == 128 * MIB
    await joined.exec(failed, "touch /dev/shm/free")
    # It is tried again; a look at the pod need not wait for its time.
    await joined.says(before, "ls /dev/shm", "free")
    joined.node.kubelet.pods.manager.sync(before["metadata"]["uid"], "the test wants it")
    after = await joined.until("full", settled(asked["metadata"]["generation"]))
    assert await in_force(joined, after) == await in_force(joined, after, "app") == (10_000, 102, 24 * MIB)
    assert container_id(after) == container_id(before)
    assert events(joined, after) == ["ResizeStarted", "ResizeError", "ResizeCompleted"]
    await joined.delete("full")
    await joined.gone("full")


async def test_the_pod_as_a_whole(joined):
    whole = amounts("200m", "64Mi")
    manifest = pod("whole", container("app"), container("bounded", resources=amounts("50m", "16Mi")))
    manifest["spec"]["resources"] = whole
    await joined.create(manifest)
    [before] = await joined.ready("whole")
    assert await in_force(joined, before) == (20_000, 204, 64 * MIB)
    assert (await in_force(joined, before, "app"))[::2] == (20_000, 64 * MIB)
    larger = amounts("300m", "96Mi")
    asked = await joined.cluster.patch(
        joined.cluster.path("pods", "whole", "resize"), {"spec": {"resources": larger}}
    )
    after = await joined.until("whole", settled(asked["metadata"]["generation"]))
    assert await in_force(joined, after) == (30_000, 307, 96 * MIB)
    # The container without limits of its own is bounded by the pod's.
    assert (await in_force(joined, after, "app"))[::2] == (30_000, 96 * MIB)
    assert (await in_force(joined, after, "bounded"))[::2] == (5_000, 16 * MIB)
    assert after["status"]["resources"] == larger
    assert after["status"]["allocatedResources"] == larger["requests"]
    assert {container_status(after, name)["restartCount"] for name in ("app", "bounded")} == {0}
    assert events(joined, after) == ["ResizeStarted", "ResizeCompleted"]
    await joined.delete("whole")
    await joined.gone("whole")


async def test_a_static_pod_whose_manifest_keeps_its_uid(joined):
    manifest = pod("fixed", container("app", resources=amounts("100m", "32Mi")))
    manifest["metadata"]["uid"] = "11111111-2222-3333-4444-555555555555"
    joined.node.apply(manifest)
    await joined.node.until(lambda: joined.node.ready("fixed"))
    before = joined.node.container("fixed").containerID
    manifest["spec"]["containers"][0]["resources"] = amounts("150m", "48Mi")
    joined.node.apply(manifest)
    limits = {"cpu": "150m", "memory": "48Mi"}
    await joined.node.until(lambda: static_limits(joined) == limits)
    assert joined.node.container("fixed").containerID == before
    parent = joined.node.kubelet.node.cgroups.parent(joined.node.pod("fixed"))
    kernels = await asyncio.to_thread(joined.node.kubelet.ground.host.cgroups.limits, parent)
    assert kernels.memory == 48 * MIB
    # Another class of service is refused: the pod would have to move to another cgroup.
    manifest["spec"]["containers"][0]["resources"] = amounts("150m", "48Mi", ("100m", "48Mi"))
    joined.node.apply(manifest)
    await joined.node.until(lambda: joined.node.condition("fixed", "PodResizePending") == "True")
    assert static_limits(joined) == limits
    assert events(joined, manifest)[-1] == "ResizeInfeasible"
    joined.node.remove("fixed")
    await joined.node.gone("fixed")


def static_limits(joined):
    status = joined.node.container("fixed")
    return {name: str(each) for name, each in status.resources.limits.items()}
