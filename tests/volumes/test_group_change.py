import asyncio
import os
import threading

import pytest

from pykubelet.api.core import Pod, PodSecurityContext, PodSpec
from pykubelet.api.meta import ObjectMeta
from pykubelet.base.apart import Apart
from pykubelet.volumes import group_change, ownership
from pykubelet.volumes.group_change import GroupChange


class Events:
    def __init__(self):
        self.told = []

    def pod_event(self, pod, kind, reason, message, *, field_path=""):
        self.told.append((pod.name, kind, reason, message))

    def node_event(self, kind, reason, message):
        raise AssertionError


class HandClock:
    """Lets each wait end when the test says so."""

    def __init__(self):
        self.waits = asyncio.Queue()

    async def sleep(self, seconds):
        over = asyncio.Event()
        self.waits.put_nowait((seconds, over))
        await over.wait()


def pod_of(group=7, policy=None):
    context = PodSecurityContext(fsGroup=group, fsGroupChangePolicy=policy)
    return Pod(metadata=ObjectMeta(name="web", uid="uid-1"), spec=PodSpec(securityContext=context))


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "pods" / "uid-1" / "volumes" / "v"
    root.mkdir(parents=True)
    for name in range(20):
        (root / str(name)).touch()
    return root


async def test_the_pods_group_and_policy_are_followed(tree):
    events = Events()
    change = GroupChange(HandClock(), events)
    assert await change.apply(str(tree), pod_of(None)) == 0
    assert await change.apply(str(tree), pod_of()) == 21
    assert os.stat(tree / "0").st_gid == 7
    assert await change.apply(str(tree), pod_of(policy="OnRootMismatch")) == 0
    assert await change.apply(str(tree), pod_of(policy="Always"), read_only=True) == 21
    assert events.told == []


async def test_a_long_change_is_told_of_and_stops_with_its_waiter(tree, monkeypatch):
    events, clock = Events(), HandClock()
    reached, go_on, ended = threading.Event(), threading.Event(), threading.Event()
    step = ownership.Progress.step

    def slow(progress):
        if progress.files == 5:
            reached.set()
            go_on.wait()
        try:
            step(progress)
        except InterruptedError:
            ended.set()
            raise

    monkeypatch.setattr(ownership.Progress, "step", slow)
    change = GroupChange(clock, events)
    waiting = asyncio.get_running_loop().create_task(change.apply(str(tree), pod_of()))
    assert await asyncio.to_thread(reached.wait, 10)
    for wait in (30.0, 60.0):
        seconds, over = await clock.waits.get()
        assert seconds == wait
        over.set()
    await clock.waits.get()
    long, running = events.told
    assert long[:3] == ("web", "Warning", "VolumePermissionChangeInProgress")
    assert long[3].startswith("Setting volume ownership for uid-1/volumes/v is taking longer than expected, ")
    assert running[3] == "Setting volume ownership for uid-1/volumes/v, processed 5 files."
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    go_on.set()
    assert await Apart("wait").run(lambda: ended.wait(10))
    changed = [entry.stat().st_gid for entry in os.scandir(tree)].count(7)
    assert changed == 5
    assert os.stat(tree).st_gid == 0
    # The root is not right yet: the next change completes it, whatever the policy.
    monkeypatch.undo()
    assert await change.apply(str(tree), pod_of(policy="OnRootMismatch")) == 21
    assert {entry.stat().st_gid for entry in os.scandir(tree)} == {7}


async def test_errors_come_through(tmp_path):
    change = GroupChange(HandClock(), Events())
    with pytest.raises(FileNotFoundError):
        await change.apply(str(tmp_path / "missing"), pod_of())


def test_what_events_show_of_a_path():
    assert group_change.shown("/r/pods/u-1/volumes/x", "u-1") == "u-1/volumes/x"
    assert group_change.shown("/elsewhere", "u-1") == "/elsewhere"
