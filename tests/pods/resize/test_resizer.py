"""Putting a plan into force: order, records, failures, and what is told."""

import pytest
from tests.pods.model import instance, observed_pod
from tests.pods.recording import Cgroups, Told
from tests.pods.resize.model import c, of, pod
from tests.pods.resizing import Resizing

from pykubelet.base.clock import LoopClock
from pykubelet.cri.errors import Code, CriError
from pykubelet.linux.cgroups import Limits
from pykubelet.pods.resize.plan import changes, plan_resize

pytestmark = pytest.mark.looptime
SMALL, LARGE = Limits(102, 10_000, 100_000, 1 << 20), Limits(204, 20_000, 100_000, 2 << 20)
REFUSED = CriError(Code.Unknown, "UpdateContainerResources", "no")


class Scene(Told):
    """A pod that has one size and is to have another."""

    def __init__(self, before, after, has=SMALL, wanted=LARGE) -> None:
        super().__init__()
        self.cgroups = Cgroups()
        self.made = Resizing(LoopClock(), self, self.cgroups)
        self.resizer, self.pod, self.wanted = self.made.resizer, after, wanted
        self.cgroups.has["u"] = has
        self.before = before

    async def begin(self):
        for container in self.before.spec.containers:
            await self.resizer.making(self.before, container)
        self.resizer.cgroup_made(self.before)
        self.made.conditions.begin("u", 2, self.made.allocation._clock.now())
        return self

    async def carry_out(self) -> str:
        observed = observed_pod(*(instance(each.name) for each in self.pod.spec.containers))
        force = self.resizer.in_force(self.pod, await self.cgroups.limits(self.pod), self.wanted)
        plan = plan_resize(self.pod, changes(self.pod, observed, force), force)
        problem = "" if plan is None else await self.resizer.carry_out(self.pod, plan, "s0")
        self.resizer.look(self.pod, observed)
        return problem


@pytest.fixture
async def grows():
    return await Scene(pod(c("app", "100m", "1Mi")), pod(c("app", "200m", "2Mi"))).begin()


async def test_a_resize(grows) -> None:
    assert await grows.carry_out() == ""
    assert grows.cgroups.has["u"] == LARGE
    assert grows.made.updater.told == [
        ("app-0", {"cpu": "100m", "memory": "2Mi"}, {"cpu": "100m", "memory": "2Mi"}),
        ("app-0", {"cpu": "200m", "memory": "2Mi"}, {"cpu": "200m", "memory": "2Mi"}),
    ]
    assert grows.made.recorded.get("u").containers == {"app": of("200m", "2Mi")}
    assert grows.event_reasons() == ["ResizeCompleted"]
    assert grows.decisions[-1] == "ResizeCompleted"
    assert grows.decisions.count("ResizeStep") == 5
    assert grows.made.completed == 1
    assert grows.made.metric('kubelet_pod_resize_duration_milliseconds_count{success="true"} 1.0')
    assert await grows.carry_out() == ""
    assert grows.event_reasons() == ["ResizeCompleted"]


async def test_what_fails_is_told_and_gone_on_with(grows) -> None:
    grows.made.updater.failing["app"] = REFUSED
    assert await grows.carry_out() == str(REFUSED)
    [condition] = grows.resizer.conditions("u")
    assert (condition.reason, condition.message) == ("Error", str(REFUSED))
    # The pod was raised already; what it has is known.
    assert grows.cgroups.has["u"].memory == LARGE.memory
    assert await grows.carry_out() == str(REFUSED)
    assert grows.event_reasons() == ["ResizeError"]
    grows.made.updater.failing.clear()
    assert await grows.carry_out() == ""
    assert grows.event_reasons() == ["ResizeError", "ResizeCompleted"]
    assert grows.made.metric('kubelet_pod_resize_duration_milliseconds_count{success="false"} 2.0')


async def test_half_of_it(grows) -> None:
    told = grows.made.updater

    async def only_memory(p, container, container_id, resources, before):
        if str(resources.limits["cpu"]) == "200m":
            raise REFUSED
        told.told.append(container_id)

    told.update_container = only_memory
    assert await grows.carry_out() == str(REFUSED)
    assert grows.made.recorded.get("u").containers == {"app": of("100m", "2Mi")}
    assert await grows.carry_out() == str(REFUSED)
    assert told.told == ["app-0"]


async def test_the_kernel_or_the_runtime_refuses_the_pod(grows) -> None:
    grows.cgroups.failing["set"] = OSError(16, "busy")
    assert "busy" in await grows.carry_out()
    grows.cgroups.failing.clear()
    grows.made.updater.failing["sandbox"] = REFUSED
    assert await grows.carry_out() == str(REFUSED)
    assert grows.cgroups.written == []


async def test_memory_is_not_taken_from_what_uses_it() -> None:
    scene = Scene(pod(c("app", "200m", "2Mi")), pod(c("app", "100m", "1Mi")), LARGE, SMALL)
    await scene.begin()
    scene.cgroups.usage = (1500 << 10, {"app-0": 1 << 10})
    problem = await scene.carry_out()
    assert problem.startswith("cannot decrease memory limits: attempting to set pod memory limit (1048576)")
    # Nothing at all was changed.
    assert (scene.cgroups.written, scene.made.updater.told) == ([], [])
    scene.cgroups.usage = (1 << 10, {"app-0": 1 << 10})
    assert await scene.carry_out() == ""
    assert scene.cgroups.has["u"] == SMALL


async def test_a_cgroup_that_is_put_right_is_no_resize() -> None:
    p = pod(c("app", "200m", "2Mi"))
    scene = Scene(p, p)
    for container in p.spec.containers:
        await scene.resizer.making(p, container)
    scene.cgroups.failing["set"] = OSError(16, "busy")
    assert "busy" in await scene.carry_out()
    assert (scene.event_reasons(), scene.resizer.conditions("u")) == ([], ())
    scene.cgroups.failing.clear()
    assert await scene.carry_out() == ""
    assert scene.cgroups.has["u"] == LARGE
    assert "_count" not in "".join(
        line for line in scene.made.metrics.render().decode().splitlines() if "duration" in line
    )


async def test_the_pod_as_a_whole_is_recorded_too() -> None:
    scene = Scene(pod(c("app"), whole=("100m", "1Mi")), pod(c("app"), whole=("200m", "2Mi")))
    await scene.begin()
    assert await scene.carry_out() == ""
    assert scene.made.recorded.get("u").whole == of("200m", "2Mi")
    assert scene.event_reasons() == ["ResizeCompleted"]
    scene.resizer.in_force(scene.pod, LARGE, LARGE)
    assert scene.resizer.whole("u") == of("200m", "2Mi")
    scene.resizer.ended("u")
    assert scene.resizer.whole("u") is None
