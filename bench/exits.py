"""From the end of a container's process to our hint, and to EXITED in the cache, against a bare poll."""

import asyncio
import os
import signal
import time
from pathlib import Path

from bench import bare
from bench.figures import Row, percentile, spread
from bench.lab import private_containerd
from pykubelet.base.clock import SystemClock
from pykubelet.cri.client import CriClient
from pykubelet.cri.types import ContainerState
from pykubelet.observe.changes import ChangeKind, PodChange
from pykubelet.observe.exits import ExitWatch
from pykubelet.observe.observer import Observer

EXITS = 24
#: Seconds between two looks of the bare poll.
POLL = 0.005


async def _pid(runtime: CriClient, uid: str) -> tuple[str, int]:
    (listed,) = await runtime.list_containers(labels={bare.UID: uid})
    return listed.id, (await runtime.container_status(listed.id, verbose=True)).pid


async def _polled(runtime: CriClient, uid: str) -> float:
    container_id, pid = await _pid(runtime, uid)
    before = time.monotonic()
    os.kill(pid, signal.SIGKILL)
    while (await runtime.container_status(container_id)).state is ContainerState.RUNNING:
        await asyncio.sleep(POLL)
    return time.monotonic() - before


class _Observed:
    """An observer, and when it was told of a container's end and when its cache had it."""

    def __init__(self, runtime: CriClient) -> None:
        self.hints: dict[str, float] = {}
        self.died: dict[str, asyncio.Future[float]] = {}
        watch = ExitWatch(self._hint)
        self.observer = Observer(runtime, SystemClock(), on_change=self._changed, exits=watch)

    def _hint(self, key: str, uid: str) -> None:
        self.hints.setdefault(key, time.monotonic())
        self.observer._exited(key, uid)

    def _changed(self, change: PodChange) -> None:
        if change.kind is ChangeKind.DIED and change.id in self.died:
            self.died[change.id].set_result(time.monotonic())

    async def exit(self, runtime: CriClient, uid: str) -> tuple[float, float]:
        """Seconds from the kill to the hint and to the cache."""
        container_id, pid = await _pid(runtime, uid)
        self.died[container_id] = asyncio.get_running_loop().create_future()
        before = time.monotonic()
        os.kill(pid, signal.SIGKILL)
        seen = await asyncio.wait_for(self.died[container_id], 30)
        return self.hints.get(container_id, seen) - before, seen - before


async def _measure() -> tuple[list[float], list[float], list[float]]:
    hints, cached, polled = [], [], []
    with private_containerd("bench") as used, private_containerd("bare") as alone:
        ours, others = bare.client(used), bare.client(alone)
        logs = used.base_dir.parent / "logs"
        for number in range(EXITS):
            for containerd, runtime in ((used, ours), (alone, others)):
                parent = f"/{containerd.cgroup_root}/p{number}"
                await bare.run_pod(runtime, f"p{number}", logs / containerd.cgroup_root, parent)
        made = _Observed(ours)
        await made.observer.start()
        await asyncio.sleep(3)
        for number in range(EXITS):
            hint, seen = await made.exit(ours, f"uid-p{number}")
            hints.append(hint)
            cached.append(seen)
            polled.append(await _polled(others, f"uid-p{number}"))
            await asyncio.sleep(0.2)
        await made.observer.stop()
        await ours.close()
        await others.close()
    return hints, cached, polled


def measure(peer: Path | None) -> list[Row]:
    """The rows of this measurement; only ours can be looked into."""
    if peer is not None:
        return []
    hints, cached, polled = asyncio.run(_measure())
    return [
        Row("exit → hint, p50", percentile(hints, 0.5) * 1e3, "ms", 20, f"n={len(hints)}"),
        Row("exit → hint, p95", percentile(hints, 0.95) * 1e3, "ms"),
        *spread("exit → EXITED in the cache", cached),
        *spread(f"exit → EXITED by a bare poll every {POLL * 1e3:.0f} ms", polled),
        Row("ratio of the medians", percentile(cached, 0.5) / percentile(polled, 0.5), "×", 1.3),
    ]
