"""The whole kubelet on the in-memory runtime, in virtual time: random lives end as the manifests say.

No thread and no kernel but the files of a temporary directory: a life of an hour takes a second.
"""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field, replace

import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.memory_node import IMAGE, MemoryCgroups, runs, script, write_config

from pykubelet.base.clock import LoopClock
from pykubelet.base.layout import Layout
from pykubelet.base.tasks import TaskOwner
from pykubelet.config import load
from pykubelet.cri.errors import Code
from pykubelet.cri.memory import MemoryRuntime
from pykubelet.cri.memory_faults import Fault
from pykubelet.cri.types import ContainerState, RuntimeHandler, SandboxState
from pykubelet.kubelet import Kubelet, Parts

#: Virtual seconds in which everything comes to rest: the longest back-off and a look after it.
REST = 330.0


KINDS = {
    "plain": {"containers": [runs("app"), runs("second")]},
    "job": {"containers": [runs("app", seconds=7)], "restartPolicy": "Never"},
    "crasher": {"containers": [runs("app", seconds=3, code=1)]},
    "flaky": {"containers": [runs("app", seconds=5, code=1), runs("good")], "restartPolicy": "OnFailure"},
    "chain": {
        "initContainers": [
            runs("first", seconds=2),
            runs("side", restartPolicy="Always"),
            runs("second", seconds=2),
            runs("other", restartPolicy="Always"),
        ],
        "containers": [runs("app")],
    },
    "apart": {"containers": [runs("app")], "hostUsers": False},
    "batch": {
        "initContainers": [runs("side", restartPolicy="Always")],
        "containers": [runs("app", seconds=9)],
        "restartPolicy": "Never",
        "volumes": [{"name": "data", "emptyDir": {}}],
    },
}
#: Containers that run in the end, by kind; None: those that come and go.
LASTING = {
    "plain": {"app", "second"},
    "job": set(),
    "crasher": None,
    "flaky": None,
    "chain": {"side", "other", "app"},
    "apart": {"app"},
    "batch": set(),
}
#: Calls that go wrong on demand.
FAULTY = ("RunPodSandbox", "CreateContainer", "StartContainer", "StopContainer", "RemoveContainer")
#: Kinds that run once.
JOBS = {"job", "batch"}


@dataclass
class Watch:
    """Sees every change of the runtime and says what must not be."""

    runtime: MemoryRuntime
    broken: list[str] = field(default_factory=list)
    counts: dict[tuple[str, str], int] = field(default_factory=dict)
    completed: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    started: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))

    def __call__(self, event):
        box = self.runtime.world.containers.get(event.container_id)
        if box is None:
            return
        pod = box.sandbox.config.metadata
        if event.type == "CONTAINER_CREATED_EVENT":
            self.created(pod, box)
        elif event.type == "CONTAINER_STARTED_EVENT":
            self.has_started(pod, box)
        elif event.type == "CONTAINER_STOPPED_EVENT" and box.exit_code == 0:
            self.completed[box.sandbox.id].add(box.name)

    def created(self, pod, box):
        key = (pod.name, box.name)
        count = int(box.config.annotations["io.kubernetes.container.restartCount"])
        if count < self.counts.get(key, 0):
            self.broken.append(f"restart count of {key} fell from {self.counts[key]} to {count}")
        self.counts[key] = count
        self.shares_no_id(pod, box)

    def shares_no_id(self, pod, box):
        """No two pods' containers may have the same host IDs."""
        given = host_id(box.sandbox)
        for other in self.runtime.world.containers.values():
            same = not given or other.sandbox.config.metadata.uid == pod.uid
            if not same and other.state is ContainerState.RUNNING and host_id(other.sandbox) == given:
                self.broken.append(f"{pod.name} and {other.sandbox.config.metadata.name} share {given}")
        if bool(given) != (KINDS[pod.name.split("-")[0]].get("hostUsers") is False):
            self.broken.append(f"{pod.name} has the host IDs {given}")

    def has_started(self, pod, box):
        twins = [
            other
            for other in self.runtime.world.containers.values()
            if other.name == box.name
            and other.sandbox.config.metadata.uid == pod.uid
            and other.state is ContainerState.RUNNING
        ]
        if len(twins) > 1:
            self.broken.append(f"{pod.name}/{box.name} runs {len(twins)} times")
        spec = KINDS[pod.name.split("-")[0]]
        for init in spec.get("initContainers", []):
            if init["name"] == box.name:
                break
            done = self.started if init.get("restartPolicy") == "Always" else self.completed
            if init["name"] not in done[box.sandbox.id]:
                self.broken.append(f"{pod.name}: {box.name} started before {init['name']} was through")
        self.started[box.sandbox.id].add(box.name)

    def forget(self, name, kind):
        """The pod was taken away: if it comes back, it begins anew."""
        for key in [key for key in self.counts if key[0] == name]:
            del self.counts[key]


