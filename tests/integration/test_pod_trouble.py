"""Bad input and bad days on the real runtime: refused pods, broken manifests, missing images, restarts."""

import asyncio
import os
import subprocess
import time

import pytest
from tests.integration.killed_node import FOREVER, container, exec_hook
from tests.integration.node import Node, pod, running_node

from pykubelet.cri.types import ContainerState, SandboxState
from pykubelet.rpc import cri_v1

#: An image that is nowhere, at a registry that refuses at once.
NOWHERE = "127.0.0.1:1/no-such-image:v1"


@pytest.fixture
async def node(containerd, tmp_path):
    async with running_node(tmp_path, containerd) as made:
        yield made


def cpu(amount):
    return {"resources": {"requests": {"cpu": amount}}}


async def ids(node):
    """IDs of all containers that run."""
    return {c.id for c in await node.cri.list_containers(state=ContainerState.RUNNING)}


async def test_refused_pods(node):
    node.apply(pod("first", container("app", ports=[{"containerPort": 80, "hostPort": 18080}])))
    await node.until(lambda: node.ready("first"))
    node.apply(
        pod("selective", container("app"), nodeSelector={"disk": "ssd"}),
        pod("ports", container("app", ports=[{"containerPort": 80, "hostPort": 18080}])),
        pod("big", container("app", **cpu("1000"))),
        pod(
            "sysctl", container("app"), securityContext={"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}
        ),
        pod("good", container("app")),
    )
    names = ("selective", "ports", "big", "sysctl")
    await node.until(lambda: all(node.phase(name) == "Failed" for name in names) and node.ready("good"))
    reasons = {name: node.status(name).reason for name in names}
    # A static pod is critical: room is looked for, and not found.
    assert reasons == {
        "selective": "NodeAffinity",
        "ports": "NodePorts",
        "big": "UnexpectedAdmissionError",
        "sysctl": "SysctlForbidden",
    }
    message = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
    assert node.status("selective").message == f"Pod was rejected: {message}"
    for name in names:
        events = node.events(name)
        assert [(e.type, e.what) for e in events] == [("Warning", reasons[name])]
        assert node.status(name).message == f"Pod was rejected: {events[0].text}"
    labels = {"io.kubernetes.pod.uid": node.uid("ports")}
    assert await node.cri.list_sandboxes(labels=labels) == []
    # What stood in the way is gone, and the manifest comes anew.
    await node.delete("first", "ports")
    node.apply(pod("ports", container("app", ports=[{"containerPort": 80, "hostPort": 18080}])))
    await node.until(lambda: node.ready("ports"))


async def test_broken_manifests_beside_good_ones(node):
    good = pod("good", container("app"))
    node.write("broken.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: [\n")
    node.write(
        "invalid.yaml", "apiVersion: v1\nkind: Pod\nmetadata: {name: Bad_Name}\nspec: {containers: []}\n"
    )
    node.write("huge.yaml", b"#" * ((10 << 20) + 1))
    node.write("binary.yaml", os.urandom(4096))
    node.apply(good)
    node.apply(pod("good", container("other")), file="zz-duplicate.yaml")
    warned = pod("warned", container("app"))
    warned["spec"]["favouriteColour"] = "blue"
    node.apply(warned)
    node.write(
        "two.yaml",
        "---\n"
        + "---\n".join(map(yaml_of, (pod("two-a", container("app")), pod("two-b", container("app"))))),
    )
    node.write(".hidden.yaml.swp", "nonsense")
    await node.until(lambda: node.ready("good", "warned", "two-a", "two-b"))
    texts = [event.text for event in node.node_events("FailedValidation")]
    for name in ("broken", "invalid", "huge", "binary"):
        found = [text for text in texts if f"{node.manifests}/{name}.yaml" in text]
        assert len(found) == 1, (name, texts)
    assert any("larger than 10485760 bytes" in text for text in texts)
    assert not any("hidden" in text for text in texts)
    assert [c.name for c in node.status("good").containerStatuses] == ["app"]
    duplicates = [e.text for e in node.events("good", "FailedValidation")]
    assert len(duplicates) == 1
    assert f'due to duplicate pod name "{node.full("good")}", ignoring' in duplicates[0]
    warnings = [e.text for e in node.events("warned", "FailedValidation")]
    assert warnings == [
        f'unknown field "spec.favouriteColour" in manifest file "{node.manifests}/warned.yaml", ignoring'
    ]
    # Mended, it comes; broken later, its pod lives on until the recheck, and others are not touched.
    before = await ids(node)
    node.apply(pod("broken", container("app")))
    await node.until(lambda: node.ready("broken"))
    assert before <= await ids(node)
    assert any(e.what == "ManifestRecovered" for e in node.kubelet.ground.journal.of_node())


def yaml_of(manifest):
    import yaml

    return yaml.safe_dump(manifest)


async def test_images_and_commands_that_do_not_exist(node):
    gone = {"image": NOWHERE, "imagePullPolicy": "IfNotPresent"}
    node.apply(
        pod("noimage", {**container("app"), **gone}, container("fine")),
        pod("neverpull", {**container("app"), "image": NOWHERE, "imagePullPolicy": "Never"}),
        pod("badname", {**container("app"), "image": "Not A Name"}),
        pod("nocommand", {**container("app"), "command": ["/no/such/program"]}),
        pod("nodir", container("app", workingDir="/etc/passwd")),
        pod("good", container("app")),
    )
    await node.until(lambda: node.ready("good"))
    reasons: dict[str, set[str]] = {}
    messages: dict[str, str] = {}

    def seen():
        for name in ("noimage", "neverpull", "badname", "nocommand", "nodir"):
            waiting = node.waiting(name)
            if waiting:
                reasons.setdefault(name, set()).add(waiting.reason)
                messages[waiting.reason] = waiting.message
        return (
            {"ErrImagePull", "ImagePullBackOff"} <= reasons.get("noimage", set())
            and "ErrImageNeverPull" in reasons.get("neverpull", set())
            and "InvalidImageName" in reasons.get("badname", set())
            and "RunContainerError" in reasons.get("nocommand", set())
            and "RunContainerError" in reasons.get("nodir", set())
        )

    await node.until(seen, 20)
    assert node.runs("noimage", "fine")
    message = messages["ImagePullBackOff"]
    assert message.startswith(f'Back-off pulling image "{NOWHERE}": ErrImagePull: ')
    texts = [e.text for e in node.events("noimage", "Failed")]
    assert any(text.startswith(f'Failed to pull image "{NOWHERE}": ') for text in texts)
    assert {"Error: ErrImagePull", "Error: ImagePullBackOff"} <= set(texts)
    assert [e.text for e in node.events("noimage", "BackOff")] == [f'Back-off pulling image "{NOWHERE}"']
    assert node.events("neverpull", "ErrImageNeverPull")[0].text == (
        f'Container image "{NOWHERE}" is not present with pull policy of Never'
    )
    failed = node.events("nocommand", "Failed")[0].text
    assert "/no/such/program" in failed
    assert failed.startswith("Error: ")
    assert node.phase("nocommand") in {"Pending", "Running"}
    assert "no such file or directory" in failed
    assert node.ready("good")
    assert node.restarts("good") == 0


async def test_a_pod_is_removed_while_its_image_is_pulled(node):
    asked = asyncio.Event()

    async def silent(reader, writer):
        asked.set()
        try:
            await reader.read()
        finally:
            writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    slow = {"image": f"127.0.0.1:{port}/slow:v1", "imagePullPolicy": "Always"}
    node.apply(pod("pulling", {**container("app"), **slow}), pod("starting", container("app")))
    await asyncio.wait_for(asked.wait(), 15)
    began = time.monotonic()
    await node.delete("pulling")
    assert time.monotonic() - began < 4
    await node.until(lambda: node.ready("starting"))
    server.close()


async def test_a_pod_is_removed_while_it_starts(node):
    hook = {"lifecycle": {"postStart": exec_hook("sleep 30")}}
    names = [f"start{n}" for n in range(6)]
    node.apply(*(pod(name, container("app", **hook)) for name in names))
    for number, name in enumerate(names):
        # Each at another point of its start.
        await asyncio.sleep(0.15 * number)
        await node.until(lambda name=name: node.pod(name))
        node.remove(name)
    # No failed attempt with its ten seconds of waiting is among them.
    await node.gone(*names, seconds=8)
    assert not any(node.decisions(name, "SyncFailed") for name in names)


async def test_dead_containers_are_trimmed(containerd, tmp_path):
    soon = {"crashLoopBackOff": {"maxContainerRestartPeriod": "1s"}}
    gates = {"featureGates": {"KubeletCrashLoopBackOffMax": True}}
    async with running_node(tmp_path, containerd, **soon, **gates) as node:
        node.apply(pod("crasher", container("app", "echo boom; exit 1")))
        await node.until(lambda: node.restarts("crasher") >= 3, 20)
        uid = node.uid("crasher")

        async def trimmed():
            return len(await node.cri.list_containers(labels={"io.kubernetes.pod.uid": uid})) <= 2

        await node.until(trimmed)
        logs = node.layout.pod_log_dir("default", node.full("crasher"), uid) / "app"
        await node.until(lambda: len(list(logs.iterdir())) <= 2)


async def test_a_restarted_daemon_adopts_what_runs(node):
    node.apply(
        pod("plain", container("app"), container("other")),
        pod("probed", container("app", readinessProbe={"exec": {"command": ["true"]}, "periodSeconds": 1})),
        pod("job", container("app", "exit 0"), restartPolicy="Never"),
        pod("struck", container("app", "sleep 0.3; [ -e /ok/x ] || { touch /ok/x; exit 1; }; " + FOREVER,
                                volumeMounts=[{"name": "ok", "mountPath": "/ok"}]),
            volumes=[{"name": "ok", "emptyDir": {}}]),
        pod("leaving", container("app")),
    )  # fmt: skip
    await node.until(lambda: node.ready("plain", "probed", "leaving") and node.phase("job") == "Succeeded")
    await node.until(lambda: node.restarts("struck") == 1 and node.ready("struck"))
    kept = {
        (name, app): (node.container(name, app).containerID, node.restarts(name, app))
        for name, app in (("plain", "app"), ("plain", "other"), ("probed", "app"), ("struck", "app"))
    }
    uids = {name: node.uid(name) for name in ("plain", "probed", "job", "struck")}
    leaving = node.uid("leaving")
    await node.stop()
    node.remove("leaving")
    await node.start()
    unready: list[str] = []

    def settled():
        if node.pod("probed") is not None and node.condition("probed", "Ready") == "False":
            unready.append("probed")
        return all(node.runs(name, app) for name, app in kept) and node.ready("plain", "probed", "struck")

    await node.until(settled)
    assert unready == []
    assert {name: node.uid(name) for name in uids} == uids
    await node.until(lambda: node.phase("job") == "Succeeded")
    assert node.restarts("job") == 0
    for (name, app), (container_id, count) in kept.items():
        assert (node.container(name, app).containerID, node.restarts(name, app)) == (container_id, count)
    # What lost its manifest meanwhile is ended and cleaned up.

    async def left():
        return not await node.cri.list_sandboxes(labels={"io.kubernetes.pod.uid": leaving})

    await node.until(left)
    await node.until(lambda: not node.layout.pod(leaving).exists())


async def test_an_orphaned_sandbox_is_ended(node):
    uid = "0e0e0e0e-0000-4000-8000-000000000000"
    node.apply(pod("good", container("app")))
    await node.until(lambda: node.ready("good"))
    logs = node.layout.pod_log_dir("default", "stray", uid)
    logs.mkdir()
    labels = {
        "io.kubernetes.pod.name": "stray",
        "io.kubernetes.pod.namespace": "default",
        "io.kubernetes.pod.uid": uid,
    }
    config = cri_v1.PodSandboxConfig(
        metadata=cri_v1.PodSandboxMetadata(name="stray", uid=uid, namespace="default", attempt=0),
        labels=labels,
        log_directory=str(logs),
        # Beside the pods' tree: a pod's cgroup that no pod owns is removed, which would kill it half made.
        linux=cri_v1.LinuxPodSandboxConfig(cgroup_parent=f"{node.cgroup_root}/stray"),
    )
    await node.cri.run_sandbox(config)

    async def ended():
        return not await node.cri.list_sandboxes(labels={"io.kubernetes.pod.uid": uid})

    await node.until(ended, 10)
    await node.until(lambda: not logs.exists())
    assert node.ready("good")


async def test_the_runtime_comes_late(containerd, short_dir):
    socket = short_dir / "late.sock"
    async with running_node(short_dir / "node", containerd, endpoint=f"unix://{socket}") as node:
        node.apply(pod("patient", container("app")))
        await asyncio.sleep(1)
        assert node.pod("patient") is None or node.waiting("patient") is None
        assert node.kubelet.runtime.view.errors()
        socket.symlink_to(containerd.socket)
        await node.until(lambda: node.ready("patient"), 20)
    socket.unlink()


async def test_the_runtime_restarts_and_containers_run_on(node, containerd):
    node.apply(
        pod("plain", container("app"), container("other")),
        pod("probed", container("app", livenessProbe={"exec": {"command": ["true"]}, "periodSeconds": 1})),
    )
    await node.until(lambda: node.ready("plain", "probed"))
    before = await ids(node)
    await asyncio.to_thread(containerd.stop)
    node.apply(pod("meanwhile", container("app")))
    await asyncio.sleep(1)
    await asyncio.to_thread(containerd.start)
    await node.until(lambda: node.ready("meanwhile", "plain", "probed"), 15)
    assert before <= await ids(node)
    assert node.restarts("plain") == node.restarts("probed") == 0
    assert len(await node.cri.list_sandboxes(state=SandboxState.READY)) == 3


async def test_a_full_disk_for_logs(containerd, short_dir, tmp_path):
    logs = short_dir / "logs"
    logs.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,nr_inodes=24", "tmpfs", logs], check=True)
    try:
        async with running_node(tmp_path, containerd, podLogsDir=str(logs)) as node:
            node.apply(pod("calm", container("app")))
            await node.until(lambda: node.ready("calm"))
            calm = node.container_id("calm")
            node.apply(pod("chatty", container("app", "yes | head -c 400000; " + FOREVER)))
            await node.until(lambda: node.ready("chatty"))
            await node.until(lambda: os.statvfs(logs).f_bavail == 0)
            for number in range(64):
                try:
                    (logs / f"filler{number}").touch()
                except OSError:
                    break
            node.apply(pod("late", container("app")))
            event = await node.until(
                lambda: node.events("late", "FailedCreatePodSandBox") or node.events("late", "Failed")
            )
            assert "no space left on device" in event[0].text.lower()
            assert str(logs) in event[0].text
            assert node.ready("calm", "chatty")
            assert node.container_id("calm") == calm
            for filler in logs.glob("filler*"):
                filler.unlink()
            await node.delete("chatty")
            await node.until(lambda: node.ready("late"), 25)
    finally:
        subprocess.run(["umount", logs], check=True)


async def test_draining_and_starting_again_many_times(containerd, tmp_path):
    async with running_node(tmp_path, containerd) as node:
        node.apply(pod("steady", container("app")))
        await node.until(lambda: node.ready("steady"))
        steady = node.container_id("steady")
        for number in range(3):
            node.apply(pod(f"round{number}", container("app")))
            await node.until(lambda number=number: node.pod(f"round{number}"))
            await node.restart()
        await node.until(lambda: node.ready("steady", "round0", "round1", "round2"), 20)
        assert node.container_id("steady") == steady
        assert isinstance(node, Node)
