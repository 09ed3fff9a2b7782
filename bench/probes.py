"""What probes cost, beside bare ExecSync calls in the same run, and how soon a result is told."""

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web
from tests.apiserver.server import ApiServer

from bench import bare
from bench.bare_exec import COMMAND
from bench.figures import Row, spread
from bench.lab import Node, manifest, private_containerd, running_node
from bench.start import node_suffix
from pykubelet.cli.up.containerd import PrivateContainerd
from pykubelet.cli.up.daemonconfig import free_port
from pykubelet.cli.up.leftovers import processes

PODS, SECONDS, ROUNDS = 8, 20.0, 5
FLIPS = 24
_TICK = os.sysconf("SC_CLK_TCK")


def _used_by(pid: int) -> float:
    """CPU seconds of a process and of its ended children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(int(field) for field in fields[11:15]) / _TICK


def _runtime_used(containerd: PrivateContainerd) -> float:
    """CPU seconds of containerd, its shims, and all that these ran (runc, the commands)."""
    address = str(containerd.socket)
    pids = [pid for pid, arguments in processes() if address in arguments and "shim" in arguments[0]]
    return sum(_used_by(pid) for pid in [*pids, containerd.pid or 0] if pid)


@dataclass
class _Cost:
    """CPU seconds of a while: the caller's and the runtime's."""

    caller: float
    runtime: float
    calls: float

    def per_call(self, rest: "_Cost | None" = None) -> tuple[float, float]:
        """Milliseconds per call, of the caller and in all, without what it costs at *rest*."""
        caller = self.caller - (rest.caller if rest else 0)
        runtime = self.runtime - (rest.runtime if rest else 0)
        return caller * 1e3 / self.calls, (caller + runtime) * 1e3 / self.calls


async def _by_kubelet(node: Node, containerd: PrivateContainerd) -> _Cost:
    caller, runtime = node.cpu_seconds(), _runtime_used(containerd)
    began = time.monotonic()
    await asyncio.sleep(SECONDS)
    took = time.monotonic() - began
    scale = SECONDS / took
    return _Cost(
        (node.cpu_seconds() - caller) * scale, (_runtime_used(containerd) - runtime) * scale, PODS * SECONDS
    )


async def _by_calls(containerd: PrivateContainerd, containers: list[str]) -> _Cost:
    runtime = _runtime_used(containerd)
    command = [sys.executable, "-m", "bench.bare_exec", containerd.endpoint, str(SECONDS), *containers]
    done = await asyncio.to_thread(subprocess.run, command, stdout=subprocess.PIPE, check=True)
    said = json.loads(done.stdout)
    return _Cost(said["cpu"], _runtime_used(containerd) - runtime, said["calls"])


def _probed(name: str, probe: dict[str, Any] | None) -> dict[str, Any]:
    made: dict[str, Any] = manifest(name, probes=probe is not None and "exec" not in probe)
    (container,) = made["spec"]["containers"]
    container.pop("livenessProbe", None)
    container.pop("readinessProbe", None)
    if probe is not None:
        container["livenessProbe"] = {**probe, "periodSeconds": 1, "timeoutSeconds": 10}
    return made


class _Pods:
    """The pods of one phase."""

    def __init__(self, node: Node, containerd: PrivateContainerd) -> None:
        self._node, self._containerd = node, containerd
        self._number = 0

    async def replace(self, probe: dict[str, Any] | None) -> list[str]:
        """End those there are, start others; their containers' IDs."""
        for file in self._node.manifests.glob("*.json"):
            file.unlink()
        runtime = bare.client(self._containerd)
        try:
            while await runtime.list_containers():
                await asyncio.sleep(0.2)
            self._number += 1
            names = [f"p{self._number}-{number}" for number in range(PODS)]
            for name in names:
                self._node.write(_probed(name, probe))
            await bare.started_at(runtime, {n + node_suffix() for n in names}, 120, self._node.check)
            # The first seconds are not like the others.
            await asyncio.sleep(5)
            return [listed.id for listed in await runtime.list_containers()]
        finally:
            await runtime.close()


