from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace as with_fields
from tests.pods.model import START_NS, instance, observed_pod, sandbox

from pykubelet.api.core import Container, Pod, PodSpec
from pykubelet.api.meta import ObjectMeta
from pykubelet.cri.types import ContainerState, SandboxState
from pykubelet.pods.sources.adopt import running_uid, with_uid

OWN = "own"
BEFORE, AFTER = START_NS - 1, START_NS + 100
A, B = Container(name="a", image="i:1"), Container(name="b", image="i:2")


def static(*containers, **spec):
    return Pod(
        metadata=ObjectMeta(
            uid=OWN, name="p", namespace="ns", annotations={"kubernetes.io/config.hash": OWN, "note": "x"}
        ),
        spec=PodSpec(containers=list(containers or (A, B)), **spec),
    )


def running(*containers, uid="theirs", source="file", config_hash=None, number=0, **more):
    """A pod as another kubelet started it; without *containers* with both."""
    notes = {"kubernetes.io/config.hash": config_hash or uid, "kubernetes.io/config.source": source}
    box = replace(sandbox(number, **more), uid=uid, annotations=notes)
    statuses = containers or (instance("a", spec=A), instance("b", spec=B))
    return replace(observed_pod(*statuses, sandboxes=(box,)), uid=uid)


def test_the_uid_of_the_running_pod_is_taken_over():
    assert running_uid(static(), BEFORE, [running()]) == "theirs"


def test_nothing_runs():
    assert running_uid(static(), BEFORE, []) == OWN


@pytest.mark.parametrize("changed_at", [START_NS, AFTER])
def test_a_manifest_that_changed_after_the_start_is_another_pod(changed_at):
    assert running_uid(static(), changed_at, [running()]) == OWN


def test_init_and_dead_containers_count_too():
    first = Container(name="first", image="i:0")
    pod = static(A, initContainers=[first])
    dead = instance("first", ContainerState.EXITED, spec=first)
    assert running_uid(pod, BEFORE, [running(instance("a", spec=A), dead)]) == "theirs"
    other = instance("first", ContainerState.EXITED, image_hash="other")
    assert running_uid(pod, BEFORE, [running(instance("a", spec=A), other)]) == OWN


def test_a_container_that_has_not_run_yet_speaks_for_nothing():
    assert running_uid(static(), BEFORE, [running(instance("a", spec=A))]) == "theirs"


@pytest.mark.parametrize(
    "observed",
    [
        pytest.param(running(instance("a", image_hash="other")), id="another image"),
        pytest.param(running(instance("c", spec=A)), id="a container that the manifest lacks"),
        pytest.param(running(source="api"), id="a pod of the API"),
        pytest.param(running(config_hash="given"), id="a hash that is no UID"),
        pytest.param(running(host_network=True), id="another network"),
        pytest.param(running(state=SandboxState.NOTREADY), id="its sandbox is dead"),
        pytest.param(replace(running(), containers=()), id="without containers"),
    ],
)
def test_what_is_not_that_pod(observed):
    assert running_uid(static(), BEFORE, [observed]) == OWN


def test_another_name_or_namespace():
    for change in ({"name": "q"}, {"namespace": "other"}):
        observed = running()
        box = replace(observed.sandboxes[0], **change)
        assert running_uid(static(), BEFORE, [replace(observed, sandboxes=(box,))]) == OWN


def test_of_several_the_own_one_and_then_the_youngest():
    older, younger = running(uid="older", number=1), running(uid="younger", number=2)
    assert running_uid(static(), BEFORE, [younger, older]) == "younger"
    # That it runs under its own UID is enough, however young the manifest is.
    assert running_uid(static(), AFTER, [younger, running(uid=OWN), older]) == OWN
    assert running_uid(static(), BEFORE, [running(uid=OWN), younger]) == OWN


def test_the_hash_follows_the_uid():
    adopted = with_uid(static(), "theirs")
    assert adopted.metadata.uid == "theirs"
    assert adopted.metadata.annotations == {"kubernetes.io/config.hash": "theirs", "note": "x"}
    assert with_fields(adopted, metadata=static().metadata) == static()


@given(st.lists(st.integers(-5, 5), max_size=5), st.integers(-5, 5), st.randoms())
def test_only_what_is_younger_is_taken_whatever_the_order(ages, changed, rng):
    pods = [running(uid=f"u{at}", number=at) for at in ages]
    rng.shuffle(pods)
    younger = [at for at in ages if at > changed]
    wanted = f"u{max(younger)}" if younger else OWN
    assert running_uid(static(), START_NS + changed, pods) == wanted
