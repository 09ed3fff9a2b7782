import asyncio
import contextlib
import os
import signal
import subprocess
import sys

import pytest

from pykubelet.linux.pidfd import PidWatches, Watching, mentions, open_checked


def anything(_: str) -> bool:
    return True


def nothing(_: str) -> bool:
    return False


@contextlib.contextmanager
def sleeper():
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(50)"])
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def grandchild():
    """A process that is not our child (its parent has ended)."""
    script = "sleep 50 >/dev/null 2>&1 & echo $!"
    out = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout
    pid = int(out)
    try:
        yield pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def ended_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


async def test_tells_the_end_once_and_closes():
    watches = PidWatches()
    ended = asyncio.Queue()
    with grandchild() as pid:
        assert await watches.add("web", pid, anything, lambda: ended.put_nowait("web")) is Watching.WATCHED
        before = descriptors()
        assert "web" in watches
        os.kill(pid, signal.SIGKILL)
        assert await asyncio.wait_for(ended.get(), 5) == "web"
    assert len(watches) == 0
    assert ended.empty()
    assert descriptors() == before - 1
    watches.close()


async def test_gone_before():
    watches = PidWatches()
    assert await watches.add("x", ended_pid(), anything, pytest.fail) is Watching.GONE
    assert len(watches) == 0


async def test_foreign_process_is_not_watched():
    watches = PidWatches()
    before = descriptors()
    with sleeper() as process:
        assert await watches.add("x", process.pid, nothing, pytest.fail) is Watching.FOREIGN
        assert await watches.add("x", process.pid, mentions("f00dbabe"), pytest.fail) is Watching.FOREIGN
    assert descriptors() <= before + 1
    assert "x" not in watches


def test_a_zombie_is_gone_whatever_its_cgroup_says():
    process = subprocess.Popen(["true"])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    try:
        assert open_checked(process.pid, nothing) is Watching.GONE
    finally:
        process.wait()


async def test_bounded_discarded_closed():
    watches = PidWatches(limit=1)
    with sleeper() as one, sleeper() as two:
        assert await watches.add(1, one.pid, anything, pytest.fail) is Watching.WATCHED
        assert await watches.add(2, two.pid, anything, pytest.fail) is Watching.FULL
        # The same key anew is no second one.
        assert await watches.add(1, two.pid, anything, pytest.fail) is Watching.WATCHED
        watches.discard(1)
        watches.discard("never seen")
        assert await watches.add(2, two.pid, anything, pytest.fail) is Watching.WATCHED
        before = descriptors()
        watches.close()
        assert descriptors() == before - 1
        assert await watches.add(3, one.pid, anything, pytest.fail) is Watching.FULL


async def test_cancelled_while_opening_leaks_nothing():
    watches = PidWatches()
    release = asyncio.Event()
    loop = asyncio.get_running_loop()

    def slow(_: str) -> bool:
        asyncio.run_coroutine_threadsafe(release.wait(), loop).result(5)
        return True

    with sleeper() as process:
        task = loop.create_task(watches.add("x", process.pid, slow, pytest.fail))
        await asyncio.sleep(0)
        before = descriptors()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        release.set()
        await loop.shutdown_default_executor()
        await asyncio.sleep(0)
        assert descriptors() <= before
    assert len(watches) == 0


@pytest.mark.parametrize("pid", [0, -1])
async def test_bad_pid(pid):
    with pytest.raises(ValueError, match="not positive"):
        await PidWatches().add("x", pid, anything, pytest.fail)
