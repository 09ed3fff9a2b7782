"""A node in the test's own event loop: the whole kubelet on a real runtime, in directories of its own.

Only one node may run on a runtime at a time: each takes pods that it does not know for orphans.
"""

import asyncio
import inspect
import json
import os
import time
import zlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import yaml
from tests.integration.killed_node import pod as plain_pod
from tests.listing import listed

from pykubelet.base.clock import SystemClock
from pykubelet.base.layout import Layout
from pykubelet.base.tasks import TaskOwner
from pykubelet.cli.daemon import make_kubelet
from pykubelet.cli.up.leftovers import mounts_below, remove_cgroups, unmount_below
from pykubelet.config import load
from pykubelet.cri.client import CriClient
from pykubelet.explain.story import tell
from pykubelet.kubelet import Kubelet
from pykubelet.linux.cgroup_discovery import discover
from pykubelet.node.host import look
from pykubelet.resources import create_root
from pykubelet.resources.names import uid_of

#: Seconds that a wait may last unless the test says otherwise.
PATIENCE = 15.0


def pod(name, *containers, grace=1, **spec):
    """A manifest whose pod ends within *grace* seconds."""
    return plain_pod(name, *containers, terminationGracePeriodSeconds=grace, **spec)


def named_netns(run_dir: Path) -> set[str]:
    """The network namespaces of the private containerd that runs in *run_dir*, by path."""
    return {str(path) for plugin in listed(run_dir / "state") for path in listed(plugin / "netns")}


