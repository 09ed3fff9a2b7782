"""The daemon killed with SIGKILL in the middle of everything it does, and started again."""

import asyncio
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.criproxy.proxy import CriProxy, Fault
from tests.integration.killed_node import KilledNode, container, exec_hook, free_lost_tasks, instances, pod

from pykubelet.base.clock import SystemClock
from pykubelet.base.tasks import TaskOwner
from pykubelet.cri.client import CriClient
from pykubelet.cri.types import ContainerState, SandboxState

SEED = 20260
#: Seconds within which a daemon reaches the moment at which it is to be killed.
REACH = 6.0
#: Seconds within which a pod starts, and within which what was deleted is gone.
CONVERGE = 40.0

NETWORK = "trap 'exit 0' TERM; httpd -f -p 8080 -h /tmp & wait $!"
#: Names of the containers that must run from the beginning to the end.
LASTING = {
    "plain-node": {"app"},
    "ready-node": {"app"},
    "trio-node": {"sidecar", "app"},
    "memory-node": {"app"},
    "host-node": {"app"},
}


def standing_pods():
    """Pods of every kind that stay through all kills."""
    mount = [{"name": "shared", "mountPath": "/shared"}]
    return [
        pod("plain", container("app")),
        pod(
            "ready",
            container(
                "app",
                NETWORK,
                readinessProbe={"httpGet": {"path": "/", "port": 8080}, "periodSeconds": 1},
                livenessProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 2},
                startupProbe={"tcpSocket": {"port": 8080}, "periodSeconds": 1, "failureThreshold": 20},
                lifecycle={"postStart": exec_hook("touch /tmp/index.html")},
            ),
        ),
        pod(
            "trio",
            container("app", volumeMounts=mount),
            initContainers=[
                container("first", "echo once >> /shared/inits", volumeMounts=mount),
                container("sidecar", restartPolicy="Always", volumeMounts=mount),
            ],
            volumes=[{"name": "shared", "emptyDir": {}}],
        ),
        pod(
            "memory",
            container(
                "app",
                volumeMounts=[{"name": "ram", "mountPath": "/ram"}, {"name": "disk", "mountPath": "/disk"}],
            ),
            volumes=[
                {"name": "ram", "emptyDir": {"medium": "Memory", "sizeLimit": "1Mi"}},
                {"name": "disk", "emptyDir": {}},
            ],
        ),
        pod("host", container("app"), hostNetwork=True),
        pod("job", container("once", "exit 0"), restartPolicy="Never"),
        pod("crasher", container("crash", "sleep 1; exit 3")),
        pod(
            "failing",
            container("app", image="127.0.0.1:1/no-such-image:v1", imagePullPolicy="IfNotPresent"),
        ),
    ]


def passing_pod(name):
    """A pod that is made in one round and deleted in the next, with everything that can be cut."""
    mount = [{"name": "ram", "mountPath": "/ram"}, {"name": "disk", "mountPath": "/disk"}]
    return pod(
        name,
        container(
            "app",
            volumeMounts=mount,
            lifecycle={"postStart": exec_hook("sleep 0.2"), "preStop": exec_hook("sleep 0.3")},
        ),
        initContainers=[
            container("first", "true"),
            container("sidecar", restartPolicy="Always", volumeMounts=mount),
        ],
        volumes=[{"name": "ram", "emptyDir": {"medium": "Memory"}}, {"name": "disk", "emptyDir": {}}],
    )


@dataclass
class Moment:
    """When to kill: *delay* seconds after the *nth* call of *method*, or after *seen* became true."""

    name: str
    method: str = ""
    nth: int = 1
    seen: Callable[["Scene"], bool] | None = None
    delay: float = 0.0


def calls(method, *nths):
    return [Moment(f"{method}-{nth}", method=method, nth=nth) for nth in nths]


def files(name, seen):
    return Moment(name, seen=seen)


def later(name):
    return Moment(name)