async def _costs(peer: Path | None) -> list[Row]:
    kinds = {"tcp": {"tcpSocket": {"port": 8080}}, "http": {"httpGet": {"port": 8080, "path": "/"}}}
    with private_containerd("bench") as used, running_node(used, peer) as node:
        pods = _Pods(node, used)
        await pods.replace(None)
        rest = await _by_kubelet(node, used)
        rows = []
        for kind, probe in kinds.items():
            await pods.replace(probe)
            own, _ = (await _by_kubelet(node, used)).per_call(rest)
            rows.append(Row(f"kubelet's CPU per {kind} probe", own, "ms"))
        containers = await pods.replace({"exec": {"command": COMMAND}})
        probes, calls = [], []
        for _ in range(ROUNDS):
            probes.append((await _by_kubelet(node, used)).per_call(rest))
            node.stop()
            calls.append((await _by_calls(used, containers)).per_call())
            node.start()
            await asyncio.sleep(8)
        return [*_compared(probes, calls), *rows]


def _compared(probes: list[tuple[float, float]], calls: list[tuple[float, float]]) -> list[Row]:
    own, every = (statistics.median(each[n] for each in probes) for n in (0, 1))
    bare_own, bare_every = (statistics.median(each[n] for each in calls) for n in (0, 1))
    ratios = [p[1] / c[1] for p, c in zip(probes, calls, strict=True)]
    own_ratios = [p[0] / c[0] for p, c in zip(probes, calls, strict=True)]
    note = f"{ROUNDS} rounds of {PODS * SECONDS:.0f}"
    return [
        Row("CPU per exec probe: kubelet, containerd, shim, runc", every, "ms", note=note),
        Row("CPU per bare ExecSync call: the same", bare_every, "ms"),
        Row("ratio (median of the rounds)", statistics.median(ratios), "×", 1.2),
        Row("of this the kubelet's own, per probe", own, "ms"),
        Row("the bare caller's own, per call", bare_own, "ms"),
        Row("ratio of these", statistics.median(own_ratios), "×"),
    ]


class _Flipping:
    """An HTTP server whose answer flips; knows when it first gave the new one."""

    def __init__(self) -> None:
        self.status = 200
        self.told: asyncio.Future[float] | None = None

    async def answer(self, request: web.Request) -> web.Response:
        if self.told is not None and not self.told.done():
            self.told.set_result(asyncio.get_running_loop().time())
        return web.Response(status=self.status)

    def flip(self) -> asyncio.Future[float]:
        self.status = 200 if self.status == 500 else 500
        self.told = asyncio.get_running_loop().create_future()
        return self.told


async def _latencies(peer: Path | None) -> list[Row]:
    flipping, port = _Flipping(), free_port(22080)
    application = web.Application()
    application.router.add_get("/", flipping.answer)
    runner = web.AppRunner(application)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    with private_containerd("bench") as used:
        async with ApiServer() as server:
            server.create_namespace("bench")
            name = os.uname().nodename.lower()
            with (
                tempfile.TemporaryDirectory() as directory,
                running_node(used, peer, server.write_kubeconfig(Path(directory, "kubeconfig"))) as node,
            ):
                await server.wait_for(lambda: server.node(name), 60)
                pod = _probed("flips", None)
                (container,) = pod["spec"]["containers"]
                get = {"host": "127.0.0.1", "port": port, "path": "/"}
                container["readinessProbe"] = {"httpGet": get, "periodSeconds": 1, "failureThreshold": 1}
                pod["spec"]["nodeName"] = name
                async with server.client() as admin:
                    await admin.create("/api/v1/namespaces/bench/pods", pod)
                await server.wait_for(lambda: _ready(server) is True, 60)
                node.check()
                seconds = [await _flip(server, flipping) for _ in range(FLIPS)]
    await runner.cleanup()
    return spread("the probe's answer flips → the API server has the status", seconds)


def _ready(server: ApiServer) -> bool | None:
    pod = server.pod("bench", "flips")
    conditions = (pod or {}).get("status", {}).get("conditions") or []
    return next((c["status"] == "True" for c in conditions if c["type"] == "Ready"), None)


async def _flip(server: ApiServer, flipping: _Flipping) -> float:
    await asyncio.sleep(1.3)
    wanted = not _ready(server)
    began = await flipping.flip()
    await server.wait_for(lambda: _ready(server) is wanted, 30)
    patches = server.requests.find("/api/v1/namespaces/bench/pods/flips/status", "patch")
    return patches[-1].at - began


def measure(peer: Path | None) -> list[Row]:
    """The rows of this measurement."""
    return [*asyncio.run(_latencies(peer)), *asyncio.run(_costs(peer))]
