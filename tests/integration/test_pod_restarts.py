"""Restarts and ends by rule on the real runtime: of all containers, backed off, with hooks and signals."""

import time

import pytest
import pytest_asyncio
from tests.integration.killed_node import FOREVER, container, exec_hook
from tests.integration.node import pod, running_node

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(containerd, tmp_path_factory):
    config = {
        "crashLoopBackOff": {"maxContainerRestartPeriod": "1s"},
        "featureGates": {"ContainerStopSignals": True},
    }
    async with running_node(tmp_path_factory.mktemp("restarts"), containerd, **config) as made:
        yield made


@pytest.fixture
def diary(node, request):
    """Where containers write down what happens: the volume, the mount, and what they wrote."""
    directory = node.base / request.node.name
    directory.mkdir()

    class Diary:
        volumes = [{"name": "diary", "hostPath": {"path": str(directory)}}]
        mount = {"volumeMounts": [{"name": "diary", "mountPath": "/diary"}]}

        @staticmethod
        def lines():
            file = directory / "log"
            return file.read_text().split() if file.exists() else []

    return Diary


def writes(name, *, ends=""):
    """A script that tells of its start, and of its end when it is told to end."""
    return (
        f"echo {name}-up >> /diary/log; trap 'echo {name}-down >> /diary/log; exit 0' TERM; {ends}"
        "while :; do sleep 1000 & wait $!; done"
    )


async def test_a_rule_restarts_all_containers_in_their_sandbox(node, diary):
    rule = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}
    once = "test -e /diary/again || { touch /diary/again; sleep 0.5; exit 42; }; "
    node.apply(
        pod(
            "anew",
            container(
                "app",
                writes("app", ends=once),
                restartPolicy="Never",
                restartPolicyRules=[rule],
                **diary.mount,
            ),
            container("other", writes("other"), **diary.mount),
            initContainers=[
                container("first", "echo first >> /diary/log", **diary.mount),
                container("side", writes("side"), restartPolicy="Always", **diary.mount),
            ],
            volumes=diary.volumes,
            restartPolicy="Never",
        )
    )
    await node.until(lambda: node.restarts("anew") == 1 and node.ready("anew"))
    lines = diary.lines()
    assert lines[:2] == ["first", "side-up"]
    assert sorted(lines[2:4]) == ["app-up", "other-up"]
    # Nobody was asked politely, and all began again in the order of a start.
    assert [line for line in lines[4:] if not line.endswith("-down")][:2] == ["first", "side-up"]
    assert sorted(lines[-2:]) == ["app-up", "other-up"]
    assert [node.restarts("anew", name) for name in ("first", "side", "app", "other")] == [1, 1, 1, 1]
    for name in ("first", "side", "app", "other"):
        assert node.container("anew", name).lastState.terminated is not None
    assert node.condition("anew", "AllContainersRestarting") == "False"
    assert node.phase("anew") == "Running"
    uid = node.uid("anew")
    assert len(await node.cri.list_sandboxes(labels={"io.kubernetes.pod.uid": uid})) == 1
    assert len(await node.cri.list_containers(labels={"io.kubernetes.pod.uid": uid})) == 4
    # The logs of those that were removed are still there.
    logs = node.layout.pod_log_dir("default", node.full("anew"), uid) / "app"
    assert {file.name for file in logs.iterdir()} == {"0.log", "1.log"}
    removed = [entry.cause for entry in node.decisions("anew", "ContainerRemoved")]
    assert any("its restart rule restarts all containers" in cause for cause in removed)
    await node.delete("anew")


@pytest.mark.parametrize("source", ["sidecar", "init"])
async def test_the_end_of_an_init_container_or_sidecar_restarts_all(node, diary, source):
    rule = {"action": "RestartAllContainers", "exitCodes": {"operator": "In", "values": [42]}}
    once = (
        f"test -e /diary/again || {{ touch /diary/again; {'sleep 1.5; ' * (source == 'sidecar')}exit 42; }}; "
    )
    own = "Always" if source == "sidecar" else "Never"
    lasts = writes("source") if source == "sidecar" else ""
    init = [
        container("side", writes("side"), restartPolicy="Always", **diary.mount),
        container("first", "true"),
        container("source", once + lasts, restartPolicy=own, restartPolicyRules=[rule], **diary.mount),
    ]
    name = f"by-{source}"
    node.apply(
        pod(name, container("app", writes("app"), **diary.mount), initContainers=init, volumes=diary.volumes,
            restartPolicy="Never")
    )  # fmt: skip
    restarted = ["side", "first", "source", *(["app"] if source == "sidecar" else [])]
    await node.until(lambda: node.ready(name) and node.restarts(name, "source") == 1)
    for one in restarted:
        status = node.container(name, one)
        assert status.restartCount == 1, one
        assert status.lastState.terminated is not None, one
    assert node.restarts(name) == (1 if source == "sidecar" else 0)
    await node.delete(name)


