"""The daemon of a cluster's node killed at random moments of pods' lives; afterwards all is as wanted."""

import asyncio
import random
import time

import pytest
from tests.apiserver import ApiServer, resources
from tests.integration.joined import condition, container_id, is_ready, phase
from tests.integration.killed_node import KilledNode, container, exec_hook, free_lost_tasks, instances, pod

from pykubelet.base.clock import SystemClock
from pykubelet.cri.client import CriClient

SEED = 20263
ROUNDS = 10
#: Seconds after which everything has to be as wanted.
CONVERGE = 60.0
NODE = "node"


def standing(name):
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 1}
    return pod(name, container("app", readinessProbe=probe, livenessProbe=probe))


def passing(name):
    """A pod with everything that can be cut."""
    mount = [{"name": "info", "mountPath": "/info"}]
    hooks = {"postStart": exec_hook("sleep 0.2"), "preStop": exec_hook("sleep 0.3")}
    items = [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]
    return pod(
        name,
        container("app", volumeMounts=mount, lifecycle=hooks),
        initContainers=[container("first", "sleep 0.1")],
        volumes=[{"name": "info", "downwardAPI": {"items": items}}],
    )


def job(name):
    return pod(name, container("app", "sleep 0.3"), restartPolicy="Never")


class Scene:
    """The API server, what was done to it, and what there should be."""

    def __init__(self, server: ApiServer, rng: random.Random) -> None:
        self.server = server
        self.rng = rng
        self.number = 0
        #: Pods that should be ready, that should have succeeded, that should be gone.
        self.wanted: list[str] = []
        self.jobs: list[str] = []
        self.deleted: set[str] = set()

    def create(self, manifest):
        spec = {**manifest["spec"], "nodeName": NODE}
        self.server.create(resources.PODS, {"metadata": dict(manifest["metadata"]), "spec": spec}, "default")
        return manifest["metadata"]["name"]

    def act(self) -> str:
        """Do something to a pod; what it was."""
        self.number += 1
        what = self.rng.choice(["create", "create", "job", "delete", "force", "again"])
        if what == "job":
            self.jobs.append(self.create(job(f"job-{self.number}")))
        elif what == "create" or not self.wanted:
            self.wanted.append(self.create(passing(f"passing-{self.number}")))
        else:
            name = self.rng.choice(self.wanted)
            self.server.delete(resources.PODS, "default", name, None if what == "delete" else 0)
            if what == "again":
                self.create(passing(name))
            else:
                self.wanted.remove(name)
                self.deleted.add(name)
        return what

    def pod(self, name):
        return self.server.pod("default", name)

    def off(self) -> list[str]:
        """What is not as it should be at the API server."""
        return [
            *(f"{n} is not ready: {self.pod(n)}" for n in self.wanted if not is_ready(self.pod(n) or {})),
            *(
                f"{n} has not succeeded: {self.pod(n)}"
                for n in self.jobs
                if phase(self.pod(n)) != "Succeeded"
            ),
            *(f"{n} is still there: {self.pod(n)}" for n in self.deleted if self.pod(n) is not None),
        ]

    def uids(self) -> set[str]:
        return {one["metadata"]["uid"] for one in self.server.list(resources.PODS)}


async def until(node, nothing, seconds=CONVERGE):
    """Wait until *nothing* is off."""
    ends = time.monotonic() + seconds
    while off := await nothing():
        assert node.alive, node.last_words()
        assert time.monotonic() < ends, f"{off}\n{node.last_words()}"
        await asyncio.sleep(0.1)


@pytest.mark.timeout(240)
async def test_killed_at_random(containerd, cgroup_parent, no_leaks, short_dir):
    runtime = CriClient(containerd.endpoint, clock=SystemClock())
    async with ApiServer() as server:
        kubeconfig = server.write_kubeconfig(short_dir / "kubeconfig", f"system:node:{NODE}", "system:nodes")
        node = KilledNode(short_dir, containerd.endpoint, cgroup_parent, kubeconfig=kubeconfig)
        scene = Scene(server, random.Random(SEED))
        lasting = [scene.create(standing(f"standing-{number}")) for number in range(2)]

        async def off():
            return [f"{name} is not ready" for name in lasting if not is_ready(scene.pod(name))] + scene.off()

        async def left():
            """What there is of pods that the API server does not have."""
            await free_lost_tasks(runtime, containerd)
            sandboxes = {
                sandbox.labels["io.kubernetes.pod.uid"] for sandbox in await runtime.list_sandboxes()
            }
            containers = {one.uid for one in await instances(runtime)}
            return sorted((sandboxes | containers | node.pod_directories() | node.cgroups()) - scene.uids())

        async def anything():
            return [*scene.uids(), *await left()]

        try:
            node.start()
            await until(node, off)
            before = [scene.pod(name) for name in lasting]
            for number in range(ROUNDS):
                did = scene.act()
                await asyncio.sleep(scene.rng.random() * 2.0)
                node.kill()
                await asyncio.to_thread(node.reap)
                also = scene.act() if scene.rng.random() < 0.5 else "nothing"
                print(f"round {number}: {did}, killed, {also}")
                node.start()
            await until(node, off)
            await until(node, left)
            for old, new in zip(before, map(scene.pod, lasting), strict=True):
                assert container_id(new) == container_id(old)
                assert condition(new, "Ready") == condition(old, "Ready")
            for name in scene.jobs:
                assert scene.pod(name)["status"]["containerStatuses"][0]["restartCount"] == 0
            runs = [i for i in await instances(runtime) if i.pod in scene.jobs]
            assert all(i.restart_count == 0 for i in runs), runs
            for one in server.list(resources.PODS):
                server.delete(resources.PODS, "default", one["metadata"]["name"], 1)
            await until(node, anything)
            assert await asyncio.to_thread(node.stop) == 0
        finally:
            await asyncio.to_thread(node.clean_up)
            await runtime.close()