def host_id(sandbox):
    """The first host ID of the sandbox's user namespace; 0 without one."""
    mappings = sandbox.config.linux.security_context.namespace_options.userns_options.uids
    return mappings[0].host_id if mappings else 0


class Life:
    """One node with its runtime, its manifests, and what is done to them."""

    def __init__(self, base, host):
        base.mkdir()
        self.host = host
        self.manifests = base / "manifests"
        self.manifests.mkdir()
        self.clock = LoopClock()
        self.runtime = MemoryRuntime(self.clock, scripts=script)
        self.runtime.world.add_image(IMAGE)
        self.runtime.handlers = (RuntimeHandler("", user_namespaces=True),)
        self.watch = Watch(self.runtime)
        self.runtime.world.listeners.append(self.watch)
        self.cgroups = MemoryCgroups()
        self.wanted: dict[str, tuple[str, int]] = {}
        self.layout = Layout(
            root=base / "root", pod_logs=base / "logs", container_log_links=base / "links", run=base / "run"
        )
        self._config = write_config(base / "config.json", self.manifests, self.layout)
        self._tasks = TaskOwner("life")
        self.kubelet = None
        self._running = None

    # --- the daemon -----------------------------------------------------------

    async def start(self):
        loaded = load([f"--config={self._config}", f"--root-dir={self.layout.root}"])
        host = replace(self.host, cgroups=self.cgroups)
        self.kubelet = Kubelet(loaded, host, self.layout, Parts(self.runtime, self.clock))
        self._stop = asyncio.Event()
        self._running = self._tasks.spawn("kubelet", self.kubelet.run(self._stop))

    async def stop(self, *, rudely=False):
        if rudely:
            self._running.cancel()
        self._stop.set()
        await asyncio.gather(self._running, return_exceptions=rudely)

    # --- what happens ---------------------------------------------------------

    def write(self, kind, version):
        spec = {"terminationGracePeriodSeconds": 2, **KINDS[kind]}
        manifest = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": kind, "annotations": {"version": str(version)}},
            "spec": spec,
        }
        hidden = self.manifests / f".{kind}"
        hidden.write_text(yaml.safe_dump(manifest))
        hidden.rename(self.manifests / f"{kind}.yaml")
        self.wanted[f"{kind}-n"] = (kind, version)

    async def do(self, action, kind, number):
        name = f"{kind}-n"
        known = self.wanted.get(name)
        match action:
            case "add":
                self.write(kind, known[1] if known else 0)
            case "change":
                self.watch.forget(name, kind)
                self.write(kind, known[1] + 1 if known else 0)
            case "remove" if known:
                (self.manifests / f"{kind}.yaml").unlink()
                del self.wanted[name]
                self.watch.forget(name, kind)
            case "exit":
                boxes = self.running(name)
                if boxes:
                    self.runtime.end_container(boxes[number % len(boxes)].id, number % 3)
            case "end-sandbox":
                for sandbox in list(self.runtime.world.sandboxes.values()):
                    if sandbox.config.metadata.name == name and sandbox.state is SandboxState.READY:
                        self.watch.forget(name, kind)
                        self.runtime.end_sandbox(sandbox.id)
            case "outage":
                self.runtime.go_away()
                await self.clock.sleep(number * 9.0)
                self.runtime.come_back()
            case "fault":
                times, after = 1 + number % 2, number % 2 == 1
                fault = Fault(FAULTY[number % len(FAULTY)], Code.Unavailable, after=after, times=times)
                self.runtime.inject(fault)
            case "restart" | "crash":
                await self.stop(rudely=action == "crash")
                await self.start()

    def running(self, name):
        self.runtime.world.settle(self.clock.now_ns())
        return [
            box
            for box in self.runtime.world.containers.values()
            if box.sandbox.config.metadata.name == name and box.state is ContainerState.RUNNING
        ]

    # --- how it must be -------------------------------------------------------

    def check_end(self):
        """Every wanted pod is as its manifest says, and of nothing else is anything left."""
        world = self.runtime.world
        pods = {pod.metadata.name: pod for pod in self.kubelet.intake.store.pods()}
        assert set(pods) == set(self.wanted)
        uids = {pod.metadata.uid for pod in pods.values()}
        assert {s.config.metadata.uid for s in world.sandboxes.values()} == uids
        assert {b.sandbox.config.metadata.uid for b in world.containers.values()} == uids
        for name, (kind, _) in self.wanted.items():
            lasting, found = LASTING[kind], {box.name for box in self.running(name)}
            if lasting is not None:
                assert found == lasting, f"{name}: {found}"
            status = self.kubelet.pods.statuses.get(pods[name].metadata.uid)
            # A job may have been made to fail on the way.
            assert status.phase in {"Succeeded", "Failed"} or kind not in JOBS, name
            if lasting:
                assert status.phase == "Running", name
                assert {c.type: c.status for c in status.conditions}["Ready"] == "True", name
        assert {path.name for path in self.layout.pods.iterdir()} <= uids
        assert {path.stem for path in self.layout.root.glob("pod-statuses/*")} == uids
        assert self.cgroups.pods() <= uids
        apart = {p.metadata.uid for p in pods.values() if p.spec.hostUsers is False}
        assert {path.parent.name for path in self.layout.pods.glob("*/userns")} == apart
        assert self.kubelet.node.user_namespaces.pods == apart


