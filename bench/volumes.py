"""What volumes made of objects cost: a pod's start with twenty of them, and many such pods at rest.

The API server is the tests' double, in this process: both kubelets get the same one.
"""

import asyncio
import base64
import contextlib
import os
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from tests.apiserver.client import Client
from tests.apiserver.server import ApiServer

from bench import bare
from bench.figures import Row, percentile, spread
from bench.lab import Node, manifest, private_containerd, running_node
from pykubelet.cri.client import CriClient

#: Objects of each kind, each in a volume of its own.
OBJECTS = 10
STARTS, RESTING = 20, 110
#: Contents are looked at again after four minutes at the earliest: rest without that would not be true.
SETTLE, SECONDS = 270.0, 180.0

_PODS = "/api/v1/namespaces/bench/pods"


@dataclass
class _Joined:
    """A node, its runtime, and its cluster seen by an administrator."""

    node: Node
    runtime: CriClient
    admin: Client

    async def create(self, name: str, volumes: list[dict[str, object]]) -> int:
        """Create the pod on the node; the wall clock (ns) just before."""
        pod = manifest(name)
        spec = pod["spec"]
        assert isinstance(spec, dict)
        (container,) = spec["containers"]
        spec["nodeName"] = os.uname().nodename.lower()
        spec["volumes"] = volumes
        container["volumeMounts"] = [
            {"name": volume["name"], "mountPath": f"/v/{volume['name']}"} for volume in volumes
        ]
        before = time.time_ns()
        await self.admin.create(_PODS, pod)
        return before

    async def started(self, *names: str) -> dict[str, int]:
        return await bare.started_at(self.runtime, set(names), 600, self.node.check)


@contextlib.asynccontextmanager
async def _joined(peer: Path | None) -> AsyncIterator[_Joined]:
    with private_containerd("bench") as used, tempfile.TemporaryDirectory() as directory:
        async with ApiServer() as server, server.client() as admin:
            server.create_namespace("bench")
            kubeconfig = server.write_kubeconfig(Path(directory, "kubeconfig"))
            with running_node(used, peer, kubeconfig, maxPods=RESTING + 10) as node:
                await server.wait_for(lambda: server.node(os.uname().nodename.lower()), 60)
                runtime = bare.client(used)
                for number in range(OBJECTS):
                    await _create_objects(admin, number)
                yield _Joined(node, runtime, admin)
                await runtime.close()


async def _create_objects(admin: Client, number: int) -> None:
    values = {f"key-{key}": "x" * 500 for key in range(3)}
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    meta = {"metadata": {"name": f"o{number}"}}
    await admin.create("/api/v1/namespaces/bench/configmaps", {**meta, "data": values})
    await admin.create("/api/v1/namespaces/bench/secrets", {**meta, "data": encoded})


def _twenty() -> list[dict[str, object]]:
    maps = [{"name": f"m{number}", "configMap": {"name": f"o{number}"}} for number in range(OBJECTS)]
    secrets = [{"name": f"s{number}", "secret": {"secretName": f"o{number}"}} for number in range(OBJECTS)]
    return [*maps, *secrets]


async def _starts(peer: Path | None) -> list[Row]:
    seconds: dict[str, list[float]] = {"without volumes": [], "with 10 config maps and 10 secrets": []}
    async with _joined(peer) as joined:
        # The first of each warms up what is cached.
        for number in range(STARTS + 1):
            for volumes, samples in zip(([], _twenty()), seconds.values(), strict=True):
                name = f"p{number}-{len(volumes)}"
                before = await joined.create(name, volumes)
                began = (await joined.started(name))[name]
                if number:
                    samples.append((began - before) / 1e9)
                await asyncio.sleep(0.7)
    medians = [percentile(samples, 0.5) * 1e3 for samples in seconds.values()]
    rows = [row for kind, samples in seconds.items() for row in spread(f"pod {kind} → running", samples)]
    return [*rows, Row("what the volumes add to the median", medians[1] - medians[0], "ms")]


async def _rest(peer: Path | None) -> list[Row]:
    volumes: list[dict[str, object]] = [
        {"name": "settings", "configMap": {"name": "o0"}},
        {"name": "keys", "secret": {"secretName": "o0"}},
        {"name": "about", "downwardAPI": {"items": [_field("metadata.name"), _field("metadata.labels")]}},
        {"name": "work", "emptyDir": {}},
        {"name": "fast", "emptyDir": {"medium": "Memory"}},
    ]
    async with _joined(peer) as joined:
        names = [f"r{number}" for number in range(RESTING)]
        for name in names:
            await joined.create(name, volumes)
        await joined.started(*names)
        used_to_start = joined.node.cpu_seconds()
        await asyncio.sleep(SETTLE)
        before, began = joined.node.cpu_seconds(), time.monotonic()
        await asyncio.sleep(SECONDS)
        per_minute = (joined.node.cpu_seconds() - before) * 60 / (time.monotonic() - began)
        return [
            Row(f"CPU at rest, {RESTING} pods with {len(volumes)} volumes each", per_minute, "s/min"),
            Row("resident memory", joined.node.memory_mib(), "MiB"),
            Row("CPU until all ran", used_to_start, "s", note=f"{joined.node.threads()} threads"),
        ]


def _field(path: str) -> dict[str, object]:
    return {"path": path, "fieldRef": {"fieldPath": path}}


def measure(peer: Path | None) -> list[Row]:
    """The rows of starts."""
    return asyncio.run(_starts(peer))


def measure_rest(peer: Path | None) -> list[Row]:
    """The rows of many pods at rest."""
    return asyncio.run(_rest(peer))