class Node:
    """A kubelet with everything of its own at *base*, on the runtime at *endpoint*."""

    def __init__(
        self,
        base: Path,
        endpoint: str,
        cgroup_root: str,
        name: str = "n1",
        *,
        kubeconfig: str = "",
        flags: Sequence[str] = (),
        **config,
    ) -> None:
        """*kubeconfig* makes it a node of a cluster; *flags* are more of the command line."""
        self._flags = flags
        self.name = name
        self._kubeconfig = kubeconfig
        self.base = base
        self.manifests = base / "manifests"
        self.cgroup_root = cgroup_root
        self.layout = Layout(
            root=base / "root",
            pod_logs=Path(config.get("podLogsDir", base / "logs")),
            container_log_links=base / "links",
            run=base / "run",
        )
        self.manifests.mkdir(parents=True, exist_ok=True)
        self._config = {
            "apiVersion": "kubelet.config.k8s.io/v1beta1",
            "kind": "KubeletConfiguration",
            # However full this machine is, its images stay for the other tests.
            "imageGCHighThresholdPercent": 100,
            "enableServer": False,
            "healthzPort": 0,
            "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": False}},
            "authorization": {"mode": "AlwaysAllow"},
            "containerRuntimeEndpoint": endpoint,
            "staticPodPath": str(self.manifests),
            "podLogsDir": str(self.layout.pod_logs),
            "cgroupRoot": cgroup_root,
            "failCgroupV1": False,
            "failSwapOn": False,
            "makeIPTablesUtilChains": False,
            "oomScoreAdj": 0,
            **config,
        }
        self._tasks = TaskOwner("node")
        self._stop: asyncio.Event | None = None
        self._running: asyncio.Task[None] | None = None
        self._runtime_dir = Path(endpoint.removeprefix("unix://")).parent
        self._netns = named_netns(self._runtime_dir)
        self.kubelet: Kubelet | None = None
        self.cri = CriClient(endpoint, clock=SystemClock(), request_timeout=30)

    # --- the daemon -----------------------------------------------------------

    async def start(self) -> None:
        """A new daemon on the directories that are there."""
        assert self._running is None
        file = self.base / "config.json"
        file.write_text(json.dumps(self._config))
        arguments = [f"--config={file}", f"--root-dir={self.layout.root}", f"--cert-dir={self.base / 'pki'}"]
        arguments += self._flags
        if self._kubeconfig:
            arguments.append(f"--kubeconfig={self._kubeconfig}")
        loaded = await asyncio.to_thread(load, arguments)
        await asyncio.to_thread(lambda: create_root(discover(), self.cgroup_root))
        host = await asyncio.to_thread(look, self.name, loaded.flags.nodeIP, self.layout.root)
        self.kubelet = await make_kubelet(loaded, host, self.layout)
        self._stop = asyncio.Event()
        self._running = self._tasks.spawn("kubelet", self.kubelet.run(self._stop))

    async def stop(self) -> None:
        """End the daemon in order; the pods run on."""
        if self._running is not None:
            self._stop.set()
            running, self._running = self._running, None
            await asyncio.wait_for(running, 20)

    def reconfigure(self, **config) -> None:
        """Fields that the next daemon is configured with."""
        self._config |= config

    async def restart(self) -> None:
        await self.stop()
        await self.start()

    async def close(self) -> None:
        await self.stop()
        await self.cri.close()
        await self._tasks.close()

    # --- what it is told ------------------------------------------------------

    def apply(self, *manifests, file: str = "") -> str:
        """Put manifests (objects or texts) where the daemon looks, in one step; the first one's name."""
        objects = [yaml.safe_load(m) if isinstance(m, str) else m for m in manifests]
        for one in objects:
            name = file or f"{one['metadata']['name']}.yaml"
            self.write(name, yaml.safe_dump(one))
        return objects[0]["metadata"]["name"]

    def write(self, name: str, content: str | bytes) -> None:
        """Put a file into the directory of manifests, in one step."""
        hidden = self.manifests / f".{name}"
        hidden.write_bytes(content.encode() if isinstance(content, str) else content)
        hidden.rename(self.manifests / name)

    def remove(self, *names: str) -> None:
        """Take away the manifests of the pods of these names."""
        for name in names:
            (self.manifests / f"{name}.yaml").unlink()

    # --- what is seen ---------------------------------------------------------

    def full(self, name: str) -> str:
        """The name that a static pod gets on this node."""
        return f"{name}-{self.name}"

    def pod(self, name: str):
        """The newest pod of that name that the node knows; None if there is none."""
        found = [p for p, _ in self.kubelet.pods.manager.statuses() if p.metadata.name == self.full(name)]
        wanted = [p for p in found if self.kubelet.intake.store.get(p.metadata.uid) is not None]
        return next(iter(wanted or found), None)

    def uid(self, name: str) -> str:
        return self.pod(name).metadata.uid

    def status(self, name: str):
        """The pod's status as last reported; None if the pod is not known."""
        known = self.pod(name)
        return None if known is None else self.kubelet.pods.statuses.get(known.metadata.uid) or known.status

    def phase(self, name: str) -> str:
        status = self.status(name)
        return "" if status is None else status.phase

    def ready(self, *names: str) -> bool:
        return all(self.condition(name, "Ready") == "True" for name in names)

    def condition(self, name: str, kind: str) -> str:
        status = self.status(name)
        conditions = () if status is None else status.conditions or ()
        return next((c.status for c in conditions if c.type == kind), "")

    def container(self, name: str, container: str = "app"):
        """The container's status; None while it has none."""
        status = self.status(name)
        if status is None:
            return None
        every = (*(status.containerStatuses or ()), *(status.initContainerStatuses or ()))
        return next((c for c in every if c.name == container), None)

    def terminated(self, name: str, container: str = "app"):
        """How the container ended; None while it has not."""
        status = self.container(name, container)
        return None if status is None or status.state is None else status.state.terminated

    def waiting(self, name: str, container: str = "app"):
        status = self.container(name, container)
        return None if status is None or status.state is None else status.state.waiting

    def runs(self, name: str, container: str = "app") -> bool:
        status = self.container(name, container)
        return status is not None and status.state is not None and status.state.running is not None

    def restarts(self, name: str, container: str = "app") -> int:
        status = self.container(name, container)
        return -1 if status is None else status.restartCount

    def container_id(self, name: str, container: str = "app") -> str:
        """The ID as the runtime knows it."""
        return self.container(name, container).containerID.partition("://")[2]

    def entries(self, name: str):
        return self.kubelet.ground.journal.of_name("default", self.full(name))

    def events(self, name: str, reason: str = ""):
        """The pod's events, those of *reason* if it is given."""
        return [e for e in self.entries(name) if e.kind == "event" and reason in {"", e.what}]

    def decisions(self, name: str, what: str):
        return [e for e in self.entries(name) if e.kind == "decision" and e.what == what]

    def node_events(self, reason: str = ""):
        entries = self.kubelet.ground.journal.of_node()
        return [e for e in entries if e.kind == "event" and reason in {"", e.what}]

    def story(self, name: str) -> str:
        return "\n".join(tell(self.entries(name)))

    def log(self, name: str, container: str = "app", number: int = 0) -> str:
        """What the container wrote, without stamps."""
        known = self.pod(name).metadata
        file = self.layout.container_log("default", known.name, known.uid, container, number)
        lines = file.read_text().splitlines() if file.exists() else []
        return "\n".join(line.split(" ", 3)[3] for line in lines)

    async def exec(self, name: str, script: str, container: str = "app") -> str:
        """What the shell in the container says to *script*, which must not fail."""
        done = await self.cri.exec_sync(self.container_id(name, container), ["sh", "-c", script], 10)
        assert done.exit_code == 0, (done.exit_code, done.stdout, done.stderr)
        return done.stdout.decode().rstrip("\n")

    async def pid(self, container_id: str) -> int:
        """Pid of a container's first process."""
        return (await self.cri.container_status(container_id, verbose=True)).pid

    async def sandbox_pid(self, sandbox_id: str) -> int:
        """Pid of a sandbox's own process; the test is skipped where a sandbox has none (CRI-O)."""
        pid = (await self.cri.sandbox_status(sandbox_id, verbose=True)).pid
        return pid or pytest.skip("this runtime gives a sandbox no process of its own")

    async def until(self, predicate, seconds: float = PATIENCE, about: str = ""):
        """Wait until *predicate* (plain or async) says something true, and return that."""
        ends = time.monotonic() + seconds
        while True:
            value = predicate()
            if inspect.isawaitable(value):
                value = await value
            if value:
                return value
            if self._running is not None and self._running.done():
                await self._running
            if time.monotonic() > ends:
                raise AssertionError(
                    f"not so after {seconds}s: {inspect.getsource(predicate)}{self._all(about)}"
                )
            await asyncio.sleep(0.02)

    def _all(self, about: str) -> str:
        names = [about] if about else [p.metadata.name.removesuffix(f"-{self.name}") for p in self._pods()]
        return "\n".join(f"=== {name}: {self.status(name)}\n{self.story(name)}" for name in names)

    def _pods(self):
        return [] if self.kubelet is None else [p for p, _ in self.kubelet.pods.manager.statuses()]

    async def gone(self, *names: str, seconds: float = PATIENCE) -> None:
        """Wait until the pods of these names are known to nobody."""
        for name in names:
            await self.until(lambda name=name: self.pod(name) is None, seconds, name)

    async def delete(self, *names: str, seconds: float = PATIENCE) -> None:
        """Remove manifests and wait until their pods are gone."""
        self.remove(*names)
        await self.gone(*names, seconds=seconds)

    # --- what is left ---------------------------------------------------------

    async def drain(self, seconds: float = 30.0) -> None:
        """Remove all manifests and wait until nothing of the pods is left, anywhere."""
        for file in self.manifests.iterdir():
            file.unlink()
        left = await self.leftovers()
        ends = time.monotonic() + seconds
        while any(left.values()) or self._pods():
            assert time.monotonic() < ends, f"left behind: {left}{self._all('')}"
            await asyncio.sleep(0.05)
            left = await self.leftovers()

    async def leftovers(self) -> dict[str, list[str]]:
        """Everything that pods of this node have on the machine, by kind."""
        containers = [c.id for c in await self.cri.list_containers()]
        sandboxes = [s.id for s in await self.cri.list_sandboxes()]
        found = await asyncio.to_thread(self._on_disk)
        return {"containers": containers, "sandboxes": sandboxes, **found}

    def _on_disk(self) -> dict[str, list[str]]:
        layout = self.layout
        below = f"{self.cgroup_root.lstrip('/')}/kubepods"
        classes = [path for top in listed("/sys/fs/cgroup") for path in listed(top / below)]
        cgroups = [*classes, *(path for one in classes for path in listed(one))]
        own = os.path.realpath(layout.root)
        return {
            "mounts": [m for m in mounts_below([layout.root]) if m != own],
            "network namespaces": sorted(named_netns(self._runtime_dir) - self._netns),
            "cgroups": [str(p) for p in cgroups if uid_of(p.name)],
            **{
                str(d): [path.name for path in listed(d)]
                for d in (layout.pods, layout.pod_logs, layout.container_log_links)
            },
            "statuses": [path.name for path in listed(layout.root / "pod-statuses")],
        }


@asynccontextmanager
async def running_node(base: Path, containerd, name: str = "n1", **config) -> AsyncIterator[Node]:
    """A node on the private containerd that is drained at the end and must leave nothing."""
    top = f"{containerd.cgroup_root}/{name}{zlib.crc32(str(base).encode()):08x}"
    node = Node(base, config.pop("endpoint", containerd.endpoint), f"/{top}", name, **config)
    await node.start()
    try:
        yield node
        if node._running is None:
            await node.start()
        await node.drain()
    finally:
        await node.close()
        await asyncio.to_thread(remove_cgroups, top)
        await asyncio.to_thread(unmount_below, [base])
