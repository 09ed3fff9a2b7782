"""The host IDs of pods, on disk and given back."""

import asyncio
import json
import os
import pwd
import random
import stat
import time

import pytest

from pykubelet.api.core import Pod, PodSpec
from pykubelet.api.meta import ObjectMeta
from pykubelet.base.layout import Layout
from pykubelet.base.metrics import Metrics
from pykubelet.resources import UserNamespaceError, UserNamespaceManager, user_namespaces
from pykubelet.resources.id_ranges import UNIT, mapping_file


class Told:
    def __init__(self):
        self.decisions = []

    def record(self, decision, text, **facts):
        self.decisions.append((decision, facts))


@pytest.fixture
def layout(tmp_path):
    made = Layout(root=tmp_path)
    made.pods.mkdir()
    return made


@pytest.fixture
def make(layout):
    def build(configured=(UNIT, 3 * UNIT), max_pods=3):
        return UserNamespaceManager(
            layout,
            Told(),
            ids_per_pod=UNIT,
            max_pods=max_pods,
            rng=random.Random(1),
            metrics=Metrics(),
            configured=lambda: configured,
        )

    return build


def pod(uid):
    return Pod(metadata=ObjectMeta(name="web", namespace="ns", uid=uid))


async def settled(manager):
    """Wait until nothing is under way."""
    while manager._tasks.tasks:
        await asyncio.sleep(0.01)


async def test_a_pod_keeps_its_range_over_restarts(make, layout):
    manager = make()
    await manager.start()
    given = {uid: await manager.mapping(pod(uid)) for uid in ("a", "b", "c")}
    assert len(set(given.values())) == 3
    assert [decision for decision, _ in manager._journal.decisions] == ["UserNamespaceGiven"] * 3
    assert await manager.mapping(pod("a")) == given["a"]
    file = layout.pod_user_namespace("a")
    assert file.read_bytes() == mapping_file(*given["a"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    with pytest.raises(LookupError, match="create user namespace: could not find an empty slot"):
        await manager.mapping(pod("d"))
    assert not layout.pod_user_namespace("d").exists()
    await manager.stop()
    again = make()
    await again.start()
    assert {uid: await again.mapping(pod(uid)) for uid in given} == given
    again.release("b")
    await settled(again)
    assert not layout.pod_user_namespace("b").exists()
    assert await again.mapping(pod("d")) == given["b"]
    again.keep_only({"d"})
    await settled(again)
    assert os.listdir(layout.pod("a")) == []
    await again.stop()


async def test_a_file_that_was_lost_is_written_again(make, layout):
    manager = make()
    await manager.start()
    given = await manager.mapping(pod("a"))
    layout.pod_user_namespace("a").unlink()
    assert await manager.mapping(pod("a")) == given
    assert layout.pod_user_namespace("a").read_bytes() == mapping_file(*given)
    await manager.stop()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"{", "invalid user namespace mappings file"),
        (mapping_file(UNIT, 2 * UNIT), "wrong user namespace length 131072"),
        (mapping_file(2 * UNIT, UNIT), 'range picked for pod "b" already taken'),
        (b"x" * (1 << 17), "larger than"),
    ],
)
async def test_nobody_gets_ids_while_a_pods_are_unknown(make, layout, content, why):
    for uid, data in (("a", mapping_file(2 * UNIT, UNIT)), ("b", content)):
        layout.pod(uid).mkdir()
        layout.pod_user_namespace(uid).write_bytes(data)
    manager = make()
    await manager.start()
    # Whose range is known is not concerned.
    assert await manager.mapping(pod("a")) == (2 * UNIT, UNIT)
    with pytest.raises(LookupError, match=f"^user namespace: .*{why}"):
        await manager.mapping(pod("b"))
    with pytest.raises(LookupError, match=rf"^create user namespace: .*/b/userns: .*{why}"):
        await manager.mapping(pod("c"))
    manager.keep_only({"a", "c"})
    await settled(manager)
    assert (await manager.mapping(pod("c")))[1] == UNIT
    await manager.stop()