#: While a pod is being made.
MAKING = [
    *calls("RunPodSandbox", 1),
    *calls("CreateContainer", 1, 2, 3),
    *calls("StartContainer", 1, 3),
    *calls("ImageStatus", 2),
    *calls("ExecSync", 1),
    *calls("PodSandboxStatus", 2),
    files("pod-directory", lambda scene: bool(scene.node.pod_directories() - scene.before_directories)),
    files("volume-mount", lambda scene: scene.tmpfs() > scene.before_tmpfs),
    files("pod-cgroup", lambda scene: bool(scene.node.cgroups() - scene.before_cgroups)),
    files("status-write", lambda scene: scene.stamp("pod-statuses") != scene.before_stamp),
    files("journal-write", lambda scene: scene.journal_size() != scene.before_journal),
    later("while-making-1"),
]
#: While a pod is being ended.
ENDING = [
    *calls("ExecSync", 1),
    *calls("StopContainer", 1, 2),
    *calls("StopPodSandbox", 1),
    *calls("RemoveContainer", 1, 3),
    *calls("RemovePodSandbox", 1),
    files("volume-unmount", lambda scene: scene.tmpfs() < scene.before_tmpfs),
    files("cgroup-removal", lambda scene: bool(scene.before_cgroups - scene.node.cgroups())),
    files("directory-removal", lambda scene: bool(scene.before_directories - scene.node.pod_directories())),
    files("log-removal", lambda scene: bool(scene.before_logs - scene.node.log_directories())),
    files("status-removal", lambda scene: scene.stamp("pod-statuses") != scene.before_stamp),
    later("while-ending-1"),
    later("while-ending-2"),
    later("while-ending-3"),
]
#: While the daemon starts.
STARTING = [
    *calls("Status", 1),
    *calls("ListContainers", 1),
    *calls("ContainerStatus", 3),
    *calls("RuntimeConfig", 1),
]


