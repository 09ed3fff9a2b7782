"""What probes found, put into a pod's last status without a look at the runtime."""

from datetime import timedelta

import msgspec
import pytest
from tests.pods.model import START_NS, Verdicts, instance
from tests.pods.test_status import NOW, c, conditions, generate, pod

from pykubelet.api.core import Probe
from pykubelet.base.clock import from_ns
from pykubelet.cri.types import ContainerState as State
from pykubelet.pods.status_verdicts import with_verdicts

STARTED = from_ns(START_NS)
LATER = NOW + timedelta(seconds=5)
PROBED = c("a", readinessProbe=Probe())
SIDECAR = c("s", restartPolicy="Always", startupProbe=Probe())
READY, WAITING = {"a-0": True}, {"a-0": False}
WORKERS = {("a", "readiness")}


def shown(p, verdicts, *instances):
    """What was last reported of the running pod."""
    return generate(
        p, *(instances or (instance("a", State.RUNNING), instance("b", State.RUNNING))), verdicts=verdicts
    )


def test_a_container_that_becomes_ready_and_unready() -> None:
    p = pod(PROBED, c("b"))
    old = shown(p, Verdicts(readiness=WAITING, workers=WORKERS))
    assert conditions(old)["Ready"][0] == "False"
    new = with_verdicts(p, old, Verdicts(readiness=READY, workers=WORKERS), STARTED, LATER)
    assert [s.ready for s in new.containerStatuses] == [True, True]
    assert (conditions(new)["Ready"][0], conditions(new)["ContainersReady"][0]) == ("True", "True")
    changed = {k.type for k in new.conditions if k.lastTransitionTime == LATER.replace(microsecond=0)}
    assert changed == {"Ready", "ContainersReady"}
    again = with_verdicts(p, new, Verdicts(readiness=WAITING, workers=WORKERS), STARTED, LATER)
    assert again.containerStatuses[0].ready is False
    assert conditions(again)["Ready"] == conditions(old)["Ready"]


def test_it_is_what_the_whole_status_would_say() -> None:
    p = pod(PROBED, c("b"))
    verdicts = Verdicts(readiness=READY, workers=WORKERS)
    old = shown(p, Verdicts(readiness=WAITING, workers=WORKERS))
    whole = generate(
        p, instance("a", State.RUNNING), instance("b", State.RUNNING), verdicts=verdicts, old=old
    )
    assert with_verdicts(p, old, verdicts, STARTED, NOW) == whole


def test_a_startup_probe_that_succeeded() -> None:
    p = pod(c("a", startupProbe=Probe()))
    workers = {("a", "startup")}
    old = shown(p, Verdicts(workers=workers), instance("a", State.RUNNING))
    assert old.containerStatuses[0].started is False
    new = with_verdicts(p, old, Verdicts(startup=READY, workers=workers), STARTED, LATER)
    assert (new.containerStatuses[0].started, new.containerStatuses[0].ready) == (True, True)


def test_a_sidecar_that_has_started_initializes_the_pod() -> None:
    p = pod(c("a"), init=[SIDECAR])
    workers = {("s", "startup")}
    old = generate(p, instance("s", State.RUNNING), verdicts=Verdicts(workers=workers))
    assert conditions(old)["Initialized"][0] == "False"
    new = with_verdicts(p, old, Verdicts(startup={"s-0": True}, workers=workers), STARTED, LATER)
    assert conditions(new)["Initialized"][0] == "True"
    # Whether the pod runs now is the worker's to say.
    assert new.phase == old.phase == "Pending"


@pytest.mark.parametrize("phase", ["Running", "Failed"])
def test_nothing_new_and_a_pod_that_is_over_leave_the_status_as_it_is(phase) -> None:
    p = pod(PROBED)
    verdicts = Verdicts(readiness=WAITING, workers=WORKERS)
    old = msgspec.structs.replace(shown(p, verdicts, instance("a", State.RUNNING)), phase=phase)
    if phase == "Failed":
        verdicts = Verdicts(readiness=READY, workers=WORKERS)
    assert with_verdicts(p, old, verdicts, STARTED, LATER) is old