async def test_a_crashing_container_waits_no_longer_than_configured(node):
    node.apply(pod("crashing", container("app", "exit 1")))
    await node.until(lambda: node.restarts("crashing") >= 3)
    name = f"{node.full('crashing')}_default({node.uid('crashing')})"
    told = node.decisions("crashing", "BackOff")[-1].text
    assert told == f"back-off 1s restarting failed container=app pod={name}"
    await node.until(lambda: (w := node.waiting("crashing")) and w.reason == "CrashLoopBackOff")
    assert node.events("crashing", "BackOff")
    await node.delete("crashing")


async def test_a_sidecars_hook_runs_in_the_grace_and_its_signal_comes_after_the_others_end(node, diary):
    side = container(
        "side",
        writes("side"),
        restartPolicy="Always",
        lifecycle={"preStop": exec_hook("echo side-pre >> /diary/log")},
        **diary.mount,
    )
    slow = "echo app-up >> /diary/log; trap 'sleep 1; echo app-down >> /diary/log; exit 0' TERM; "
    app = container("app", slow + "while :; do sleep 1000 & wait $!; done", **diary.mount)
    node.apply(pod("ordered", app, initContainers=[side], volumes=diary.volumes, grace=8))
    await node.until(lambda: node.ready("ordered") and len(diary.lines()) == 2)
    await node.delete("ordered")
    assert diary.lines() == ["side-up", "app-up", "side-pre", "app-down", "side-down"]


async def test_a_hook_that_outlives_the_grace_has_two_seconds_more(node, diary):
    # It ends in the time that the deaf container is still given.
    late = "sleep 2.5; echo late >> /diary/log"
    deaf = "trap '' TERM; while :; do sleep 0.2; done"
    never = {"preStop": exec_hook("echo on; sleep 60")}
    node.apply(
        pod("late", container("app", deaf, lifecycle={"preStop": exec_hook(late)}, **diary.mount),
            volumes=diary.volumes, grace=2),
        pod("never", container("app", deaf, lifecycle=never), grace=1),
    )  # fmt: skip
    await node.until(lambda: node.ready("late", "never"))
    began = time.monotonic()
    await node.delete("late", "never")
    assert time.monotonic() - began >= 3
    assert diary.lines() == ["late"]
    assert node.events("late", "FailedPreStopHook") == []
    # The command ended with its container, and so failed.
    assert node.decisions("never", "Hook")[0].cause == "its command exited with 137"
    assert [e.text for e in node.events("never", "FailedPreStopHook")] == ["PreStopHook failed"]


async def test_the_stop_signal_that_a_container_asks_for(node, diary):
    script = (
        "trap 'echo usr1 >> /diary/log; exit 0' USR1; trap 'echo term >> /diary/log; exit 0' TERM; "
        "while :; do sleep 1000 & wait $!; done"
    )
    asked = container("app", script, lifecycle={"stopSignal": "SIGUSR1"}, **diary.mount)
    node.apply(pod("signalled", asked, volumes=diary.volumes, os={"name": "linux"}))
    await node.until(lambda: node.ready("signalled"))
    version = await node.cri.version()
    # containerd 1.x does not know the field: it takes the image's signal, and tells of none.
    knows = version.runtime_name != "containerd" or not version.runtime_version.lstrip("v").startswith("1.")
    shown = node.container("signalled").stopSignal
    await node.delete("signalled")
    assert diary.lines() == ["usr1" if knows else "term"]
    assert bool(shown) is knows


async def test_the_messages_of_a_pods_containers_share_twelve_kilobytes(node):
    script = "yes | head -c 9000 > /dev/termination-log"
    names = [f"c{number}" for number in range(4)]
    node.apply(pod("chatty", *(container(name, script) for name in names), restartPolicy="Never"))
    await node.until(lambda: node.phase("chatty") == "Succeeded")
    assert [len(node.terminated("chatty", name).message) for name in names] == [3072] * 4
    await node.delete("chatty")


async def test_a_pod_whose_worker_is_busy_shows_at_once_what_its_probes_find(node, diary):
    def there(file):
        return {
            "exec": {"command": ["test", "-e", f"/diary/{file}"]},
            "periodSeconds": 1,
            "failureThreshold": 1,
        }

    # Its end takes as long as its hook: the pod's worker waits for it.
    held = {"preStop": exec_hook("until test -e /diary/over; do sleep 0.1; done")}
    busy = container("busy", "touch /diary/alive; " + FOREVER, livenessProbe=there("alive"), lifecycle=held,
                     **diary.mount)  # fmt: skip
    app = container("app", readinessProbe=there("ready"), **diary.mount)
    node.apply(pod("busied", app, busy, volumes=diary.volumes, grace=60))
    await node.until(lambda: node.runs("busied") and node.runs("busied", "busy"))
    await node.exec("busied", "rm /diary/alive")
    await node.until(lambda: node.events("busied", "Killing"))
    await node.exec("busied", "touch /diary/ready")
    await node.until(lambda: node.ready("busied"))
    await node.exec("busied", "rm /diary/ready")
    await node.until(lambda: not node.ready("busied"))
    assert node.decisions("busied", "Hook") == []
    assert node.restarts("busied", "busy") == 0
    await node.exec("busied", "touch /diary/over")
    await node.until(lambda: node.restarts("busied", "busy") == 1)
    await node.delete("busied")
