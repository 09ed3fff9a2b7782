"""Thirty pods at once: until all run, against bare CRI calls four at a time."""

import asyncio
import time
from pathlib import Path

from bench import bare
from bench.figures import Row
from bench.lab import manifest, private_containerd, running_node
from bench.start import node_suffix

PODS, AT_ONCE = 30, 4


async def _bare() -> float:
    with private_containerd("bare") as alone:
        runtime, gate = bare.client(alone), asyncio.Semaphore(AT_ONCE)
        logs = alone.base_dir.parent / "logs"

        async def one(name: str) -> None:
            async with gate:
                await bare.run_pod(runtime, name, logs, f"/{alone.cgroup_root}/{name}")

        await bare.run_pod(runtime, "warm-up", logs, f"/{alone.cgroup_root}/warm-up")
        began = time.monotonic()
        await asyncio.gather(*(one(f"p{number}") for number in range(PODS)))
        taken = time.monotonic() - began
        await runtime.close()
        return taken


async def _kubelet(peer: Path | None) -> float:
    with private_containerd("bench") as used, running_node(used, peer) as node:
        runtime = bare.client(used)
        node.write(manifest("warm-up"))
        await bare.started_at(runtime, {f"warm-up{node_suffix()}"}, 90)
        await asyncio.sleep(3)
        names = [f"p{number}" for number in range(PODS)]
        before = min([node.write(manifest(name)) for name in names])
        began = await bare.started_at(runtime, {name + node_suffix() for name in names}, 180)
        await runtime.close()
        return (max(began.values()) - before) / 1e9


def measure(peer: Path | None) -> list[Row]:
    """The rows of this measurement."""
    calls, kubelet = asyncio.run(_bare()), asyncio.run(_kubelet(peer))
    return [
        Row(f"{PODS} manifests written → all run", kubelet, "s"),
        Row(f"{PODS} pods by bare CRI calls, {AT_ONCE} at a time", calls, "s"),
        Row("ratio", kubelet / calls, "×"),
    ]
