"""A pod's sandbox and container on a real containerd, looked at from inside."""

import asyncio
from contextlib import aclosing

import pytest

from pykubelet.api.core import (
    Container,
    EnvVar,
    EnvVarSource,
    Pod,
    PodDNSConfig,
    PodSecurityContext,
    PodSpec,
    ResourceRequirements,
)
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.mounted import MountedVolume
from pykubelet.api.quantity import Quantity
from pykubelet.api.volumes import ObjectFieldSelector, VolumeMount
from pykubelet.base.clock import SystemClock
from pykubelet.base.journal import NullJournal
from pykubelet.base.layout import Layout
from pykubelet.cli.up.images import BUSYBOX
from pykubelet.containers import ContainerSettings, LogOptions, Starter, enrich, read_logs
from pykubelet.cri.client import CriClient
from pykubelet.cri.types import ContainerState
from pykubelet.observe.types import ObservedPod


class Volumes:
    def __init__(self, there):
        self.there = there

    def mounted(self, pod_uid):
        return self.there

    async def prepare_subpath(self, pod_uid, volume, container, index, subpath):
        return f"{volume.host_path}/{subpath}"


class Node:
    name = "node"
    host_ips = ("192.0.2.1",)
    allocatable = {}
    memory_capacity = 8 << 30
    swap_capacity = 0
    huge_page_sizes = ()

    def runtime_handler(self, name):
        return None


SCRIPT = "echo ready; trap 'echo why >/dev/termination-log; exit 7' TERM; while :; do sleep 0.1; done"


def make_pod():
    container = Container(
        name="app",
        image=BUSYBOX,
        imagePullPolicy="IfNotPresent",
        command=["sh", "-c"],
        args=[SCRIPT],
        env=[
            EnvVar(name="A", value="one"),
            EnvVar(name="B", value="$(A)-two"),
            EnvVar(
                name="POD", valueFrom=EnvVarSource(fieldRef=ObjectFieldSelector(fieldPath="metadata.name"))
            ),
        ],
        volumeMounts=[VolumeMount(name="v", mountPath="/v", readOnly=True)],
        terminationMessagePath="/dev/termination-log",
        terminationMessagePolicy="File",
        resources=ResourceRequirements(
            limits={"memory": Quantity.parse("64Mi"), "cpu": Quantity.parse("500m")}
        ),
    )
    return Pod(
        metadata=ObjectMeta(name="web", namespace="ns", uid="11111111-2222-3333-4444-555555555555"),
        spec=PodSpec(
            containers=[container],
            enableServiceLinks=True,
            dnsPolicy="None",
            dnsConfig=PodDNSConfig(nameservers=["192.0.2.53"], searches=["example.test"]),
            securityContext=PodSecurityContext(runAsUser=1000, runAsGroup=2000, supplementalGroups=[3000]),
        ),
    )


@pytest.fixture
async def client(containerd):
    made = CriClient(containerd.endpoint, clock=SystemClock(), request_timeout=30)
    yield made
    await made.close()


async def test_a_pod_from_start_to_end(client, cgroup_parent, short_dir):
    layout = Layout(
        root=short_dir / "root", pod_logs=short_dir / "pods", container_log_links=short_dir / "links"
    )
    data = short_dir / "data"
    data.mkdir()
    (data / "file").write_text("content")
    volumes = Volumes({"v": MountedVolume("v", str(data))})
    journal = NullJournal()
    starter = Starter(
        client,
        layout,
        SystemClock(),
        journal,
        journal,
        ContainerSettings(resolv_conf=""),
        volumes,
        Node(),
        lambda pod: cgroup_parent,
    )
    pod = make_pod()
    await starter.prepare_pod(pod)
    sandbox_id = await starter.create_sandbox(pod, 0)
    sandbox = await client.sandbox_status(sandbox_id)
    observed = ObservedPod(pod.metadata.uid, "web", "ns", sandbox.ips, (sandbox,))
    container_id = await starter.start_container(pod, pod.spec.containers[0], "regular", sandbox_id, observed)

    async def run(*command):
        result = await client.exec_sync(container_id, command, 10)
        assert result.exit_code == 0, result
        return result.stdout.decode()

    env = await run("env")
    assert "B=one-two\n" in env
    assert "POD=web\n" in env
    assert f"{sandbox.ips[0]}\tweb\n" in await run("cat", "/etc/hosts")
    assert await run("cat", "/etc/resolv.conf") == "search example.test\nnameserver 192.0.2.53\n"
    assert await run("hostname") == "web\n"
    assert await run("cat", "/v/file") == "content"
    assert (await client.exec_sync(container_id, ["touch", "/v/x"], 10)).exit_code != 0
    assert (await run("id", "-u"), await run("id", "-g")) == ("1000\n", "2000\n")
    assert "3000" in await run("id", "-G")
    status = await client.container_status(container_id)
    assert status.resources is not None
    assert status.resources.memory_limit_in_bytes == 64 << 20

    link = layout.container_log_link("web", "ns", "app", container_id)
    log = layout.container_log("ns", "web", pod.metadata.uid, "app", 0)
    assert await asyncio.to_thread(link.resolve) == log

    async def running():
        return False

    async with aclosing(read_logs(log, LogOptions(), running)) as blocks:
        assert b"".join([block async for block in blocks]) == b"ready\n"

    await starter.stop_container(container_id, 10)
    ended = await enrich(await client.container_status(container_id))
    assert (ended.state, ended.exit_code, ended.message) == (ContainerState.EXITED, 7, "why\n")
    await starter.remove_container(ended)
    assert not link.is_symlink()
    await starter.stop_sandbox(sandbox_id)
    await starter.remove_sandbox(sandbox_id)
    await starter.clean_pod(pod.metadata.uid, "ns", "web")
    assert not list(layout.pod_logs.iterdir())
