"""The desired pods, the reasons for failed starts, and the trimming of dead containers."""

import asyncio

import pytest
from tests.pods.model import instance, observed_pod

from pykubelet.api.core import Pod
from pykubelet.api.meta import ObjectMeta
from pykubelet.base.journal import NullJournal
from pykubelet.cri.errors import Code, CriError
from pykubelet.cri.types import ContainerState
from pykubelet.pods.reasons import ReasonCache
from pykubelet.pods.store import PodStore
from pykubelet.pods.trimmer import Trimmer


def pod(uid, name="web", mirror=False) -> Pod:
    notes = {"kubernetes.io/config.mirror": "hash"} if mirror else {}
    return Pod(metadata=ObjectMeta(name=name, namespace="ns", uid=uid, annotations=notes))


def test_mirror_pods_are_kept_apart_and_found_by_their_static_pod() -> None:
    store = PodStore()
    static, mirror = pod("s1"), pod("m1", mirror=True)
    store.set(static)
    store.set(mirror)
    assert store.pods() == [static]
    assert store.mirrors() == [mirror]
    assert store.mirror_of(static) is mirror
    assert store.static_of(mirror) is static
    assert store.get("m1") is None
    assert store.by_name("ns", "web") is static
    store.remove(mirror)
    assert store.mirror_of(static) is None
    store.remove(static)
    store.remove(static)
    assert store.static_of(mirror) is None
    assert not store.pods()


def test_a_pod_that_replaced_another_of_its_name_stays_found_when_the_other_goes() -> None:
    store = PodStore()
    old, new = pod("u1"), pod("u2")
    store.set(old)
    store.set(new)
    store.remove(old)
    assert store.by_name("ns", "web") is new
    assert store.get("u1") is None


def test_reasons_are_kept_by_pod_and_container() -> None:
    reasons = ReasonCache()
    reasons.set("u1", "a", "ErrImagePull", "no")
    reasons.set("u1", "a", "ImagePullBackOff", "wait")
    reasons.set("u1", "b", "RunContainerError", "x")
    reasons.set("u2", "a", "Other", "y")
    assert reasons.of("u1") == {"a": ("ImagePullBackOff", "wait"), "b": ("RunContainerError", "x")}
    reasons.clear("u1", "a")
    reasons.clear("u1", "never set")
    assert reasons.of("u1") == {"b": ("RunContainerError", "x")}
    reasons.forget("u1")
    assert reasons.of("u1") == {}
    assert reasons.of("u2")


def test_beyond_a_thousand_the_oldest_reasons_are_forgotten() -> None:
    reasons = ReasonCache()
    for number in range(1005):
        reasons.set(f"u{number}", "a", "R", "")
    assert not reasons.of("u0")
    assert not reasons.of("u4")
    assert reasons.of("u5")
    assert reasons.of("u1004")


class Remover(NullJournal):
    """The one method of the starter that trimming needs."""

    def __init__(self, failing=()) -> None:
        self.removed = []
        self.failing = set(failing)

    async def remove_container(self, status, *, keep_logs=False):
        if status.id in self.failing:
            raise CriError(Code.Unavailable, "RemoveContainer", "gone")
        self.removed.append(status.id)


def dead(name, *numbers):
    return [
        instance(name, ContainerState.EXITED, number=n, exit_code=1) for n in sorted(numbers, reverse=True)
    ]


@pytest.mark.parametrize(
    ("keep", "remove_all", "left"),
    [(1, False, {"web-2", "web-3"}), (2, False, {"web-1", "web-2", "web-3"}), (0, False, {"web-2", "web-3"}),
     (1, True, {"web-3"})],
)  # fmt: skip
async def test_of_each_container_the_newest_dead_instances_stay(keep, remove_all, left) -> None:
    observed = observed_pod(instance("web", number=3), *dead("web", 0, 1, 2))
    remover = Remover()
    trimmer = Trimmer(
        remover,
        remover,
        cached={"u": observed}.get,
        content_removable=lambda uid: remove_all,
        keep=keep,
    )
    trimmer.start()
    trimmer.request("u")
    trimmer.request("unknown")
    await asyncio.sleep(0.01)
    await trimmer.stop()
    assert {c.id for c in observed.containers} - set(remover.removed) == left
    assert len(remover.removed) == len(set(remover.removed))


async def test_a_container_that_cannot_be_removed_does_not_keep_the_others() -> None:
    observed = observed_pod(*dead("web", 0, 1, 2))
    remover = Remover(failing={"web-1"})
    trimmer = Trimmer(
        remover, remover, cached=lambda uid: observed, content_removable=lambda uid: False, keep=1
    )
    trimmer.start()
    trimmer.request("u")
    await asyncio.sleep(0.01)
    await trimmer.stop()
    assert remover.removed == ["web-0"]
