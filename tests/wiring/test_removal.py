"""What of a pod may be removed, by what its worker, its source and the runtime say."""

from types import SimpleNamespace

import pytest

from pykubelet.api.core import Pod
from pykubelet.api.meta import ObjectMeta
from pykubelet.observe.types import ObservedPod
from pykubelet.pods.lifecycle import WorkerPhase, WorkerState
from pykubelet.pods.store import PodStore
from pykubelet.wiring.removal import Removal

POD = Pod(metadata=ObjectMeta(name="web", namespace="ns", uid="u"))


class Node:
    """What is known of the one pod ``u``."""

    def __init__(
        self,
        *,
        state=None,
        wanted=False,
        passed=True,
        rejected=False,
        unread=False,
        held=False,
        observed=None,
    ):
        store = PodStore()
        if wanted:
            store.set(POD)
        observer = SimpleNamespace(unread=lambda uid: unread, cached=lambda uid: observed)
        workers = SimpleNamespace(state=lambda uid: state)
        self.removal = Removal(
            store, observer, workers, lambda uid: rejected, lambda: passed, lambda uid: held
        )

    def answers(self):
        return (
            self.removal.content_removable("u"),
            self.removal.runtime_removable("u"),
            self.removal.volumes_removable("u"),
            self.removal.ending("u"),
        )


def worker(phase, **fields):
    return WorkerState("web_ns", phase, **fields)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (worker(WorkerPhase.SYNCING), (False, False, False, False)),
        (worker(WorkerPhase.TERMINATING, deleted=True), (False, False, False, True)),
        (worker(WorkerPhase.TERMINATED), (False, True, True, True)),
        (worker(WorkerPhase.TERMINATED, deleted=True), (True, True, True, True)),
        (worker(WorkerPhase.FINISHED, evicted=True), (True, True, True, True)),
    ],
)
def test_the_worker_knows_best(state, expected):
    assert Node(state=state, wanted=True).answers() == expected
    assert Node(state=state, passed=False).answers() == expected


def test_a_wanted_pod_keeps_all_until_it_has_a_worker():
    assert Node(wanted=True).answers() == (False, False, False, False)


def test_of_a_rejected_pod_only_the_volumes_go():
    assert Node(wanted=True, rejected=True).answers() == (False, False, True, False)


def test_an_orphan_goes_when_all_pods_were_seen():
    assert Node(passed=False).answers() == (False, False, False, False)
    assert Node().answers() == (True, True, True, False)


def test_a_pod_that_cannot_be_read_keeps_all():
    assert Node(held=True).answers() == (False, False, False, False)


def test_an_orphan_keeps_its_volumes_while_it_may_run():
    assert not Node(unread=True).removal.volumes_removable("u")
    assert Node(observed=ObservedPod("u")).removal.volumes_removable("u")
    running = SimpleNamespace(alive=True)
    assert not Node(observed=running).removal.volumes_removable("u")
