"""Thirty pods at once: until all run, against bare CRI calls four at a time; the median of some rounds."""

import asyncio
import statistics
import time
from pathlib import Path

from bench import bare
from bench.figures import Row
from bench.lab import Node, manifest, private_containerd, running_node
from bench.start import node_suffix
from pykubelet.cli.up.containerd import PrivateContainerd
from pykubelet.cri.client import CriClient

PODS, AT_ONCE, ROUNDS = 30, 4, 3


async def _bare(runtime: CriClient, alone: PrivateContainerd, logs: Path, names: list[str]) -> float:
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(name: str) -> None:
        async with gate:
            await bare.run_pod(runtime, name, logs, f"/{alone.cgroup_root}/{name}")

    began = time.monotonic()
    await asyncio.gather(*(one(name) for name in names))
    return time.monotonic() - began


async def _kubelet(runtime: CriClient, node: Node, names: list[str]) -> float:
    before = min([node.write(manifest(name)) for name in names])
    began = await bare.started_at(runtime, {name + node_suffix() for name in names}, 180, node.check)
    return (max(began.values()) - before) / 1e9


async def _measure(peer: Path | None) -> tuple[list[float], list[float]]:
    with private_containerd("bench") as used, private_containerd("bare") as alone:
        ours, others = bare.client(used), bare.client(alone)
        with running_node(used, peer) as node:
            await _kubelet(ours, node, ["warm-up"])
            await _bare(others, alone, node.home / "bare", ["warm-up"])
            kubelet, calls = [], []
            # The pods of earlier rounds run on, at rest.
            for number in range(ROUNDS):
                names = [f"p{number}-{pod}" for pod in range(PODS)]
                await asyncio.sleep(3)
                calls.append(await _bare(others, alone, node.home / "bare", names))
                await asyncio.sleep(3)
                kubelet.append(await _kubelet(ours, node, names))
        await ours.close()
        await others.close()
        return kubelet, calls


def measure(peer: Path | None) -> list[Row]:
    """The rows of this measurement."""
    kubelet, calls = asyncio.run(_measure(peer))
    ours, others = statistics.median(kubelet), statistics.median(calls)
    rounds = ", ".join(f"{seconds:.1f}" for seconds in kubelet)
    bare_rounds = ", ".join(f"{seconds:.1f}" for seconds in calls)
    return [
        Row(f"{PODS} manifests written → all run", ours, "s", note=f"of {rounds}"),
        Row(f"{PODS} pods by bare CRI calls, {AT_ONCE} at a time", others, "s", note=f"of {bare_rounds}"),
        Row("ratio", ours / others, "×"),
    ]
