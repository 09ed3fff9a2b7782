"""A whole node of a cluster in memory and virtual time: the daemon, its runtime, and an API server's double.

Everything but sockets, threads and the kernel is real: also the API client and the double's HTTP.
"""

import asyncio
import logging
import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.apiserver import resources
from tests.apiserver.memory import MemoryApiServer
from tests.apiserver.requests import Request
from tests.apiserver.resources import Object
from tests.memory_node import IMAGE, MemoryCgroups, runs, script, write_config

from pykubelet.base.clock import LoopClock, from_ns
from pykubelet.base.layout import Layout
from pykubelet.base.metrics import Metrics
from pykubelet.base.tasks import TaskOwner
from pykubelet.cluster import connections
from pykubelet.config import load
from pykubelet.cri.memory import MemoryRuntime
from pykubelet.cri.memory_world import Box, ExecAnswer, Script
from pykubelet.cri.types import ContainerState
from pykubelet.explain.journal import DecisionJournal
from pykubelet.kubelet import Kubelet, Parts
from pykubelet.node import address_watch
from pykubelet.node.host import Host
from pykubelet.wiring.connection import Tools, connect

NODE = "n"
#: Virtual seconds in which a change is on both sides, all being well: back-offs of an outage are over.
SOON = 45.0


class JumpyClock(LoopClock):
    """Follows the loop, but its wall time can be set, as by an administrator or NTP.

    As on a machine, no two readings are the same: events bear their nanosecond in their names.
    """

    def __init__(self) -> None:
        super().__init__()
        self.ahead = 0.0
        self._readings = 0

    def now_ns(self) -> int:
        self._readings += 1
        return super().now_ns() + int(self.ahead * 1e9) + self._readings

    def now(self) -> datetime:
        return from_ns(self.now_ns())