@dataclass
class Scene:
    """The node, the runtime, and what was seen of them so far."""

    node: KilledNode
    proxy: CriProxy
    runtime: CriClient
    containerd: object
    rng: random.Random
    lasting: dict[tuple[str, str], tuple[str, int]] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    ready: set[str] = field(default_factory=set)
    #: Pods whose readiness must last.
    standing: set[str] = field(default_factory=set)
    broken: list[str] = field(default_factory=list)
    kills: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    before_directories: set[str] = field(default_factory=set)
    before_cgroups: set[str] = field(default_factory=set)
    before_logs: set[str] = field(default_factory=set)
    before_tmpfs: int = 0
    before_stamp: int = 0
    before_journal: int = 0

    # --- looking --------------------------------------------------------------

    def tmpfs(self) -> int:
        """How many volumes in memory are mounted."""
        return Path("/proc/self/mountinfo").read_text().count(f" {self.node.root}/pods/")

    def stamp(self, name: str) -> int:
        directory = self.node.root / name
        return directory.stat().st_mtime_ns if directory.exists() else 0

    def journal_size(self) -> int:
        file = self.node.root / "journal.jsonl"
        return file.stat().st_size if file.exists() else 0

    def remember(self) -> None:
        """Take note of what there is, for the moments that are told by a change."""
        self.before_directories = self.node.pod_directories()
        self.before_cgroups = self.node.cgroups()
        self.before_logs = self.node.log_directories()
        self.before_tmpfs = self.tmpfs()
        self.before_stamp = self.stamp("pod-statuses")
        self.before_journal = self.journal_size()

    def look_at_statuses(self) -> None:
        """What was ready stays ready; restart counts only grow."""
        for uid, status in self.node.statuses():
            conditions = {c["type"]: c["status"] for c in status.get("conditions", [])}
            if conditions.get("Ready") == "True":
                self.ready.add(uid)
            elif uid in self.standing and uid in self.ready:
                self.broken.append(f"{uid} was ready and no longer is: {json.dumps(status)}")
                self.ready.discard(uid)
            for one in status.get("containerStatuses", []):
                key = f"{uid}/{one['name']}"
                count = one.get("restartCount", 0)
                if count < self.restarts.get(key, 0):
                    self.broken.append(f"restart count of {key} fell: {self.restarts[key]} → {count}")
                self.restarts[key] = count

    async def sample(self) -> None:
        """Look at the statuses again and again: what was not ready for a moment counts, too."""
        while True:
            self.look_at_statuses()
            await asyncio.sleep(0.03)

    async def check(self, after: str) -> None:
        """Nothing that runs for good was touched."""
        seen = await instances(self.runtime)
        self.look_at_statuses()
        for (pod_name, name), expected in self.lasting.items():
            found = {(i.id, i.started_at) for i in seen if (i.pod, i.name) == (pod_name, name)}
            if found != {expected}:
                self.broken.append(f"after {after}: {pod_name}/{name} was {expected}, is {found}")
        for i in seen:
            if i.pod == "job-node" and i.restart_count:
                self.broken.append(f"after {after}: the job ran again: {i}")
        assert not self.broken, "\n".join(self.broken)

    async def until(self, what: str, condition: Callable[[], object], seconds: float = CONVERGE) -> None:
        deadline = time.monotonic() + seconds
        while True:
            result = condition()
            if asyncio.iscoroutine(result):
                result = await result
            if result:
                return
            words = self.node.last_words
            assert self.node.alive, f"the daemon ended while waiting for {what}:\n{words()}"
            assert time.monotonic() < deadline, f"not within {seconds} s: {what}\n{words()}"
            await asyncio.sleep(0.05)

    async def running(self, name: str, containers: set[str]) -> bool:
        seen = await instances(self.runtime)
        return containers <= {i.name for i in seen if i.pod == name and i.state is ContainerState.RUNNING}

    def miss(self, moment: Moment) -> None:
        """Note that *moment* did not come, with what was decided instead."""
        lines = (self.node.root / "journal.jsonl").read_text().splitlines()[-12:]
        print(f"{moment.name} did not come:", *lines, sep="\n  ")
        self.missed.append(moment.name)

    # --- killing --------------------------------------------------------------

    async def kill_at(self, moment: Moment, act: Callable[[], None]) -> None:
        """Do *act*, wait for *moment*, kill, and wait for the process' end."""
        delay = self.rng.random() * (2.0 if not moment.method and moment.seen is None else 0.15)
        reached = asyncio.Event()
        rule = None
        if moment.method:
            seen = 0

            def when(request: bytes) -> bool:
                nonlocal seen
                seen += 1
                if seen == moment.nth:
                    reached.set()
                return True

            rule = self.proxy.add(moment.method, Fault("watched"))
            rule.when = when
        self.remember()
        act()
        deadline = time.monotonic() + REACH
        if moment.method:
            try:
                await asyncio.wait_for(reached.wait(), REACH)
            except TimeoutError:
                self.miss(moment)
        elif moment.seen is not None:
            delay = 0.0
            while not moment.seen(self):
                await asyncio.sleep(0.001)
                if time.monotonic() > deadline:
                    self.miss(moment)
                    break
        await asyncio.sleep(delay)
        self.node.kill()
        self.node.reap()
        if rule is not None:
            self.proxy.remove(rule)
        self.kills.append(moment.name)
        await self.check(moment.name)


async def establish(scene: Scene) -> None:
    """Start all standing pods and note which containers have to last."""
    for manifest in standing_pods():
        scene.node.want(manifest)
    scene.node.start()
    for name, containers in LASTING.items():
        await scene.until(f"{name} runs", lambda n=name, c=containers: scene.running(n, c))

    seen = await instances(scene.runtime)
    scene.standing = {i.uid for i in seen if i.pod in LASTING}

    def all_ready() -> bool:
        scene.look_at_statuses()
        return scene.standing <= scene.ready

    await scene.until("all are ready", all_ready)

    async def crashed() -> bool:
        return any(i.pod == "crasher-node" and i.restart_count > 0 for i in await instances(scene.runtime))

    await scene.until("the crasher was restarted", crashed)
    for i in await instances(scene.runtime):
        if i.name in LASTING.get(i.pod, ()):
            scene.lasting[i.pod, i.name] = (i.id, i.started_at)


