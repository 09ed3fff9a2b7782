"""The life of pods from the API server, as it shows them: start, changes, ends, refusals."""

import asyncio
from datetime import datetime

import pytest
from tests.integration.joined import (
    condition,
    container_id,
    container_status,
    is_ready,
    phase,
    state,
)
from tests.integration.killed_node import container
from tests.integration.node import pod

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_the_status_of_a_pod_that_runs(joined):
    made = await joined.create(pod("shown", container("app"), initContainers=[container("first", "true")]))
    [shown] = await joined.ready("shown")
    status = shown["status"]
    assert {c["type"]: c["status"] for c in status["conditions"]} == {
        "PodReadyToStartContainers": "True",
        "Initialized": "True",
        "Ready": "True",
        "ContainersReady": "True",
        "PodScheduled": "True",
    }
    generation = shown["metadata"]["generation"]
    for one in status["conditions"]:
        assert datetime.fromisoformat(one["lastTransitionTime"])
        assert one["observedGeneration"] == generation
    assert status["observedGeneration"] == generation
    assert status["phase"] == "Running"
    assert status["qosClass"] == "BestEffort"
    assert status["podIPs"] == [{"ip": status["podIP"]}]
    assert status["hostIPs"] == [{"ip": status["hostIP"]}]
    assert datetime.fromisoformat(status["startTime"]) >= datetime.fromisoformat(
        made["metadata"]["creationTimestamp"]
    )
    [app], [first] = status["containerStatuses"], status["initContainerStatuses"]
    assert app["name"] == "app"
    assert app["image"].endswith("busybox:v1")
    assert app["imageID"]
    assert app["containerID"].startswith("containerd://")
    assert (app["ready"], app["started"], app["restartCount"]) == (True, True, 0)
    assert datetime.fromisoformat(app["state"]["running"]["startedAt"])
    assert first["state"]["terminated"]["reason"] == "Completed"
    assert (first["ready"], first["state"]["terminated"]["exitCode"]) == (True, 0)
    assert app["containerID"].partition("://")[2] in await joined.containers()


async def test_changed_labels_and_annotations_touch_nothing(joined):
    mounted = container("app", volumeMounts=[{"name": "info", "mountPath": "/info"}])
    items = [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]
    manifest = pod("labelled", mounted, volumes=[{"name": "info", "downwardAPI": {"items": items}}])
    await joined.create(manifest, labels={"colour": "red"})
    [before] = await joined.ready("labelled")
    await joined.says(before, "cat /info/labels", 'colour="red"')
    await joined.patch("labelled", {"metadata": {"labels": {"colour": "blue"}, "annotations": {"a": "b"}}})
    await joined.says(before, "cat /info/labels", 'colour="blue"')
    [after] = await joined.ready("labelled")
    assert after["status"]["containerStatuses"] == before["status"]["containerStatuses"]


async def test_restart_never_ends_in_a_phase_that_stays_until_the_pod_is_deleted(joined):
    for name, script in (("done", "exit 0"), ("broken", "echo why > /dev/termination-log; exit 3")):
        await joined.create(pod(name, container("app", script), restartPolicy="Never"))
    done = await joined.until("done", lambda p: phase(p) == "Succeeded")
    broken = await joined.until("broken", lambda p: phase(p) == "Failed")
    assert state(done, "terminated")["reason"] == "Completed"
    assert condition(done, "Ready")["reason"] == "PodCompleted"
    assert condition(broken, "Ready")["reason"] == "PodFailed"
    ended = state(broken, "terminated")
    assert (ended["exitCode"], ended["reason"], ended["message"]) == (3, "Error", "why\n")
    await joined.delete("done")
    await joined.delete("broken")
    await joined.gone("done", "broken")


async def test_a_container_that_fails_is_restarted(joined):
    await joined.create(pod("crash", container("app", "sleep 0.1; exit 1"), restartPolicy="Always"))
    shown = await joined.until("crash", lambda p: container_status(p).get("restartCount", 0) >= 1)
    assert container_status(shown)["lastState"]["terminated"]["exitCode"] == 1
    assert phase(shown) == "Running"


async def test_an_active_deadline(joined):
    await joined.create(pod("late", container("app"), activeDeadlineSeconds=1))
    late = await joined.until("late", lambda p: phase(p) == "Failed")
    assert late["status"]["reason"] == "DeadlineExceeded"
    late = await joined.until("late", lambda p: state(p, "terminated"))
    await joined.delete("late")
    await joined.gone("late")


@pytest.mark.parametrize(
    ("name", "spec", "reason"),
    [
        ("big", {"resources": {"requests": {"cpu": "500"}}}, "OutOfcpu"),
        ("elsewhere", {"nodeSelector": {"no": "such"}}, "NodeAffinity"),
    ],
)
async def test_a_pod_that_the_node_refuses(joined, name, spec, reason):
    resources = {"resources": spec.pop("resources")} if "resources" in spec else {}
    made = await joined.create(pod(name, container("app", **resources), **spec))
    refused = await joined.until(name, lambda p: phase(p) == "Failed")
    assert refused["status"]["reason"] == reason
    assert refused["status"]["message"]
    assert "containerStatuses" not in refused["status"] or not state(refused, "running")
    listed = await joined.node.cri.list_containers()
    assert made["metadata"]["uid"] not in {one.labels["io.kubernetes.pod.uid"] for one in listed}
    await joined.delete(name)
    await joined.gone(name)


async def test_readiness_gates_and_foreign_conditions(joined):
    gate, foreign = "example.com/gate", "example.com/foreign"
    await joined.create(pod("gated", container("app"), readinessGates=[{"conditionType": gate}]))
    gated = await joined.until("gated", lambda p: condition(p, "ContainersReady").get("status") == "True")
    assert condition(gated, "Ready")["reason"] == "ReadinessGatesNotReady"
    for kind in (gate, foreign):
        told = {
            "type": kind,
            "status": "True",
            "reason": "Told",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        path = joined.cluster.path("pods", "gated", "status")
        await joined.cluster.patch(path, {"status": {"conditions": [told]}})
    gated = await joined.until("gated", is_ready)
    assert {c["type"] for c in gated["status"]["conditions"]} >= {gate, foreign, "Ready", "PodScheduled"}
    await joined.node.cri.stop_container(container_id(gated), 1)
    gated = await joined.until(
        "gated", lambda p: container_status(p).get("restartCount") == 1 and is_ready(p)
    )
    for kind in (gate, foreign):
        kept = condition(gated, kind)
        assert (kept["status"], kept["reason"], kept["lastTransitionTime"]) == (
            "True", "Told", "2026-01-01T00:00:00Z"
        )  # fmt: skip


async def test_a_static_pod_beside(joined):
    joined.node.apply(pod("beside", container("app")))
    await joined.create(pod("from-api", container("app")))
    await joined.ready("from-api")
    await joined.until(f"beside-{joined.name}", is_ready, namespace="default")
    await joined.delete("from-api")
    await joined.gone("from-api")
    assert joined.node.ready("beside")
    joined.node.remove("beside")
    await joined.node.gone("beside")


async def test_many_at_once(joined):
    names = [f"many-{number}" for number in range(6)]
    await asyncio.gather(*(joined.create(pod(name, container("app"))) for name in names))
    shown = await joined.ready(*names)
    assert len({one["status"]["podIP"] for one in shown}) == len(names)
    await asyncio.gather(*(joined.delete(name) for name in names))
    await joined.gone(*names)
