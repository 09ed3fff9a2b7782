"""``python -m bench.bare_exec ENDPOINT SECONDS ID…``: one ExecSync call a second in each container.

A process of its own, so that its CPU time can be put beside a kubelet's; prints calls and CPU seconds.
"""

import asyncio
import json
import sys
import time

from pykubelet.base.clock import SystemClock
from pykubelet.cri.client import CriClient

COMMAND = ["true"]


async def _each_second(runtime: CriClient, container_id: str, first: float, ends: float) -> int:
    calls = 0
    await asyncio.sleep(first)
    while (began := time.monotonic()) < ends:
        await runtime.exec_sync(container_id, COMMAND, 10)
        calls += 1
        await asyncio.sleep(max(0.0, began + 1 - time.monotonic()))
    return calls


async def _run(endpoint: str, seconds: float, containers: list[str]) -> tuple[int, float]:
    runtime = CriClient(endpoint, clock=SystemClock())
    await runtime.version()
    before, ends = time.process_time(), time.monotonic() + seconds
    calls = await asyncio.gather(
        *(
            _each_second(runtime, container, number / len(containers), ends)
            for number, container in enumerate(containers)
        )
    )
    used = time.process_time() - before
    await runtime.close()
    return sum(calls), used


if __name__ == "__main__":
    calls, used = asyncio.run(_run(sys.argv[1], float(sys.argv[2]), sys.argv[3:]))
    print(json.dumps({"calls": calls, "cpu": used}))