async def rounds(scene: Scene) -> None:
    """All moments, in an order that the seed gives; every passing pod is made in one and ended in another."""
    making, ending, starting = list(MAKING), list(ENDING), list(STARTING)
    for moments in (making, ending, starting):
        scene.rng.shuffle(moments)
    for number in range(max(len(making), len(ending))):
        name = f"passing-{number}"
        manifest = passing_pod(name)
        if starting:
            await scene.kill_at(starting.pop(), scene.node.start)
        scene.node.start()
        await scene.until("it works", lambda: (scene.node.root / "journal.jsonl").exists())
        if number < len(making):
            await scene.kill_at(making[number], lambda m=manifest: scene.node.want(m))
            scene.node.start()
        else:
            scene.node.want(manifest)
        if number < len(ending):
            await scene.until(f"{name} runs", lambda n=name: scene.running(f"{n}-node", {"app", "sidecar"}))
            await scene.kill_at(ending[number], lambda n=name: scene.node.forget(n))
        else:
            scene.node.forget(name)
            scene.node.kill()
            scene.node.reap()


async def nothing_over(scene: Scene, wanted: int) -> str:
    """What there is beyond *wanted* pods; empty when there is nothing."""
    node = scene.node
    seen = await instances(scene.runtime)
    passing = sorted({i.pod for i in seen if i.pod.startswith("passing")})
    sandboxes = await scene.runtime.list_sandboxes()
    ready = [s for s in sandboxes if s.state is SandboxState.READY]
    over = {
        "containers": passing,
        "sandboxes": [s.name for s in sandboxes if s.name.startswith("passing")],
        "ready sandboxes": [s.name for s in ready] if len(ready) > wanted else [],
        "directories": sorted(node.pod_directories()) if len(node.pod_directories()) > wanted else [],
        "logs": sorted(node.log_directories()) if len(node.log_directories()) > wanted else [],
        "links": [str(link) for link in node.log_links() if "passing" in link.name],
        "cgroups": sorted(node.cgroups()) if len(node.cgroups()) > wanted else [],
        "statuses": [uid for uid, _ in node.statuses()] if len(list(node.statuses())) > wanted else [],
        "mounts": [] if scene.tmpfs() <= min(wanted, 1) else [str(scene.tmpfs())],
        "temporary files": [str(path) for path in node.temporary_files()],
    }
    return ", ".join(f"{what}: {found}" for what, found in over.items() if found)


async def settled(scene: Scene, wanted: int, seconds: float = CONVERGE) -> None:
    """Wait until nothing is over, and say what is if it stays."""
    deadline = time.monotonic() + seconds
    while over := await nothing_over(scene, wanted):
        await free_lost_tasks(scene.runtime, scene.containerd)
        assert time.monotonic() < deadline, f"left behind: {over}"
        await asyncio.sleep(0.2)


@pytest.mark.timeout(400)
async def test_killed_in_the_middle_of_everything(containerd, cgroup_parent, no_leaks, short_dir):
    endpoint = f"unix://{short_dir / 'proxy.sock'}"
    node = KilledNode(
        short_dir,
        endpoint,
        cgroup_parent,
        featureGates={"KubeletCrashLoopBackOffMax": True},
        crashLoopBackOff={"maxContainerRestartPeriod": "2s"},
    )
    runtime = CriClient(containerd.endpoint, clock=SystemClock())
    async with CriProxy(endpoint, containerd.endpoint) as proxy:
        sampler = TaskOwner("sampler")
        scene = Scene(node, proxy, runtime, containerd, random.Random(SEED))
        try:
            began = time.monotonic()
            await establish(scene)
            node.kill()
            node.reap()
            print(f"established after {time.monotonic() - began:.1f} s")
            sampler.spawn("statuses", scene.sample())
            await rounds(scene)
            print(f"{len(scene.kills)} kills after {time.monotonic() - began:.1f} s; missed {scene.missed}")
            node.start()
            await settled(scene, len(standing_pods()))
            await scene.check("all kills")
            assert len(scene.kills) >= 30
            # A wedged shim may keep a moment from coming; the kill comes all the same.
            assert len(scene.missed) <= 6, scene.missed
            await sampler.close()
            for manifest in standing_pods():
                node.forget(manifest["metadata"]["name"])
            await settled(scene, 0)
            assert node.stop() == 0
            assert await asyncio.to_thread(node.mounts) == []
            print(f"done after {time.monotonic() - began:.1f} s")
        finally:
            await sampler.close()
            await asyncio.to_thread(node.clean_up)
            await runtime.close()