ACTIONS = ("add", "add", "change", "remove", "exit", "end-sandbox", "outage", "fault", "restart", "crash")
STEPS = st.lists(
    st.tuples(
        st.sampled_from(ACTIONS),
        st.sampled_from(sorted(KINDS)),
        st.integers(0, 9),
        st.sampled_from([0.0, 0.05, 0.3, 2.0, 15.0, 60.0]),
    ),
    min_size=3,
    max_size=14,
)


@pytest.mark.looptime
@pytest.mark.timeout(120)
@settings(
    max_examples=12,
    derandomize=True,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
# The answer to CreateContainer is lost, and the next instance is made in the very same instant.
@example(
    first={"batch"},
    steps=[("add", "plain", 0, 0.0), ("fault", "chain", 1, 0.0), ("change", "crasher", 9, 0.3)],
)
# A pod in a user namespace comes again while the one before it ends, over a crash.
@example(
    first={"apart"},
    steps=[("change", "apart", 0, 0.3), ("crash", "apart", 0, 2.0), ("change", "apart", 0, 0.0)],
)
@given(st.sets(st.sampled_from(sorted(KINDS))), STEPS)
async def test_random_life(one_thread, mount_area, host, first, steps):
    # Debug mode notes a traceback for each of a life's many thousand timers.
    asyncio.get_running_loop().set_debug(False)
    life = Life(mount_area / f"life-{len(list(mount_area.iterdir()))}", host)
    for kind in first:
        life.write(kind, 0)
    await life.start()
    try:
        for action, kind, number, pause in steps:
            await life.do(action, kind, number)
            await life.clock.sleep(pause)
        life.runtime.faults.heal()
        await life.clock.sleep(REST)
        assert life.watch.broken == []
        life.check_end()
        for kind in {kind for kind, _ in life.wanted.values()}:
            await life.do("remove", kind, 0)
        await life.clock.sleep(75)
        life.check_end()
        assert not any(life.layout.pods.iterdir())
    finally:
        await life.stop()
