"""A container that floods its log under the default rotation: how fast it writes, how large files get."""

import asyncio
import contextlib
import time
from pathlib import Path

from bench import bare
from bench.figures import Row
from bench.lab import manifest, private_containerd, running_node
from bench.start import node_suffix

SECONDS = 25.0
#: Lines of about 1 kB, as fast as a shell's loop of seq gives them.
SCRIPT = """
trap 'exit 0' TERM
filler=$(head -c 1000 /dev/zero | tr '\\0' x)
until [ -e /tmp/go ]; do sleep 0.05; done
while :; do seq -s " $filler
" 1 2000; done
"""


class Files:
    """The sizes that a log's files reach, compressed ones apart."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._now: dict[int, int] = {}
        self._before: list[int] = []

    def look(self) -> None:
        for path in self._directory.iterdir():
            if path.suffix in {".gz", ".tmp"}:
                continue
            with contextlib.suppress(FileNotFoundError):
                status = path.stat()
                known = self._now.get(status.st_ino, 0)
                if status.st_size < known:
                    # Another file got the inode of one that is gone.
                    self._before.append(known)
                self._now[status.st_ino] = status.st_size

    @property
    def sizes(self) -> list[int]:
        return [*self._before, *self._now.values()]


async def _measure(peer: Path | None) -> list[Row]:
    with private_containerd("bench") as used, running_node(used, peer) as node:
        runtime = bare.client(used)
        pod = manifest("flood")
        pod["spec"]["containers"][0]["command"] = ["/bin/sh", "-c", SCRIPT]  # type: ignore[index]
        node.write(pod)
        name = "flood" + node_suffix()
        await bare.started_at(runtime, {name}, 60, node.check)
        (box,) = [c for c in await runtime.list_containers() if c.name == "main"]
        (log,) = (node.home / "logs").glob("*/main/0.log")
        await asyncio.sleep(2)
        before = node.cpu_seconds()
        await runtime.exec_sync(box.id, ["touch", "/tmp/go"], 10)
        files = Files(log.parent)
        began = time.monotonic()
        while time.monotonic() - began < SECONDS:
            files.look()
            await asyncio.sleep(0.02)
        taken = time.monotonic() - began
        cpu = node.cpu_seconds() - before
        await runtime.stop_container(box.id, 1)
        await runtime.close()
        return [
            Row("written under flood", sum(files.sizes) / 1e6 / taken, "MB/s"),
            Row("rotations", len(files.sizes) - 1, ""),
            Row("largest file", max(files.sizes) / (1 << 20), "MiB", note="containerLogMaxSize: 10Mi"),
            Row("CPU of the kubelet", cpu, "s", note=f"in {taken:.0f} s"),
        ]


def measure(peer: Path | None) -> list[Row]:
    """The rows of this measurement."""
    return asyncio.run(_measure(peer))
