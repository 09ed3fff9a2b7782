"""A pod's life on the real runtime: starts, restarts, init containers, sidecars, ends."""

import asyncio
import os
import signal
import time

import pytest
import pytest_asyncio
from tests.integration.killed_node import container
from tests.integration.node import pod, running_node

from pykubelet.base.tasks import TaskOwner
from pykubelet.cli.up.images import BUSYBOX
from pykubelet.cri.types import ContainerState, SandboxState

pytestmark = pytest.mark.asyncio(loop_scope="module")

#: Never ends by itself nor when told to.
DEAF = "trap '' TERM; while :; do sleep 0.2; done"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(containerd, tmp_path_factory):
    async with running_node(tmp_path_factory.mktemp("life"), containerd) as made:
        yield made


@pytest.fixture
def diary(node, request):
    """A file of the host that containers append to, as the volume and mount that they need."""
    directory = node.base / request.node.name
    directory.mkdir()

    class Diary:
        volume = {"name": "diary", "hostPath": {"path": str(directory)}}
        mount = {"volumeMounts": [{"name": "diary", "mountPath": "/diary"}]}

        @staticmethod
        def lines():
            file = directory / "log"
            return file.read_text().split() if file.exists() else []

    return Diary


def writes(name):
    """A script that tells of its start and of its end, and lasts."""
    return (
        f"echo {name}-up >> /diary/log; trap 'echo {name}-down >> /diary/log; exit 0' TERM; "
        "while :; do sleep 1000 & wait $!; done"
    )


async def test_a_pod_runs_and_is_ready(node):
    node.apply(pod("plain", container("app")))
    await node.until(lambda: node.ready("plain"))
    status = node.status("plain")
    app = node.container("plain")
    assert (status.phase, status.qosClass) == ("Running", "BestEffort")
    assert [(c.type, c.status) for c in status.conditions] == [
        ("PodReadyToStartContainers", "True"),
        ("Initialized", "True"),
        ("Ready", "True"),
        ("ContainersReady", "True"),
        ("PodScheduled", "True"),
    ]
    assert (app.ready, app.started, app.restartCount) == (True, True, 0)
    assert app.containerID.startswith(f"{node.kubelet.runtime.view.name}://")
    assert app.image == BUSYBOX
    assert status.podIP
    assert status.hostIP
    assert status.startTime is not None
    assert [e.what for e in node.events("plain")] == ["Pulled", "Created", "Started"]
    await node.delete("plain")


async def test_restart_policies(node):
    def short(name, policy, code):
        return pod(name, container("app", f"sleep 0.1; exit {code}"), restartPolicy=policy)

    node.apply(
        short("always", "Always", 0),
        short("onfailure-good", "OnFailure", 0),
        short("onfailure-bad", "OnFailure", 4),
        short("never-good", "Never", 0),
        short("never-bad", "Never", 5),
    )
    await node.until(lambda: node.phase("onfailure-good") == node.phase("never-good") == "Succeeded")
    await node.until(lambda: node.phase("never-bad") == "Failed")
    await node.until(lambda: node.restarts("always") == node.restarts("onfailure-bad") == 1)
    assert node.terminated("never-bad").exitCode == 5
    assert node.terminated("never-bad").reason == "Error"
    assert node.terminated("never-good").reason == "Completed"
    ready = next(c for c in node.status("never-good").conditions if c.type == "Ready")
    assert (ready.status, ready.reason) == ("False", "PodCompleted")
    assert node.container("always").lastState.terminated.exitCode == 0
    assert node.container("onfailure-bad").lastState.terminated.exitCode == 4
    # What has ended stays as it is, and so do its dead container and its log.
    before = {name: node.status(name) for name in ("onfailure-good", "never-good", "never-bad")}
    for name in before:
        node.kubelet.pods.manager.sync(node.uid(name), "the test asks")
    await asyncio.sleep(0.5)
    for name, status in before.items():
        assert node.phase(name) == status.phase
        assert node.restarts(name) == 0
        found = await node.cri.container_status(node.container_id(name))
        assert found.state is ContainerState.EXITED
    await node.delete("always", "onfailure-good", "onfailure-bad", "never-good", "never-bad")