async def test_a_write_that_fails_takes_no_range(make, layout):
    manager = make(configured=(UNIT, UNIT), max_pods=1)
    await manager.start()
    layout.pod("a").write_text("in the way")
    with pytest.raises(OSError):
        await manager.mapping(pod("a"))
    assert await manager.mapping(pod("b")) == (UNIT, UNIT)
    await manager.stop()


async def test_a_start_that_was_given_up_keeps_its_range(make, layout, monkeypatch):
    manager = make()
    await manager.start()
    writing, write = asyncio.Event(), user_namespaces._write
    loop = asyncio.get_running_loop()

    def slow(file, data):
        loop.call_soon_threadsafe(writing.set)
        write(file, data)

    monkeypatch.setattr(user_namespaces, "_write", slow)
    starting = manager._tasks.spawn("start", manager.mapping(pod("a")))
    await writing.wait()
    starting.cancel()
    await asyncio.gather(starting, return_exceptions=True)
    stated = json.loads(await asyncio.to_thread(_read_when_there, layout.pod_user_namespace("a")))
    assert await manager.mapping(pod("a")) == (stated["uidMappings"][0]["hostId"], UNIT)
    await manager.stop()


def _read_when_there(file):
    for _ in range(2000):
        if file.exists():
            return file.read_bytes()
        time.sleep(0.01)
    raise AssertionError(f"{file} was not written")


async def test_ids_that_cannot_be_learnt_end_the_start(layout):
    def fail():
        raise UserNamespaceError("no line")

    manager = UserNamespaceManager(
        layout,
        Told(),
        ids_per_pod=UNIT,
        max_pods=1,
        rng=random.Random(1),
        metrics=Metrics(),
        configured=fail,
    )
    with pytest.raises(UserNamespaceError) as caught:
        await manager.start()
    assert str(caught.value) == "create user namespace manager: kubelet mappings: no line"


async def test_ids_that_cannot_serve_end_the_start(make):
    manager = make(max_pods=4)
    with pytest.raises(UserNamespaceError) as caught:
        await manager.start()
    assert str(caught.value) == (
        "create user namespace manager: kubelet user assigned IDs are not enough to support 4 pods"
    )


def test_starts_are_counted(layout):
    metrics = Metrics()
    manager = UserNamespaceManager(
        layout, Told(), ids_per_pod=UNIT, max_pods=1, rng=random.Random(1), metrics=metrics
    )
    for host_users, well in ((False, True), (False, False), (None, False), (True, True)):
        manager.started(Pod(spec=PodSpec(hostUsers=host_users)), well)
    lines = metrics.render().decode().splitlines()
    assert "kubelet_started_user_namespaced_pods_total 2.0" in lines
    assert "kubelet_started_user_namespaced_pods_errors_total 1.0" in lines


@pytest.fixture
def getsubids(tmp_path, monkeypatch):
    """Puts a ``getsubids`` of ours before all others, and makes the user ``kubelet`` known."""
    real = pwd.getpwnam

    def install(script, known=True):
        tool = tmp_path / "getsubids"
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        monkeypatch.setattr(pwd, "getpwnam", lambda name: real("root" if known else "no such user"))

    return install


def test_ids_set_apart_for_the_kubelet(getsubids):
    getsubids("echo '0: kubelet 65536 2147483648'")
    assert user_namespaces.configured_ids() == (65536, 2147483648)
    getsubids("exit 1", known=False)
    assert user_namespaces.configured_ids() is None


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("exit 3", 'error retrieving additional uids for user "kubelet"'),
        ('test "$1" != -g && echo "0: kubelet 1 2"', 'error retrieving additional gids for user "kubelet"'),
        ('echo "0: kubelet $# 2"', 'mismatched subuids and subgids for user "kubelet"'),
        ("echo nonsense", "invalid line"),
    ],
)
def test_a_user_without_usable_ids(getsubids, script, text):
    getsubids(script)
    with pytest.raises(UserNamespaceError, match=text):
        user_namespaces.configured_ids()


def test_without_the_tool(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(pwd, "getpwnam", lambda name: name)
    assert user_namespaces.configured_ids() is None
