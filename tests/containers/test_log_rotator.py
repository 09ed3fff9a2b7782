"""Rotating the log files of a runtime that is only a stand-in: what is renamed, undone, asked for again."""

import asyncio
import gzip
import os

import pytest

from pykubelet.base.clock import SystemClock
from pykubelet.base.journal import NullJournal, PodRef
from pykubelet.base.metrics import Metrics
from pykubelet.containers import log_rotator
from pykubelet.containers.log_dir import log_directory
from pykubelet.containers.log_rotator import LogRotator, RunningLog
from pykubelet.containers.rotation import RotationPolicy
from pykubelet.cri.errors import Code, CriError

POD = PodRef("ns", "p", "uid")


class Journal(NullJournal):
    def __init__(self):
        self.told = []

    def record(self, decision, text, **facts):
        self.told.append((decision, facts["container"], facts["removed"]))


class Runtime:
    """Opens an empty log at the path when asked to, or fails."""

    def __init__(self, path):
        self.path = path
        self.asked = 0
        self.fails = False

    async def reopen_container_log(self, container_id):
        self.asked += 1
        if self.fails:
            raise CriError(Code.Unknown, "ReopenContainerLog", "no")
        await asyncio.to_thread(self.path.write_bytes, b"new\n")


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "pods" / "ns_p_uid" / "app" / "0.log"
    path.parent.mkdir(parents=True)
    return path


@pytest.fixture
async def made(path):
    runtime, journal, metrics = Runtime(path), Journal(), Metrics()
    policy = RotationPolicy(max_size=100, max_files=3, interval=3)
    running = [RunningLog("c1", str(path), POD, "app"), RunningLog("c2", "", POD, "mute")]
    rotator = LogRotator(runtime, SystemClock(), journal, metrics, policy, lambda: running)
    yield rotator, runtime, journal, metrics
    await rotator.stop()


def names(path):
    return sorted(os.listdir(path.parent))


async def until(predicate):
    clock = SystemClock()
    for _ in range(400):
        if predicate():
            return
        await clock.sleep(0.02)
    raise AssertionError("not so after 8 s")


async def test_a_full_log_is_set_aside_and_the_one_before_is_compressed(made, path, caplog):
    rotator, _, journal, metrics = made
    old = [path.with_name(f"0.log.2020010{day}-000000") for day in (1, 2, 3)]
    for number, file in enumerate(old):
        file.write_bytes(b"old %d\n" % number)
    old[2].with_name(old[2].name + ".tmp").write_bytes(b"torn")
    path.write_bytes(b"x" * 100)
    await rotator.start()
    await until(lambda: path.exists() and path.read_bytes() == b"new\n" and len(names(path)) == 3)
    await until(lambda: old[2].name + ".gz" in names(path) and not old[2].exists())
    aside = path.with_name(names(path)[-1])
    assert names(path) == ["0.log", old[2].name + ".gz", aside.name]
    assert aside.read_bytes() == b"x" * 100
    packed = old[2].with_name(old[2].name + ".gz")
    assert gzip.decompress(packed.read_bytes()) == b"old 2\n"
    assert packed.stat().st_mode == aside.stat().st_mode
    assert journal.told == [("LogRotated", "app", f"{old[0].name}, {old[1].name}")]
    assert b'pykubelet_container_log_rotations_total{result="success"} 1.0' in metrics.render()
    assert "container mute of pod p_ns(uid) has no log path" in caplog.text


async def test_a_failed_reopen_is_undone_and_tried_again_later(made, path):
    rotator, runtime, _, metrics = made
    path.write_bytes(b"x" * 100)
    runtime.fails = True
    await rotator.start()
    await until(lambda: runtime.asked)
    await until(lambda: names(path) == ["0.log"])
    assert path.read_bytes() == b"x" * 100
    runtime.fails = False
    await until(lambda: path.exists() and path.read_bytes() == b"new\n")
    assert runtime.asked == 2
    assert b'pykubelet_container_log_rotations_total{result="error"} 1.0' in metrics.render()


async def test_a_log_that_is_gone_is_asked_for(made, path):
    rotator, runtime, _, _ = made
    await rotator.start()
    await until(path.exists)
    assert (runtime.asked, names(path)) == (1, ["0.log"])


def test_putting_back_does_not_overwrite_a_new_log(path):
    path.write_bytes(b"new\n")
    path.with_name("0.log.x").write_bytes(b"old\n")
    with log_directory(path) as directory:
        assert not directory.put_back("0.log.x")
    assert names(path) == ["0.log", "0.log.x"]


def test_what_went_away_while_it_was_compressed_stays_away(path, monkeypatch):
    path.with_name("0.log.x").write_bytes(b"old\n")
    with log_directory(path) as directory:
        monkeypatch.setattr(directory, "status", lambda name: None)
        assert not directory.compress("0.log.x")
        assert not directory.compress("0.log.y")
    assert names(path) == ["0.log.x"]


def test_a_compression_that_is_given_up_leaves_the_file_as_it_was(path):
    path.with_name("0.log.x").write_bytes(b"old\n")
    with log_directory(path) as directory, pytest.raises(InterruptedError):
        directory.compress("0.log.x", lambda: True)
    assert names(path) == ["0.log.x"]


async def test_a_flood_is_compressed_when_it_is_over(made, path):
    rotator, runtime, _, _ = made
    path.write_bytes(b"1" * 100)
    await rotator.start()
    await until(lambda: runtime.asked == 1 and path.exists())
    first = SystemClock().monotonic()
    await asyncio.to_thread(path.write_bytes, b"2" * 100)
    await until(lambda: runtime.asked == 2 and path.exists())
    # On a machine too busy for that the two may have been far enough apart.
    if SystemClock().monotonic() - first < 1.2:
        assert not any(name.endswith(".gz") for name in names(path))
    await until(lambda: [name.endswith(".gz") for name in names(path)] == [False, True, False])


async def test_what_cannot_be_put_back_does_not_keep_it_from_ending(made, path, monkeypatch, caplog):
    rotator, runtime, _, _ = made
    begun = asyncio.Event()

    async def never(container_id):
        begun.set()
        await asyncio.Event().wait()

    def refused(path, aside):
        raise PermissionError("no")

    monkeypatch.setattr(runtime, "reopen_container_log", never)
    monkeypatch.setattr(log_rotator, "_put_back", refused)
    path.write_bytes(b"x" * 100)
    await rotator.start()
    async with asyncio.timeout(20):
        await begun.wait()
        await rotator.stop()
    assert "did not get its name back" in caplog.text
    assert "was not rotated" not in caplog.text