async def test_a_crashing_container_backs_off_ten_seconds(node):
    node.apply(pod("crasher", container("app", "echo boom; exit 3")))
    waiting = await node.until(lambda: node.waiting("crasher") and node.restarts("crasher") == 1 and (
        node.waiting("crasher") if node.waiting("crasher").reason == "CrashLoopBackOff" else None
    ))  # fmt: skip
    where = f"{node.full('crasher')}_default({node.uid('crasher')})"
    assert waiting.message == f"back-off 10s restarting failed container=app pod={where}"
    assert node.container("crasher").lastState.terminated.exitCode == 3
    assert not node.ready("crasher")
    assert node.phase("crasher") == "Running"
    event = node.events("crasher", "BackOff")[0]
    assert event.text == f"Back-off restarting failed container app in pod {where}"
    assert event.type == "Warning"
    ended = node.container("crasher").lastState.terminated.finishedAt.timestamp()
    await node.until(lambda: node.restarts("crasher") == 2, 14)
    # The end is told in whole seconds.
    assert 9.5 <= time.time() - ended <= 13
    await node.until(lambda: (w := node.waiting("crasher")) and w.message.startswith("back-off 20s"))
    # Of the dead only the newest is kept.
    uid = node.uid("crasher")

    async def one_left():
        return len(await node.cri.list_containers(labels={"io.kubernetes.pod.uid": uid})) == 1

    await node.until(one_left)
    await node.delete("crasher")


async def test_init_containers_run_in_order(node, diary):
    def step(name, script="true"):
        return container(name, f"echo {name} >> /diary/log; {script}", **diary.mount)

    node.apply(
        pod(
            "inits",
            container("app", writes("app"), **diary.mount),
            initContainers=[step("one", "sleep 0.3"), step("two"), step("three")],
            volumes=[diary.volume],
        )
    )
    await node.until(lambda: (w := node.waiting("inits")) and w.reason == "PodInitializing")
    assert node.condition("inits", "Initialized") == "False"
    assert node.phase("inits") == "Pending"
    await node.until(lambda: node.ready("inits"))
    await node.until(lambda: diary.lines() == ["one", "two", "three", "app-up"])
    assert [c.name for c in node.status("inits").initContainerStatuses] == ["one", "two", "three"]
    assert node.terminated("inits", "two").reason == "Completed"
    assert node.condition("inits", "Initialized") == "True"
    await node.delete("inits")


async def test_a_failing_init_container(node):
    failing = container("first", "exit 9")
    node.apply(
        pod("init-never", container("app"), initContainers=[failing], restartPolicy="Never"),
        pod("init-always", container("app"), initContainers=[failing, container("second")]),
    )
    await node.until(lambda: node.phase("init-never") == "Failed")
    assert node.terminated("init-never", "first").exitCode == 9
    assert node.waiting("init-never").reason == "PodInitializing"
    await node.until(lambda: (w := node.waiting("init-always", "first")) and w.reason == "CrashLoopBackOff")
    assert node.restarts("init-always", "first") >= 1
    assert node.phase("init-always") == "Pending"
    assert node.waiting("init-always", "second").reason == "PodInitializing"
    conditions = {c.type: c for c in node.status("init-always").conditions}
    assert conditions["Initialized"].reason == "ContainersNotInitialized"
    assert conditions["Initialized"].message == "containers with incomplete status: [first second]"
    await node.delete("init-never", "init-always")


async def test_sidecars_start_first_and_end_last_in_reverse(node, diary):
    def sidecar(name):
        return container(name, writes(name), restartPolicy="Always", **diary.mount)

    node.apply(
        pod(
            "sided",
            container("app", writes("app"), **diary.mount),
            initContainers=[sidecar("side1"), sidecar("side2")],
            volumes=[diary.volume],
            grace=10,
        )
    )
    await node.until(lambda: node.ready("sided") and len(diary.lines()) == 3)
    assert all(node.runs("sided", name) for name in ("side1", "side2", "app"))
    # A sidecar that ends is started again, whatever the rest does.
    app = node.container_id("sided")
    os.kill(await node.pid(node.container_id("sided", "side1")), signal.SIGKILL)
    await node.until(lambda: node.restarts("sided", "side1") == 1 and node.runs("sided", "side1"))
    assert node.container_id("sided") == app
    started = time.monotonic()
    await node.delete("sided")
    assert time.monotonic() - started < 6
    lines = diary.lines()
    assert lines[:3] == ["side1-up", "side2-up", "app-up"]
    assert lines[-3:] == ["app-down", "side2-down", "side1-down"]


