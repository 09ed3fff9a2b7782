"""The observer on the in-memory runtime: readings, hints, relists, and what it tells."""

import asyncio

import pytest

from pykubelet.base.clock import LoopClock
from pykubelet.cri.errors import Code, CriError
from pykubelet.cri.memory import MemoryRuntime
from pykubelet.cri.memory_faults import Fault
from pykubelet.cri.types import ContainerState, ContainerStatus
from pykubelet.observe.changes import ChangeKind, PodChange
from pykubelet.observe.observer import READ_TIMEOUT, UNHEALTHY_AFTER, Observer, settle_delays
from pykubelet.rpc import cri_v1

pytestmark = pytest.mark.looptime
LABELS = {"io.kubernetes.pod.uid": "u1", "io.kubernetes.pod.name": "web", "io.kubernetes.pod.namespace": "ns"}


class Bench:
    """A runtime, an observer, and what it told."""

    def __init__(self) -> None:
        self.clock = LoopClock()
        self.runtime = MemoryRuntime(self.clock)
        self.told: list[PodChange] = []
        self.missed: list[str] = []
        self.enriched: list[str] = []
        self.observer = Observer(
            self.runtime,
            self.clock,
            on_change=self.told.append,
            enrich=self._enrich,
            count_missed=self.missed.append,
        )

    async def _enrich(self, status: ContainerStatus) -> ContainerStatus:
        self.enriched.append(status.id)
        return status

    async def run(self, *, name: str = "c") -> tuple[str, str]:
        await self.runtime.pull_image("busybox")
        config = cri_v1.PodSandboxConfig(
            metadata=cri_v1.PodSandboxMetadata(name="web", namespace="ns", uid="u1"), labels=LABELS
        )
        sandbox = await self.runtime.run_sandbox(config)
        container = await self.runtime.create_container(
            sandbox,
            cri_v1.ContainerConfig(
                metadata=cri_v1.ContainerMetadata(name=name),
                image=cri_v1.ImageSpec(image="busybox"),
                labels={**LABELS, "io.kubernetes.container.name": name},
            ),
            config,
        )
        await self.runtime.start_container(container)
        return sandbox, container

    def kinds(self, key: str) -> list[ChangeKind]:
        return [change.kind for change in self.told if change.id == key]


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_a_reading_tells_what_began(bench: Bench) -> None:
    sandbox, container = await bench.run()
    pod = await bench.observer.read("u1")
    assert (pod.name, pod.namespace) == ("web", "ns")
    assert pod.ready_sandbox is not None
    assert pod.ips == pod.ready_sandbox.ips != ()
    assert pod.containers[0].state is ContainerState.RUNNING
    assert pod.containers[0].sandbox_id == sandbox
    assert bench.kinds(container) == [ChangeKind.STARTED]


async def test_a_reading_that_is_new_enough_is_not_made_again(bench: Bench) -> None:
    await bench.run()
    first = await bench.observer.read("u1")
    calls = bench.runtime.calls.total()
    assert await bench.observer.read("u1", newer_than=first.read_at - 0.1) is first
    assert bench.runtime.calls.total() == calls
    await asyncio.sleep(1)
    again = await bench.observer.read("u1")
    assert again.read_at > first.read_at


async def test_a_pod_of_which_the_last_listing_had_nothing_is_not_read_for_it(bench: Bench) -> None:
    start = bench.clock.monotonic()
    await asyncio.sleep(1)
    await bench.observer.relist()
    await bench.run()
    calls = bench.runtime.calls.total()
    pod = await bench.observer.read("new", newer_than=start)
    assert (pod.empty, pod.read_at, bench.runtime.calls.total()) == (True, start + 1, calls)
    assert bench.observer.cached("new") is pod
    # The listing is older than what was ordered since; or it had the pod, which nobody has read.
    assert not (await bench.observer.read("u1", newer_than=start + 1)).empty
    other = Observer(bench.runtime, bench.clock, on_change=bench.told.append)
    bench.runtime.inject(Fault("ContainerStatus", Code.Unknown))
    await asyncio.sleep(1)
    await other.relist()
    assert not (await other.read("u1", newer_than=start)).empty


async def test_readings_of_one_pod_at_the_same_time_are_one(bench: Bench) -> None:
    await bench.run()
    moment = bench.clock.monotonic()
    await asyncio.sleep(0.001)
    await asyncio.gather(*(bench.observer.read("u1", newer_than=moment) for _ in range(20)))
    assert bench.runtime.calls["ListContainers"] == 1


async def test_the_relist_finds_an_end_and_counts_it_as_missed(bench: Bench) -> None:
    _, container = await bench.run()
    await bench.observer.read("u1")
    bench.runtime.end_container(container, 3)
    await bench.observer.relist()
    pod = bench.observer.cached("u1")
    assert pod is not None
    assert pod.containers[0].exit_code == 3
    assert bench.missed == ["ContainerDied"]
    assert bench.enriched == [container]
    await bench.observer.read("u1")
    assert bench.enriched == [container], "an ended container is completed once"


