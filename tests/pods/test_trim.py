from tests.pods.model import instance, observed_pod

from pykubelet.cri.types import ContainerState
from pykubelet.pods.trim import removable

EXITED = ContainerState.EXITED
SEEN = observed_pod(
    instance("a", number=3),
    instance("a", EXITED, number=2),
    instance("a", EXITED, number=1),
    instance("b", EXITED, number=1),
    instance("b", ContainerState.UNKNOWN, number=0),
    instance("a", EXITED, number=0),
)


def ids(statuses):
    return [status.id for status in statuses]


def test_one_dead_container_a_name_is_kept():
    assert ids(removable(SEEN)) == ["a-1", "a-0"]
    assert ids(removable(SEEN, keep=0)) == ["a-1", "a-0"]
    assert ids(removable(SEEN, keep=2)) == ["a-0"]


def test_none_is_kept_when_content_may_go():
    assert ids(removable(SEEN, remove_all=True)) == ["a-2", "a-1", "b-1", "a-0"]