async def test_a_job_with_a_sidecar_completes(node, diary):
    node.apply(
        pod(
            "sidejob",
            container("app", "sleep 0.3; echo done >> /diary/log", **diary.mount),
            initContainers=[container("side", writes("side"), restartPolicy="Always", **diary.mount)],
            volumes=[diary.volume],
            restartPolicy="OnFailure",
        )
    )
    await node.until(lambda: node.phase("sidejob") == "Succeeded")
    await node.until(lambda: node.terminated("sidejob", "side"))
    assert node.terminated("sidejob", "side").exitCode == 0
    assert diary.lines() == ["side-up", "done", "side-down"]
    await node.delete("sidejob")


async def test_a_container_killed_from_outside_is_restarted(node):
    node.apply(pod("struck", container("app"), container("other")))
    await node.until(lambda: node.ready("struck"))
    other = node.container_id("struck", "other")
    os.kill(await node.pid(node.container_id("struck")), signal.SIGKILL)
    await node.until(lambda: node.restarts("struck") == 1 and node.ready("struck"))
    last = node.container("struck").lastState.terminated
    assert (last.exitCode, last.reason) == (137, "Error")
    assert node.container_id("struck", "other") == other
    assert node.restarts("struck", "other") == 0
    await node.delete("struck")


async def test_a_killed_sandbox_is_made_anew_once(node):
    node.apply(pod("boxed", container("app"), container("other")))
    await node.until(lambda: node.ready("boxed"))
    uid = node.uid("boxed")
    labels = {"io.kubernetes.pod.uid": uid}
    old = (await node.cri.list_sandboxes(labels=labels))[0]
    os.kill(await node.sandbox_pid(old.id), signal.SIGKILL)

    def again():
        return node.ready("boxed") and node.restarts("boxed") == node.restarts("boxed", "other") == 1

    await node.until(again)
    await asyncio.sleep(0.3)
    await node.until(again)
    assert len(node.decisions("boxed", "CreateSandbox")) == 2
    events = node.events("boxed", "SandboxChanged")
    assert [(e.text, e.count) for e in events] == [
        ("Pod sandbox changed, it will be killed and re-created.", 1)
    ]
    ready = await node.cri.list_sandboxes(labels=labels, state=SandboxState.READY)
    assert [box.attempt for box in ready] == [1]
    await node.delete("boxed")


async def test_another_image_restarts_only_that_container(node, containerd):
    second = BUSYBOX.replace(":v1", ":v2")
    containerd.ctr("images", "tag", "--force", BUSYBOX, second)

    async def known():
        return await node.cri.image_status(second)

    await node.until(known)
    manifest = pod("changing", container("app"), container("other"))
    manifest["metadata"]["uid"] = "6f0e4b5a-0000-4000-8000-000000000001"
    node.apply(manifest)
    await node.until(lambda: node.ready("changing"))
    app, other = node.container_id("changing"), node.container_id("changing", "other")
    manifest["spec"]["containers"][0]["image"] = second
    node.apply(manifest)
    await node.until(lambda: node.restarts("changing") == 1 and node.ready("changing"))
    assert node.container_id("changing") != app
    assert node.container_id("changing", "other") == other
    texts = [e.text for e in node.events("changing", "Killing")]
    assert texts == ["Container app definition changed, will be restarted"]
    # What is no part of the hash changes nothing that runs.
    app = node.container_id("changing")
    manifest["spec"]["containers"][0]["env"] = [{"name": "A", "value": "b"}]
    node.apply(manifest)
    await node.until(lambda: node.pod("changing").spec.containers[0].env)
    await asyncio.sleep(0.3)
    assert node.container_id("changing") == app
    await node.delete("changing")