class JoinedNode:
    """One node, its API server, and what is done to them; ``async with JoinedNode(...) as node``."""

    def __init__(self, base: Path, host: Host, monkeypatch: pytest.MonkeyPatch, **config: Any) -> None:
        """*config*: fields of the KubeletConfiguration."""
        base.mkdir()
        self.manifests = base / "manifests"
        self.manifests.mkdir()
        self.clock = JumpyClock()
        # The API server's clock does not jump with the node's.
        self._zero = datetime(2026, 1, 1, tzinfo=self.clock.now().tzinfo)
        self.server = MemoryApiServer(self.server_now)
        monkeypatch.setattr(connections, "make_connector", self.server.network.connector)
        # Names are not asked of the DNS, which takes its time.
        monkeypatch.setattr(address_watch, "choose_ips", lambda name, ip: host.ips)
        self.runtime = MemoryRuntime(self.clock, scripts=self._script)
        self.runtime.world.add_image(IMAGE)
        self.runtime.world.listeners.append(self._runtime_did)
        #: What the runtime did: (event, pod's name).
        self.did: Counter[tuple[str, str]] = Counter()
        #: When containers were started, by the pod's name; virtual seconds.
        self.starts: dict[str, list[float]] = {}
        #: How often a probe's command ran.
        self.probed = 0
        self.layout = Layout(
            root=base / "root", pod_logs=base / "logs", container_log_links=base / "links", run=base / "run"
        )
        self._host = replace(host, cgroups=MemoryCgroups())  # type: ignore[arg-type]
        self._config = write_config(base / "config.json", self.manifests, self.layout, **config)
        self._kubeconfig = self.server.write_kubeconfig(
            base / "kubeconfig", f"system:node:{NODE}", "system:nodes"
        )
        self._tasks = TaskOwner("node")
        self._errors = _Errors()

    def server_now(self) -> datetime:
        """The API server's wall time."""
        return self._zero + timedelta(seconds=self.clock.monotonic())

    def _script(self, sandbox: Any, config: Any) -> Script:
        def probe(command: tuple[str, ...]) -> ExecAnswer:
            self.probed += 1
            return ExecAnswer()

        return replace(script(sandbox, config), exec=probe)

    def _runtime_did(self, event: Any) -> None:
        box = self.runtime.world.containers.get(event.container_id)
        if box is None:
            return
        name = box.sandbox.config.metadata.name
        self.did[event.type, name] += 1
        if event.type == "CONTAINER_STARTED_EVENT":
            self.starts.setdefault(name, []).append(self.clock.monotonic())

    # --- life -----------------------------------------------------------------

    async def __aenter__(self) -> "JoinedNode":
        # Debug mode notes a traceback for each of many thousand timers.
        asyncio.get_running_loop().set_debug(False)
        logging.getLogger("pykubelet").addHandler(self._errors)
        await self.server.__aenter__()
        await self.start()
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.stop()
        await self.server.__aexit__()
        logging.getLogger("pykubelet").removeHandler(self._errors)
        if error[0] is None:
            assert self._errors.tracebacks == []

    async def start(self) -> None:
        """Start the daemon."""
        loaded = load(
            [f"--config={self._config}", f"--root-dir={self.layout.root}", f"--kubeconfig={self._kubeconfig}"]
        )
        rng, metrics = random.Random(1), Metrics()
        self.journal = DecisionJournal(self.clock, self.layout.journal_file)
        tools = Tools(self.clock, rng, metrics, self.journal)
        connection = await connect(loaded, NODE, tools, pytest.fail)
        parts = Parts(self.runtime, self.clock, rng, self.journal, metrics, connection)
        self.kubelet = Kubelet(loaded, self._host, self.layout, parts)
        self._stop = asyncio.Event()
        self._running = self._tasks.spawn("kubelet", self.kubelet.run(self._stop))

    async def stop(self, *, rudely: bool = False) -> None:
        """End the daemon; what runs goes on."""
        if rudely:
            self._running.cancel()
        self._stop.set()
        async with asyncio.timeout(120):
            await asyncio.gather(self._running, return_exceptions=rudely)

    async def restart(self, *, rudely: bool = False) -> None:
        """End the daemon, start another."""
        await self.stop(rudely=rudely)
        await self.start()

    async def sleep(self, seconds: float) -> None:
        """Let virtual time pass."""
        await asyncio.sleep(seconds)

    async def until(self, predicate: Callable[[], object], timeout: float = 60.0) -> None:
        """Wait until *predicate* holds.

        :raises TimeoutError: it did not within *timeout* virtual seconds.
        """
        await self.server.wait_for(predicate, timeout)

    # --- pods -----------------------------------------------------------------

    def create(self, name: str, *containers: Object, **spec: Any) -> None:
        """Want a pod, at the API server."""
        spec = {"terminationGracePeriodSeconds": 2, **spec}
        self.server.create_pod(name, node=NODE, containers=list(containers) or [runs("app")], **spec)

    def delete(self, name: str) -> None:
        """Delete a pod as a user does."""
        self.server.delete(resources.PODS, "default", name)

    def uid(self, name: str) -> str:
        """A pod's UID."""
        pod = self.server.pod("default", name)
        return "" if pod is None else str(pod["metadata"]["uid"])

    def write_static(self, name: str, version: int = 0, **spec: Any) -> None:
        """Want a static pod."""
        manifest = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "annotations": {"version": str(version)}},
            "spec": {"terminationGracePeriodSeconds": 2, "containers": [runs("app")], **spec},
        }
        hidden = self.manifests / f".{name}"
        hidden.write_text(yaml.safe_dump(manifest))
        hidden.rename(self.manifests / f"{name}.yaml")

    def running(self, name: str) -> list[Box]:
        """The pod's containers that run."""
        self.runtime.world.settle(self.clock.now_ns())
        return [
            box
            for box in self.runtime.world.containers.values()
            if box.sandbox.config.metadata.name == name and box.state is ContainerState.RUNNING
        ]

    def running_pods(self) -> set[str]:
        """Names of the pods of which a container runs."""
        self.runtime.world.settle(self.clock.now_ns())
        boxes = self.runtime.world.containers.values()
        return {b.sandbox.config.metadata.name for b in boxes if b.state is ContainerState.RUNNING}

    # --- what the API server shows --------------------------------------------

    def status(self, name: str) -> Object:
        """A pod's status there; empty when there is no such pod."""
        return (self.server.pod("default", name) or {}).get("status", {})

    def ready(self, name: str) -> bool:
        """Whether a pod is shown as ready."""
        return condition(self.status(name), "Ready") == "True"

    def node_ready(self) -> bool:
        """Whether the Node is shown as ready."""
        return condition((self.server.node(NODE) or {}).get("status", {}), "Ready") == "True"

    def lease_age(self) -> float:
        """Seconds since the lease's last renewal, by the node's clock; infinite without a lease."""
        lease = self.server.get(resources.LEASES, "kube-node-lease", NODE)
        if lease is None:
            return math.inf
        renewed = datetime.fromisoformat(lease["spec"]["renewTime"])
        return (self.clock.now() - renewed).total_seconds()

    def requests(self, path: str = "*", verb: str = "", since: float = 0.0) -> list[Request]:
        """What was asked of the API server since a moment of :meth:`time`."""
        return self.server.requests.find(path, verb, since=since)

    @staticmethod
    def time() -> float:
        """Virtual seconds, as requests are stamped with them."""
        return asyncio.get_running_loop().time()

    # --- how it must be -------------------------------------------------------

    def complaints(self) -> list[str]:
        """What was logged as a warning or worse."""
        return self._errors.lines

    def check_agreement(self) -> None:
        """API server and runtime tell the same: each wanted pod is shown as it is, nothing else is there."""
        pods = {pod["metadata"]["uid"]: pod for pod in self.server.list(resources.PODS)}
        mirrored = {
            pod["metadata"]["annotations"]["kubernetes.io/config.mirror"]
            for pod in pods.values()
            if "kubernetes.io/config.mirror" in pod["metadata"].get("annotations", {})
        }
        statics = {path.stem for path in self.manifests.glob("*.yaml")}
        assert len(mirrored) == len(statics)
        wanted = {pod["metadata"]["name"] for pod in pods.values()}
        known = {pod.metadata.name for pod in self.kubelet.intake.store.pods()}
        assert wanted == known
        world = self.runtime.world
        assert {s.config.metadata.name for s in world.sandboxes.values()} == wanted
        for pod in pods.values():
            self._check_pod(pod)

    def _check_pod(self, pod: Object) -> None:
        name, status = pod["metadata"]["name"], pod["status"]
        assert "deletionTimestamp" not in pod["metadata"], name
        shown = {each["containerID"].split("//")[-1]: each for each in status["containerStatuses"]}
        running = {each for each, told in shown.items() if "running" in told["state"]}
        assert {box.id for box in self.running(name)} == running, name
        for container_id, told in shown.items():
            box = self.runtime.world.containers[container_id]
            assert box.config.annotations["io.kubernetes.container.restartCount"] == str(
                told["restartCount"]
            ), name


def condition(status: Object, kind: str) -> str:
    """The status of one of a status' conditions; empty without it."""
    return next((c["status"] for c in status.get("conditions", ()) if c["type"] == kind), "")


class _Errors(logging.Handler):
    """Keeps what is logged as a warning or worse, and what came with a traceback."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []
        self.tracebacks: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        line = f"{record.name}: {record.getMessage()}"
        self.lines.append(line)
        if record.exc_info:
            self.tracebacks.append(f"{line}: {record.exc_info[1]!r}")


def names(prefix: str, count: int) -> list[str]:
    """``PREFIX-0`` and so on."""
    return [f"{prefix}-{number}" for number in range(count)]
