"""What garbage collection chooses, and that it does it."""

import asyncio

import pytest

from pykubelet.base.clock import LoopClock
from pykubelet.base.journal import NullJournal
from pykubelet.containers.gc import (
    ContainerGC,
    GCPolicy,
    container_of_link,
    select_containers,
    select_sandboxes,
    uid_of_log_dir,
)
from pykubelet.cri.errors import Code, CriError
from pykubelet.cri.memory import MemoryRuntime
from pykubelet.cri.types import ContainerState, ContainerSummary, SandboxState, SandboxSummary


def box(name, created, pod="p", state=ContainerState.EXITED, sandbox="s"):
    labels = {"io.kubernetes.pod.uid": pod}
    return ContainerSummary(
        f"{pod}/{name}@{created}", sandbox, name, 0, state, created * 10**9, "", "", "", labels, {}
    )


def chosen(containers, policy=GCPolicy(), now=100, gone=()):  # noqa: B008
    return [c.id for c in select_containers(containers, policy, now * 10**9, lambda uid: uid in gone)]


def test_the_newest_of_a_name_stays():
    boxes = [box("a", 1), box("a", 3), box("a", 2), box("b", 1), box("a", 9, state=ContainerState.RUNNING)]
    assert chosen(boxes) == ["p/a@1", "p/a@2"]


def test_everything_of_a_removed_pod_goes():
    assert chosen([box("a", 1, "x"), box("a", 2, "x"), box("a", 1)], gone={"x"}) == ["x/a@1", "x/a@2"]


def test_a_container_that_is_about_to_start_neither_goes_nor_counts():
    made = ContainerState.CREATED
    assert chosen([box("a", 1), box("a", 2, state=made)]) == []
    assert chosen([box("a", 1), box("a", 2, state=made), box("a", 3)]) == ["p/a@2", "p/a@1"]
    assert chosen([box("a", 1, state=made)], gone={"p"}) == ["p/a@1"]


def test_age_and_no_limit():
    assert chosen([box("a", 1), box("a", 95), box("a", 99)], GCPolicy(min_age=10, per_container=0)) == [
        "p/a@1"
    ]
    assert chosen([box("a", 1), box("a", 2)], GCPolicy(per_container=-1)) == []


def test_the_whole_nodes_limit():
    boxes = [
        box(name, i + 10 * at, pod)
        for at, (name, pod) in enumerate([("a", "p"), ("b", "p"), ("a", "q")])
        for i in (1, 2)
    ]
    policy = GCPolicy(per_container=2, total=2)
    assert sorted(chosen(boxes, policy)) == ["p/a@1", "p/a@2", "p/b@11", "q/a@21"]


def sandbox(name, created, pod="p", state=SandboxState.NOTREADY):
    return SandboxSummary(name, "n", "ns", pod, 0, state, created, {}, {})


def test_sandboxes():
    boxes = [
        sandbox("old", 1),
        sandbox("used", 2),
        sandbox("new", 3),
        sandbox("gone", 1, "x"),
        sandbox("on", 2, "x", SandboxState.READY),
    ]
    picked = select_sandboxes(boxes, [box("a", 1, sandbox="used")], lambda uid: uid == "x")
    assert [s.id for s in picked] == ["old", "gone"]


def test_names():
    assert uid_of_log_dir("ns_pod_uid-1") == "uid-1"
    assert container_of_link("pod_ns_c-abc.log") == "abc"
    assert container_of_link("other.log") is None


class Pods:
    def content_removable(self, uid):
        return uid == "gone"

    def runtime_removable(self, uid):
        return False


@pytest.mark.looptime(start=0)
async def test_directories_and_links(layout):
    for name in ("ns_a_gone", "ns_b_here"):
        (layout.pod_logs / name / "c").mkdir(parents=True)
    layout.container_log_links.mkdir()
    dead = layout.container_log_links / "a_ns_c-0123.log"
    dead.symlink_to(layout.pod_logs / "ns_a_gone" / "c" / "0.log")
    gc = ContainerGC(MemoryRuntime(LoopClock()), layout, LoopClock(), NullJournal(), GCPolicy(), Pods(), None)
    await gc.collect(sources_ready=False)
    assert (layout.pod_logs / "ns_a_gone").exists()
    assert not dead.is_symlink()
    await gc.collect(sources_ready=True)
    assert [path.name for path in layout.pod_logs.iterdir()] == ["ns_b_here"]


@pytest.mark.parametrize(("code", "warned"), [(Code.NotFound, False), (Code.Unknown, True)])
async def test_a_container_that_went_meanwhile_is_no_cause_for_a_warning(code, warned, layout, caplog):
    class Runtime(MemoryRuntime):
        async def list_containers(self, *args, **kwargs):
            return [box("a", 1), box("a", 2)]

        async def container_status(self, container_id):
            return None

    class Remover:
        async def remove_container(self, status):
            raise CriError(code, "RemoveContainer", "no")

    clock = LoopClock()
    gc = ContainerGC(Runtime(clock), layout, clock, NullJournal(), GCPolicy(), Pods(), Remover())
    await gc._containers(lambda uid: False)
    assert ("p/a@1 was not removed" in caplog.text) is warned


async def test_a_collection_that_is_cut_short_leaves_no_step_behind():
    """Steps that were made and never begun would be warned of, which fails the test."""

    class Silent:
        async def list_containers(self):
            await asyncio.Event().wait()

    gc = ContainerGC.__new__(ContainerGC)
    gc._runtime, gc._pods = Silent(), None
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await gc.collect(sources_ready=False)