async def test_a_changed_manifest_is_a_new_pod_after_the_old(node, diary):
    def manifest(word):
        return pod("fresh", container("app", writes(word), **diary.mount), volumes=[diary.volume])

    node.apply(manifest("old"))
    await node.until(lambda: node.ready("fresh"))
    old = node.uid("fresh")
    node.apply(manifest("new"))
    await node.until(lambda: node.uid("fresh") != old and node.ready("fresh"))
    await node.until(lambda: diary.lines() == ["old-up", "old-down", "new-up"])
    new = node.uid("fresh")
    # The same content written once more is the same pod.
    node.apply(manifest("new"))
    await asyncio.sleep(0.3)
    assert node.uid("fresh") == new
    # Another file name is another pod: the file is part of its UID.
    (node.manifests / "fresh.yaml").rename(node.manifests / "renamed.yaml")
    await node.until(lambda: node.uid("fresh") != new and node.ready("fresh"))
    await node.until(lambda: diary.lines() == ["old-up", "old-down", "new-up", "new-down", "new-up"])
    (node.manifests / "renamed.yaml").unlink()
    await node.gone("fresh")


async def test_the_stop_signal_and_then_sigkill_after_the_grace(node, diary):
    node.apply(
        pod("told", container("app", writes("app"), **diary.mount), volumes=[diary.volume], grace=30),
        pod("deaf", container("app", DEAF), grace=3),
    )
    await node.until(lambda: node.ready("told", "deaf") and diary.lines())
    began = time.monotonic()
    node.remove("told", "deaf")
    await node.gone("told", seconds=4)
    assert diary.lines() == ["app-up", "app-down"]
    assert node.pod("deaf") is not None
    await node.gone("deaf", seconds=6)
    assert 3 <= time.monotonic() - began < 5
    assert [e.text for e in node.events("deaf", "Killing")] == ["Stopping container app"]


async def test_a_shortened_grace_takes_effect_while_the_container_is_being_stopped(node):
    node.apply(pod("slow", container("app", DEAF), grace=60))
    await node.until(lambda: node.ready("slow"))
    uid = node.uid("slow")
    tasks = TaskOwner("test")

    def kill(grace):
        return node.kubelet.pods.manager.kill(
            uid, "the test says so", lambda status: status, grace, evict=True
        )

    long = tasks.spawn("long", kill(50))
    await node.until(lambda: node.events("slow", "Killing"))
    await asyncio.sleep(0.5)
    began = time.monotonic()
    await kill(1)
    # Two seconds are the least that the runtime is told.
    assert time.monotonic() - began < 3.5
    await long
    await tasks.close()
    assert len(node.decisions("slow", "GraceShortened")) == 1
    await node.delete("slow")


async def test_a_pod_past_its_deadline_fails(node):
    node.apply(pod("late", container("app"), activeDeadlineSeconds=2))
    await node.until(lambda: node.phase("late") == "Failed")
    status = node.status("late")
    assert status.reason == "DeadlineExceeded"
    assert status.message == "Pod was active on the node longer than the specified deadline"
    assert node.events("late", "DeadlineExceeded")
    await node.until(lambda: node.terminated("late"))
    await node.delete("late")


async def test_twelve_pods_at_once(node):
    names = [f"many{n}" for n in range(12)]
    node.apply(*(pod(name, container("app")) for name in names))
    await node.until(lambda: node.ready(*names), 30)
    addresses = {node.status(name).podIP for name in names}
    assert len(addresses) == len(names)
    await node.delete(*names, seconds=30)


async def test_what_a_finished_pod_left_goes_with_its_manifest(node):
    node.apply(pod("done", container("app", "exit 0"), restartPolicy="Never"))
    await node.until(lambda: node.phase("done") == "Succeeded")
    uid = node.uid("done")
    labels = {"io.kubernetes.pod.uid": uid}
    logs = node.layout.pod_log_dir("default", node.full("done"), uid)
    assert (logs / "app" / "0.log").exists()
    assert len(await node.cri.list_containers(labels=labels)) == 1
    node.remove("done")

    async def left():
        return [*await node.cri.list_containers(labels=labels), *await node.cri.list_sandboxes(labels=labels)]

    async def clean():
        return not await left() and not logs.exists()

    await node.until(clean, 5)


