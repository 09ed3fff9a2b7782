"""The in-memory runtime keeps the contract, and does what only it can."""

import asyncio
from contextlib import aclosing

import pytest
from tests.cri.contract import Contract, Lab, refused

from pykubelet.base.clock import LoopClock
from pykubelet.cri.errors import Code
from pykubelet.cri.memory import MemoryRuntime
from pykubelet.cri.memory_faults import Fault
from pykubelet.cri.memory_world import ExecAnswer, Script, normalized
from pykubelet.cri.types import ContainerState, ExecResult

pytestmark = pytest.mark.looptime


def _exec(command: tuple[str, ...]) -> ExecAnswer:
    if command[0] == "sleep":
        return ExecAnswer(seconds=float(command[1]))
    return ExecAnswer(ExecResult(b"out\n", b"err\n", 7))


def like_a_shell(sandbox, config) -> Script:
    """The scripts of the commands that the contract runs."""
    match list(config.command):
        case ["true"]:
            return Script(runs_for=0.05)
        case ["/nonexistent"]:
            return Script(start_error="no such file or directory")
        case ["sh", "-c", text] if "trap" in text:
            return Script(stops_after=None)
        case ["sh", "-c", "exit 3"]:
            return Script(runs_for=0.05, exit_code=3)
    return Script(exec=_exec)


@pytest.fixture
async def runtime():
    made = MemoryRuntime(LoopClock(), scripts=like_a_shell, registry={"busybox:1"})
    made.world.add_image("busybox:1")
    yield made
    await made.close()


@pytest.fixture
def lab(runtime):
    return Lab(runtime, "busybox:1")


class TestMemory(Contract):
    """The contract, in virtual time."""


async def test_events_follow_the_clock(runtime, lab):
    sandbox = await lab.sandbox()
    async with aclosing(runtime.container_events()) as events:
        waiting = asyncio.gather(anext(events))
        await asyncio.sleep(0)
        made = await lab.container(sandbox, "true")
        first = (await waiting)[0]
        kinds = [first.type, (await anext(events)).type]
        loop = asyncio.get_running_loop()
        began = loop.time()
        ended = await anext(events)
        assert loop.time() - began == pytest.approx(0.05, abs=0.01)
    assert kinds == ["CONTAINER_CREATED_EVENT", "CONTAINER_STARTED_EVENT"]
    assert (ended.type, ended.container_id, ended.pod_uid) == ("CONTAINER_STOPPED_EVENT", made, lab.uid)
    status = await runtime.container_status(made)
    assert ended.created_at == status.finished_at == status.started_at + 50_000_000


async def test_away_and_back(runtime, lab):
    sandbox = await lab.sandbox()
    made = await lab.container(sandbox, "sleep")
    events = runtime.container_events()
    waiting = asyncio.gather(anext(events), return_exceptions=True)
    await asyncio.sleep(0)
    runtime.go_away()
    (cut,) = await waiting
    assert cut.unavailable
    assert (await refused(runtime.version)).unavailable
    runtime.come_back()
    assert (await runtime.container_status(made)).state is ContainerState.RUNNING


async def test_faults(runtime, lab):
    runtime.inject(Fault("RunPodSandbox", Code.Internal, "no", times=2))
    for _ in range(2):
        assert str(await refused(lab.sandbox)) == "rpc error: code = Internal desc = no"
    sandbox = await lab.sandbox()
    runtime.inject(Fault("CreateContainer", Code.Unavailable, after=True))
    await refused(lambda: lab.container(sandbox, "true"), Code.Unavailable)
    assert len(await runtime.list_containers()) == 1, "done, though its answer was lost"
    runtime.inject(Fault("Version", hang=True, times=None))
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(runtime.version(), 1000)
    runtime.faults.heal("Version")
    await runtime.version()
    assert runtime.calls["RunPodSandbox"] == 3


async def test_ends_from_outside(runtime, lab):
    sandbox = await lab.sandbox()
    one = await lab.container(sandbox, "sleep", name="one")
    two = await lab.container(sandbox, "sleep", name="two")
    runtime.end_container(one, 9, "OOMKilled")
    runtime.end_sandbox(sandbox)
    ends = [await runtime.container_status(each) for each in (one, two)]
    assert [(e.exit_code, e.reason) for e in ends] == [(9, "OOMKilled"), (137, "Error")]


async def test_pull(runtime):
    await runtime.remove_image("busybox:1")
    assert await runtime.image_status("busybox:1") is None
    reference = await runtime.pull_image("docker.io/library/busybox:1")
    assert (await runtime.image_status("busybox:1")).id == reference


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("busybox", "docker.io/library/busybox:latest"),
        ("a/b:1", "docker.io/a/b:1"),
        ("localhost/x", "localhost/x:latest"),
        ("reg:5000/x", "reg:5000/x:latest"),
        ("reg.io/x@sha256:ab", "reg.io/x@sha256:ab"),
    ],
)
def test_normalized(name, full):
    assert normalized(name) == full
