"""What the plan of a pod orders when other resources are allocated than are in force."""

import pytest
from tests.pods.model import Verdicts, instance, observed_pod, sandbox
from tests.pods.resize.model import c, of, pod

from pykubelet.api.core import Probe
from pykubelet.cri.types import ContainerState, SandboxState
from pykubelet.linux.cgroups import Limits
from pykubelet.pods.plan import plan_pod
from pykubelet.pods.resize.amounts import PodAmounts
from pykubelet.pods.resize.plan import InForce, UpdateContainer

SMALL, LARGE = Limits(102, 10_000, 100_000, -1), Limits(204, 20_000, 100_000, None)


def plan(p, *instances, recorded=(), sandboxes=None, verdicts=None, limits=SMALL, wanted=LARGE):
    force = InForce(PodAmounts(dict(recorded)), limits, wanted)
    seen = observed_pod(*instances, sandboxes=sandboxes)
    return plan_pod(p, seen, verdicts=verdicts or Verdicts(), in_force=force)


def updated(made):
    steps = () if made.resize is None else made.resize.steps
    return [step.container for step in steps if isinstance(step, UpdateContainer)]


def test_in_place():
    made = plan(pod(c("app", "200m")), instance("app"), recorded={"app": of("100m")})
    assert (updated(made), made.kill, made.start) == (["app"], (), ())
    assert not made.idle


def test_by_a_restart_whatever_the_restart_policy_says():
    p = pod(c("app", "200m", restarts=["cpu"]), c("other", "200m"))
    p.spec.restartPolicy = "Never"
    made = plan(p, instance("app"), instance("other"), recorded={"app": of("100m"), "other": of("100m")})
    [kill], [start] = made.kill, made.start
    assert (kill.id, kill.message) == ("app-0", "Container app resize requires restart")
    assert start.container == "app"
    assert updated(made) == ["other"]
    # Between the two the pod's own limits are changed.
    assert len(made.resize.steps) == 3


def test_a_sidecar_is_restarted_too():
    p = pod(c("app"), init=[c("side", "200m", restarts=["cpu"], sidecar=True)])
    made = plan(p, instance("app"), instance("side"), recorded={"side": of("100m"), "app": of()})
    assert [order.message for order in made.kill] == ["Container side resize requires restart"]
    assert [order.container for order in made.start_init] == ["side"]


def test_a_restart_alone_still_resizes_the_pod():
    p = pod(c("app", "200m", restarts=["cpu"]))
    made = plan(p, instance("app"), recorded={"app": of("100m")})
    assert (updated(made), made.resize.resizes) == ([], True)


def test_what_is_killed_anyhow_is_not_resized():
    p = pod(c("app", "200m", restarts=["cpu"]), c("other"))
    p.spec.containers[0].livenessProbe = Probe()
    made = plan(
        p, instance("app"), instance("other"), recorded={"app": of("100m"), "other": of()},
        verdicts=Verdicts(liveness={"app-0": False}),
    )  # fmt: skip
    assert [order.message for order in made.kill] == [
        "Container app failed liveness probe, will be restarted"
    ]
    assert updated(made) == []


def test_while_it_is_initialized():
    p = pod(c("app", "200m"), init=[c("init", "200m"), c("later", "200m")])
    made = plan(p, instance("init"), recorded={"init": of("100m")})
    assert (updated(made), made.start_init) == (["init"], ())


@pytest.mark.parametrize("state", [ContainerState.EXITED, ContainerState.RUNNING])
def test_a_new_sandbox_comes_into_a_pod_of_the_right_size(state):
    dead = sandbox(0, SandboxState.NOTREADY)
    made = plan(pod(c("app", "200m")), instance("app", state), recorded={"app": of("100m")}, sandboxes=[dead])
    assert made.create_sandbox is not None
    assert (updated(made), len(made.resize.steps), made.resize.resizes) == ([], 2, False)


def test_a_pod_that_is_only_ended_is_not_resized():
    p = pod(c("app", "200m"))
    p.spec.restartPolicy = "Never"
    made = plan(p, instance("app", ContainerState.EXITED), recorded={"app": of("100m")})
    assert made.kill_pod is not None
    assert made.resize is None


def test_without_what_is_in_force_nothing_is_resized():
    made = plan_pod(pod(c("app", "200m")), observed_pod(instance("app")), verdicts=Verdicts())
    assert made.idle