async def test_a_killed_sandbox_by_restart_policy(node, diary):
    once = container(
        "app",
        "[ -e /disk/x ] || { touch /disk/x; exec sleep 1000; }; echo again >> /diary/log; exit 0",
        volumeMounts=[{"name": "disk", "mountPath": "/disk"}, *diary.mount["volumeMounts"]],
    )
    disk = {"name": "disk", "emptyDir": {}}
    init = container("init", "echo init >> /diary/log", **diary.mount)
    node.apply(
        pod("box-never", container("app", "trap 'exit 3' TERM; sleep 1000 & wait"), restartPolicy="Never"),
        pod("box-init", container("app"), initContainers=[init], volumes=[diary.volume]),
        pod("box-job", once, restartPolicy="OnFailure", volumes=[disk, diary.volume]),
    )
    names = ("box-never", "box-init", "box-job")
    await node.until(lambda: node.ready(*names))
    for name in names:
        box = (await node.cri.list_sandboxes(labels={"io.kubernetes.pod.uid": node.uid(name)}))[0]
        os.kill(await node.sandbox_pid(box.id), signal.SIGKILL)
    await node.until(lambda: node.phase("box-never") == "Failed")
    assert len(node.decisions("box-never", "CreateSandbox")) == 1
    # Its volumes outlive the sandbox.
    await node.until(lambda: node.phase("box-job") == "Succeeded")
    await node.until(lambda: node.restarts("box-init") == 1 and node.ready("box-init"))
    assert sorted(diary.lines()) == ["again", "init", "init"]
    await node.delete(*names)


async def test_restart_rules_of_containers(node):
    rule = {"action": "Restart", "exitCodes": {"operator": "In", "values": [42]}}
    ruled = {"restartPolicy": "Never", "restartPolicyRules": [rule]}
    node.apply(
        pod("rule", container("app", "sleep 0.1; exit 42", **ruled), restartPolicy="Never"),
        pod("no-rule", container("app", "sleep 0.1; exit 43", **ruled), restartPolicy="Never"),
        pod("own-never", container("app", "exit 1", restartPolicy="Never"), container("other")),
    )
    await node.until(lambda: node.restarts("rule") == 1)
    await node.until(lambda: node.phase("no-rule") == "Failed")
    await node.until(lambda: node.terminated("own-never"))
    assert node.restarts("no-rule") == node.restarts("own-never") == 0
    assert node.runs("own-never", "other")
    assert node.phase("own-never") == "Running"
    await node.delete("rule", "no-rule", "own-never")


async def test_a_sidecar_holds_up_what_follows_until_it_has_started(node, diary):
    side = container(
        "side",
        writes("side"),
        restartPolicy="Always",
        startupProbe={
            "exec": {"command": ["test", "-e", "/diary/go"]},
            "periodSeconds": 1,
            "failureThreshold": 60,
        },
        readinessProbe={"exec": {"command": ["test", "-e", "/diary/ready"]}, "periodSeconds": 1},
        **diary.mount,
    )
    next_one = container("next", "echo next >> /diary/log", **diary.mount)
    node.apply(
        pod("held", container("app", writes("app"), **diary.mount), initContainers=[side, next_one],
            volumes=[diary.volume])
    )  # fmt: skip
    await node.until(lambda: node.runs("held", "side") and diary.lines() == ["side-up"])
    await asyncio.sleep(1.2)
    assert diary.lines() == ["side-up"]
    assert node.container("held", "side").started is False
    assert node.phase("held") == "Pending"
    await node.exec("held", "touch /diary/go", "side")
    await node.until(lambda: diary.lines() == ["side-up", "next", "app-up"])
    await node.until(lambda: node.runs("held"))
    # A sidecar that is not ready keeps its pod from being so.
    assert not node.ready("held")
    await node.exec("held", "touch /diary/ready", "side")
    await node.until(lambda: node.ready("held"))
    await node.delete("held")


async def test_a_grace_of_zero_and_a_stopped_process(node):
    node.apply(
        pod("zero", container("app", DEAF), grace=0),
        pod("frozen", container("app"), grace=2),
    )
    await node.until(lambda: node.ready("zero", "frozen"))
    os.kill(await node.pid(node.container_id("frozen")), signal.SIGSTOP)
    began = time.monotonic()
    await node.delete("zero", "frozen", seconds=8)
    assert time.monotonic() - began < 6
