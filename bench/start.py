"""From the writing of a manifest to its container running, one pod at a time, against bare CRI calls."""

import asyncio
import os
from pathlib import Path

from bench import bare
from bench.figures import Row, percentile, spread
from bench.lab import manifest, private_containerd, running_node

PODS = 24


def node_suffix() -> str:
    """What a kubelet appends to a static pod's name."""
    return f"-{os.uname().nodename.lower()}"


async def _measure(peer: Path | None) -> tuple[list[float], list[float]]:
    with private_containerd("bench") as used, private_containerd("bare") as alone:
        ours, others = bare.client(used), bare.client(alone)
        with running_node(used, peer) as node:
            alone_logs = node.home / "bare"
            kubelet, calls = [], []
            # The first of each warms up what is cached.
            for number in range(PODS + 1):
                name = f"p{number}"
                seconds = await bare.run_pod(others, name, alone_logs, f"/{alone.cgroup_root}/{name}")
                await asyncio.sleep(0.3)
                before = node.write(manifest(name))
                full = name + node_suffix()
                began = (await bare.started_at(ours, {full}, 60, node.check))[full]
                await asyncio.sleep(0.7)
                if number:
                    calls.append(seconds)
                    kubelet.append((began - before) / 1e9)
        await ours.close()
        await others.close()
        return kubelet, calls


def measure(peer: Path | None) -> list[Row]:
    """The rows of this measurement."""
    kubelet, calls = asyncio.run(_measure(peer))
    return [
        *spread("manifest written → container running", kubelet),
        *spread("bare CRI calls → container running", calls),
        Row("ratio of the medians", percentile(kubelet, 0.5) / percentile(calls, 0.5), "×", 1.3),
        Row("ratio of the 95th percentiles", percentile(kubelet, 0.95) / percentile(calls, 0.95), "×"),
    ]
