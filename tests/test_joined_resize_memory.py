"""A node in virtual time whose pods are resized at random, while it is killed and its runtime refuses."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.apiserver import resources
from tests.joined_node import SOON, JoinedNode, condition
from tests.memory_node import runs

from pykubelet.cri.errors import Code
from pykubelet.cri.memory_faults import Fault
from pykubelet.linux.cfs import milli_to_shares
from pykubelet.pods.resize.state_file import decode_state

pytestmark = [
    pytest.mark.looptime(noop_cycles=2),
    pytest.mark.timeout(120),
    pytest.mark.usefixtures("one_thread"),
]

PODS = ("a", "b", "restarts")
POLICY = [{"resourceName": "cpu", "restartPolicy": "RestartContainer"}]


def amounts(milli: int) -> dict[str, Any]:
    return {"requests": {"cpu": f"{milli}m"}}


def resize(node: JoinedNode, name: str, milli: int) -> None:
    def change(pod: dict[str, Any]) -> None:
        pod["spec"]["containers"][0]["resources"] = amounts(milli)

    node.server.patch(resources.PODS, "default", name, change, "resize")


def settled(node: JoinedNode) -> bool:
    """Whether every pod is shown as it is to be: resized, or waiting for room."""
    for name in PODS:
        pod = node.server.pod("default", name)
        status = pod["status"]
        if condition(status, "Ready") != "True" or condition(status, "PodResizeInProgress"):
            return False
        if status["observedGeneration"] < pod["metadata"]["generation"]:
            return False
    return True


def check(node: JoinedNode, free: int) -> None:
    """Whatever was asked for: what is allocated fits, is in force, is recorded and is shown."""
    on_disk = decode_state(node.layout.allocated_state.read_bytes())
    total = 0
    for name in PODS:
        pod = node.server.pod("default", name)
        uid, status = pod["metadata"]["uid"], pod["status"]
        allocated = on_disk[uid].containers["app"].requests["cpu"].milli_value()
        total += allocated
        wanted = int(pod["spec"]["containers"][0]["resources"]["requests"]["cpu"].rstrip("m"))
        assert (wanted == allocated) is (condition(status, "PodResizePending") == ""), name
        [shown] = status["containerStatuses"]
        assert shown["allocatedResources"] == shown["resources"]["requests"] == {"cpu": f"{allocated}m"}
        shares = milli_to_shares(allocated)
        [box] = node.running(name)
        assert box.config.linux.resources.cpu_shares == shares
        cgroups = node.kubelet.ground.host.cgroups
        path = node.kubelet.node.cgroups.parent(node.kubelet.intake.store.get(uid))
        assert cgroups.limits(path).cpu_shares == shares
        if name != "restarts":
            assert shown["restartCount"] == 0
    assert total <= free


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("resize"), st.sampled_from(PODS), st.sampled_from([10, 40, 60, 90])),
        st.tuples(st.just("kill"), st.just(""), st.sampled_from([0, 1])),
        st.tuples(st.just("refuse"), st.just(""), st.sampled_from([1, 2])),
    ),
    min_size=1,
    max_size=8,
)


@pytest.fixture
def make(mount_area: Path, host: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[[], JoinedNode]:
    numbers = iter(range(1000))
    return lambda: JoinedNode(mount_area / f"node-{next(numbers)}", host, monkeypatch)


@settings(
    max_examples=12,
    derandomize=True,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(ACTIONS, st.lists(st.sampled_from([0.0, 0.01, 0.3, 2.0]), min_size=8, max_size=8))
async def test_any_resizes_and_kills(
    make: Callable[[], JoinedNode], actions: list[tuple[str, str, int]], pauses: list[float]
) -> None:
    async with make() as node:
        await node.until(node.node_ready, SOON)
        free = node.kubelet.node.info.allocatable["cpu"].milli_value()
        # Percents of what there is.
        for name in PODS:
            policy = {"resizePolicy": POLICY} if name == "restarts" else {}
            node.create(name, runs("app", resources=amounts(free * 20 // 100), **policy))
        await node.until(lambda: all(node.ready(name) for name in PODS), SOON)
        for (what, name, amount), pause in zip(actions, pauses, strict=False):
            if what == "resize":
                resize(node, name, free * amount // 100)
            elif what == "kill":
                await node.restart(rudely=bool(amount))
            else:
                node.runtime.inject(Fault("UpdateContainerResources", Code.Unknown, times=amount))
            await node.sleep(pause)
        # What failed is tried again in time.
        await node.sleep(40)
        await node.until(lambda: settled(node), 200)
        check(node, free)
