"""Six images from a registry on loopback, pulled one after the other or at the same time."""

import asyncio
import contextlib
import statistics
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

from tests.integration.registry import Registry, running_registry, slow_way

from bench import bare
from bench.figures import Row
from bench.lab import manifest, private_containerd, running_node
from bench.start import node_suffix

IMAGES, SIZE, ROUNDS = 6, 8 << 20, 3
#: Bytes a second of one connection to a registry that is far away.
FAR = 4 << 20
MODES: dict[str, dict[str, object]] = {
    "one after the other": {"serializeImagePulls": True},
    "three at once": {"serializeImagePulls": False, "maxParallelImagePulls": 3},
    "all at once": {"serializeImagePulls": False},
}


@contextlib.asynccontextmanager
async def _host(registry: Registry, *, far: bool) -> AsyncIterator[str]:
    if not far:
        yield registry.host
        return
    async with slow_way(registry, FAR) as way:
        yield way.host


async def _pods(
    peer: Path | None, registry: Registry, config: dict[str, object], *, far: bool
) -> list[float]:
    """Seconds from the manifests to the last pod's start, of each round; the images are new in each."""
    took = []
    with private_containerd("pulls") as used:
        runtime = bare.client(used)
        async with _host(registry, far=far) as host:
            with running_node(used, peer, registryPullQPS=0, **config) as node:
                node.write(manifest("warm-up"))
                await bare.started_at(runtime, {"warm-up" + node_suffix()}, 180, node.check)
                for number in range(ROUNDS):
                    names = [f"p{number}-{image}" for image in range(IMAGES)]
                    for name in names:
                        pod = manifest(name)
                        pod["spec"]["containers"][0]["image"] = f"{host}/bench/{name}:v1"  # type: ignore[index]
                        node.write(pod)
                    began = time.time_ns()
                    wanted = {name + node_suffix() for name in names}
                    ends = await bare.started_at(runtime, wanted, 180, node.check)
                    took.append((max(ends.values()) - began) / 1e9)
        await runtime.close()
    return took


def measure(peer: Path | None) -> list[Row]:
    """The rows of this measurement."""
    rows = []
    with (
        tempfile.TemporaryDirectory(prefix="pkb-") as directory,
        running_registry(Path(directory) / "registry") as registry,
    ):
        for number in range(ROUNDS):
            for image in range(IMAGES):
                registry.push(f"bench/p{number}-{image}", "v1", padding=SIZE)
        for far in (False, True):
            where = f"{FAR >> 20} MiB/s a connection" if far else "as fast as it goes"
            for mode, config in MODES.items():
                took = asyncio.run(_pods(peer, registry, config, far=far))
                rounds = ", ".join(f"{seconds:.1f}" for seconds in took)
                what = f"{IMAGES} pods, images of 10 MB, {where}, {mode}"
                rows.append(Row(what, statistics.median(took), "s", note=f"of {rounds}"))
    return rows
