"""What the kubelet's process costs while fifty pods run and nothing happens."""

import asyncio
import time
from pathlib import Path

from bench import bare
from bench.figures import Row
from bench.lab import manifest, private_containerd, running_node
from bench.start import node_suffix

PODS, SETTLE, SECONDS = 50, 30.0, 120.0


async def _measure(peer: Path | None, *, probes: bool) -> list[Row]:
    title = "with two TCP probes each, every 10 s" if probes else "without probes"
    with private_containerd("bench") as used, running_node(used, peer) as node:
        runtime = bare.client(used)
        names = [f"p{number}" for number in range(PODS)]
        for name in names:
            node.write(manifest(name, probes=probes))
        await bare.started_at(runtime, {name + node_suffix() for name in names}, 300, node.check)
        await runtime.close()
        used_to_start = node.cpu_seconds()
        await asyncio.sleep(SETTLE)
        before, began = node.cpu_seconds(), time.monotonic()
        await asyncio.sleep(SECONDS)
        per_minute = (node.cpu_seconds() - before) * 60 / (time.monotonic() - began)
        return [
            Row(f"CPU at rest, {PODS} pods {title}", per_minute, "s/min", None if probes else 2.0),
            Row("resident memory", node.memory_mib(), "MiB", None if probes else 100.0),
            Row("CPU until all ran", used_to_start, "s", note=f"{node.threads()} threads"),
        ]


def measure(peer: Path | None) -> list[Row]:
    """The rows without probes."""
    return asyncio.run(_measure(peer, probes=False))


def measure_probed(peer: Path | None) -> list[Row]:
    """The rows with probes."""
    return asyncio.run(_measure(peer, probes=True))
