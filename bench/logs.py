"""How long a kubelet takes to hand out a container's log of 500 MB, in the ways that it is asked for."""

import asyncio
import random
import subprocess
import time
from pathlib import Path

from bench import bare
from bench.figures import Row
from bench.lab import Node, manifest, private_containerd, running_node
from bench.start import node_suffix

SIZE, LINES_AT_ONCE, SECOND = 500_000_000, 10_000, 1_000_000_000
_TEXT = " stdout F line %010d: what a server says of a request, as long as such lines are on the whole\n"


def _stamp(ns: int) -> str:
    """As Go's RFC3339Nano has it: without zeros at the end."""
    fraction = f"{ns % SECOND:09d}".rstrip("0")
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ns // SECOND))
    return f"{whole}.{fraction}Z" if fraction else f"{whole}Z"


def write_log(path: Path, size: int, last: int) -> tuple[int, int]:
    """Write about *size* bytes of CRI log, *last* the time of its end; lines and the time of its middle."""
    dice = random.Random(4)
    step = 2 * 700 * SECOND // (size // 120)
    now, lines, written, middle = last - 1400 * SECOND, 0, 0, 0
    with path.open("wb") as file:
        while written < size:
            block = []
            for _ in range(LINES_AT_ONCE):
                now += dice.randrange(step * 2 * 1000) // 1000
                block.append(_stamp(now) + _TEXT % lines)
                lines += 1
            written += file.write("".join(block).encode())
            if not middle and written >= size // 2:
                middle = now
    return lines, middle


def read(port: int, path: str) -> tuple[int, float]:
    """Bytes and seconds of one answer; curl takes it, so that reading costs next to nothing."""
    url = f"https://127.0.0.1:{port}{path}"
    command = ["curl", "-skf", "-o", "/dev/null", "-w", "%{size_download} %{time_total}", url]
    size, seconds = subprocess.run(command, check=True, capture_output=True).stdout.split()
    return int(size), float(seconds)


def _rows(node: Node, middle: int, pod: str) -> list[Row]:
    ways = {
        "plain": "",
        "with timestamps": "timestamps=true",
        "the last 1000000 lines": "tailLines=1000000",
        "since the middle": f"sinceTime={_stamp(middle)[:19]}Z",
    }
    rows = []
    for way, query in ways.items():
        before = node.cpu_seconds()
        size, seconds = read(node.port, f"/containerLogs/bench/{pod}/main?{query}")
        cpu = node.cpu_seconds() - before
        rows.append(
            Row(f"500 MB of log, {way}", seconds, "s", note=f"{size / 1e6:.0f} MB sent; CPU {cpu:.2f} s")
        )
        print(rows[-1].text(), flush=True)
    return rows


async def _measure(peer: Path | None) -> list[Row]:
    # On loopback, and without a cluster there is nobody to ask who the reader is.
    anyone = {"anonymous": {"enabled": True}, "webhook": {"enabled": False}}
    with (
        private_containerd("bench") as used,
        running_node(used, peer, authentication=anyone, containerLogMaxSize="10Gi") as node,
    ):
        runtime = bare.client(used)
        node.write(manifest("talker"))
        pod = "talker" + node_suffix()
        await bare.started_at(runtime, {pod}, 60, node.check)
        await runtime.close()
        await asyncio.sleep(3)
        (log,) = (node.home / "logs").glob("*/main/0.log")
        _, middle = await asyncio.to_thread(write_log, log, SIZE, time.time_ns())
        return await asyncio.to_thread(_rows, node, middle, pod)


def measure(peer: Path | None) -> list[Row]:
    """The rows of this measurement."""
    return asyncio.run(_measure(peer))