async def test_a_failed_reading_keeps_the_old_one_and_is_made_again(bench: Bench) -> None:
    _, container = await bench.run()
    old = await bench.observer.read("u1")
    bench.runtime.inject(Fault("ContainerStatus", Code.Unknown))
    await asyncio.sleep(1)
    with pytest.raises(CriError):
        await bench.observer.read("u1")
    assert bench.observer.cached("u1") is old
    bench.runtime.faults.heal()
    await bench.observer.relist()
    new = bench.observer.cached("u1")
    assert new is not None
    assert new.read_at > old.read_at
    assert bench.kinds(container) == [ChangeKind.STARTED]


async def test_addresses_are_kept_while_no_sandbox_is_ready(bench: Bench) -> None:
    sandbox, container = await bench.run()
    ips = (await bench.observer.read("u1")).ips
    bench.runtime.end_sandbox(sandbox)
    await asyncio.sleep(0.1)
    after = await bench.observer.read("u1")
    assert after.ready_sandbox is None
    assert after.ips == ips
    assert ChangeKind.DIED in bench.kinds(container)


async def test_what_is_gone_is_told_and_forgotten(bench: Bench) -> None:
    sandbox, container = await bench.run()
    await bench.observer.read("u1")
    await bench.runtime.stop_sandbox(sandbox)
    await bench.runtime.remove_sandbox(sandbox)
    await asyncio.sleep(0.1)
    assert (await bench.observer.read("u1")).empty
    assert bench.kinds(container) == [ChangeKind.STARTED, ChangeKind.DIED, ChangeKind.REMOVED]
    bench.observer.forget("u1")
    assert bench.observer.cached("u1") is None


async def test_a_started_observer_follows_the_runtime(bench: Bench) -> None:
    await bench.observer.start()
    _, container = await bench.run()
    await asyncio.sleep(3)
    assert bench.kinds(container) == [ChangeKind.STARTED]
    bench.runtime.end_container(container)
    await asyncio.sleep(3)
    assert bench.kinds(container) == [ChangeKind.STARTED, ChangeKind.DIED]


async def test_health(bench: Bench) -> None:
    assert bench.observer.unhealthy() == "pleg has yet to be successful"
    await bench.observer.relist()
    assert bench.observer.unhealthy() == ""
    await asyncio.sleep(UNHEALTHY_AFTER + 5)
    assert bench.observer.unhealthy() == "pleg was last seen active 3m5s ago; threshold is 3m0s"


async def test_of_two_made_in_the_same_instant_the_later_attempt_is_the_newer(bench: Bench) -> None:
    sandbox, first = await bench.run()
    config = cri_v1.ContainerConfig()
    config.CopyFrom(bench.runtime.world.containers[first].config)
    config.metadata.attempt = 1
    pod = bench.runtime.world.sandboxes[sandbox].config
    second = await bench.runtime.create_container(sandbox, config, pod)
    observed = await bench.observer.read("u1")
    assert [c.id for c in observed.containers] == [second, first]
    assert len({c.created_at for c in observed.containers}) == 1


async def test_a_pod_that_cannot_be_read_holds_up_nobody_and_is_known_as_unread(bench: Bench) -> None:
    await bench.run()
    bench.runtime.inject(Fault("ContainerStatus", hang=True, times=None))
    await bench.observer.start()
    await asyncio.sleep(1)
    assert bench.observer.unhealthy() == ""
    assert not bench.observer.relisted
    await asyncio.wait_for(bench.observer.first_relist(), READ_TIMEOUT + 1)
    assert bench.observer.relisted
    assert bench.observer.unread("u1")
    bench.runtime.faults.heal()
    await asyncio.sleep(READ_TIMEOUT)
    assert not bench.observer.unread("u1")


async def test_a_runtime_that_goes_and_comes_back_is_followed_again(bench: Bench) -> None:
    await bench.observer.start()
    _, container = await bench.run()
    await asyncio.sleep(2)
    bench.runtime.go_away()
    await asyncio.sleep(60)
    assert bench.kinds(container) == [ChangeKind.STARTED]
    bench.runtime.end_container(container)
    bench.runtime.come_back()
    await asyncio.sleep(40)
    assert bench.kinds(container) == [ChangeKind.STARTED, ChangeKind.DIED]
    assert bench.observer.unhealthy() == ""


def test_settling_looks_closely_first_and_ends() -> None:
    delays = list(settle_delays())
    assert max(delays[:15]) <= 0.01
    assert sum(delays) < 30


async def test_pods_without_pids_of_their_own_are_relisted_each_second(bench: Bench) -> None:
    """As those of gVisor and Kata are; the memory runtime gives no pids."""
    _, container = await bench.run()
    await bench.observer.start()

    async def relists() -> int:
        before = bench.runtime.calls["ListContainers"]
        await asyncio.sleep(10.5)
        return bench.runtime.calls["ListContainers"] - before

    try:
        await bench.observer.first_relist()
        assert 9 <= await relists() <= 12
        bench.runtime.end_container(container, 0)
        await asyncio.sleep(1.5)
        pod = bench.observer.cached("u1")
        assert pod is not None
        assert pod.containers[0].state is ContainerState.EXITED
        await asyncio.sleep(5)
        assert 1 <= await relists() <= 3
    finally:
        await bench.observer.stop()
