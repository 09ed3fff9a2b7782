import pytest

from pykubelet.api.core import Container, Pod, PodSpec
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.mounted import MountedVolume
from pykubelet.api.volumes import (
    ConfigMapVolumeSource,
    DownwardAPIVolumeSource,
    EmptyDirVolumeSource,
    Volume,
    VolumeMount,
)
from pykubelet.volumes.book import Book
from pykubelet.volumes.doors import NoAttachments
from pykubelet.volumes.orders import Order, Renewal
from pykubelet.volumes.reconcile import reconcile
from pykubelet.volumes.state import VolumeKey
from pykubelet.volumes.stories import stories

PLUGINS = {
    "configMap": "kubernetes.io/configmap",
    "downwardAPI": "kubernetes.io/downward-api",
    "emptyDir": "kubernetes.io/empty-dir",
}
POD = Pod(
    metadata=ObjectMeta(name="web", namespace="shop", uid="uid-1"),
    spec=PodSpec(
        volumes=[
            Volume(name="map", configMap=ConfigMapVolumeSource(name="settings")),
            Volume(name="data", emptyDir=EmptyDirVolumeSource()),
        ],
        containers=[Container(name="box", volumeMounts=[VolumeMount(name="map"), VolumeMount(name="data")])],
    ),
)
MAP = VolumeKey("uid-1", "kubernetes.io/configmap", "map")
DATA = VolumeKey("uid-1", "kubernetes.io/empty-dir", "data")


class World:
    def __init__(self):
        self.pods = [POD]
        self.book = Book(
            PLUGINS,
            lambda: self.pods,
            lambda uid: False,
            lambda uid: False,
            {PLUGINS["configMap"], PLUGINS["downwardAPI"]},
        )

    def refresh(self, uid, cause, now, shows=lambda volume: True):
        self.book.refresh(uid, cause, now, shows)

    def orders(self, now):
        plan = reconcile(self.book.situation(now, sources_ready=True, attachments=NoAttachments()))
        for order in plan.orders:
            self.book.begin(order, now)
        return [(order.kind, order.target.name, order.cause) for order in plan.orders]

    def done(self, key, now, renewal=None):
        order = self.book.flight.running[key]
        self.book.mounted(key, MountedVolume(key.name), now, renewal)
        self.book.flight.succeeded(order)
        self.book.flight.end(order)

    def failed(self, kind, key, now):
        order = Order(kind, key, "why")
        setback = self.book.failed(order, "no", now, "unchanged", None)
        self.book.flight.end(order)
        return setback


@pytest.fixture
def world():
    made = World()
    made.orders(0.0)
    made.done(DATA, 0.0)
    return made


def test_a_change_refreshes_only_what_shows_it(world):
    world.done(MAP, 0.0)
    world.refresh("uid-2", "another pod's", 1.0)
    assert world.orders(1.0) == []
    world.refresh("uid-1", "another volume's", 1.0, lambda volume: volume.name == "data")
    assert world.orders(1.0) == []
    world.refresh("uid-1", "configmap shop/settings changed", 2.0, lambda volume: volume.name == "map")
    assert world.orders(2.0) == [("refresh", "map", "configmap shop/settings changed")]
    assert world.book.ready("uid-1").keys() == {"map", "data"}
    world.done(MAP, 3.0, Renewal(60.0, "a while"))
    assert world.orders(59.0) == []
    assert world.orders(60.0) == [("refresh", "map", "a while")]


def test_a_change_in_flight_is_not_lost(world):
    world.refresh("uid-1", "it changed", 1.0)
    world.done(MAP, 2.0, Renewal(60.0, "a while"))
    assert world.orders(2.0) == [("refresh", "map", "it changed")]
    world.refresh("uid-1", "and again", 3.0)
    assert world.orders(3.0) == []
    world.done(MAP, 4.0, Renewal(60.0, "a while"))
    assert world.orders(4.0) == [("refresh", "map", "and again")]


def test_a_failed_refresh_is_tried_again_and_stays_mounted(world):
    world.done(MAP, 0.0)
    world.refresh("uid-1", "it changed", 10.0)
    world.orders(10.0)
    assert world.failed("refresh", MAP, 11.0).not_before == 11.5
    assert world.orders(11.4) == []
    (told,) = (
        story for story in stories(world.book, NoAttachments(), "uid-1", 11.4) if story.volume == "map"
    )
    assert (told.state, told.failures, told.error) == ("mounted", 1, "no")
    assert (told.since, told.next_try) == (pytest.approx(11.4), pytest.approx(0.1))
    assert world.orders(11.5) == [("refresh", "map", "why")]
    assert world.failed("refresh", MAP, 12.0).not_before == 13.0
    world.refresh("uid-1", "it changed again", 12.1)
    assert world.orders(12.1) == [("refresh", "map", "it changed again")]
    world.done(MAP, 13.0)
    assert {story.error for story in stories(world.book, NoAttachments(), "uid-1", 13.0)} == {""}


def test_a_mount_that_waits_is_tried_at_once_when_something_changed(world):
    world.failed("mount", MAP, 1.0)
    assert world.orders(1.1) == []
    world.refresh("uid-1", "configmap shop/settings appeared", 1.2)
    assert [kind for kind, _, _ in world.orders(1.2)] == ["mount"]
    world.refresh("uid-1", "and changed while it was mounted", 1.3)
    assert world.failed("mount", MAP, 1.4).not_before == 1.4


@pytest.mark.parametrize(
    ("change", "refreshed"),
    [
        ({}, []),
        ({"labels": {"a": "1"}}, ["told"]),
        ({"annotations": {"a": "1"}}, ["told"]),
        ({"resourceVersion": "7"}, []),
        ({"spec": True}, ["map", "told"]),
    ],
)
def test_a_pod_that_changed_is_shown(change, refreshed):
    world = World()
    world.pods = [pod_that(labels={"a": "0"})]
    for _, name, _ in world.orders(0.0):
        world.done(VolumeKey("uid-1", PLUGINS[{"map": "configMap", "told": "downwardAPI"}[name]], name), 0.0)
    assert world.orders(1.0) == []
    world.pods = [pod_that(**{"labels": {"a": "0"}} | change)]
    world.book.wants.asked_by(world.pods[0])
    assert world.orders(2.0) == [("refresh", name, "the pod changed") for name in refreshed]
    assert world.orders(3.0) == []


def pod_that(*, spec=False, **metadata):
    mounts = [VolumeMount(name="map"), VolumeMount(name="told")]
    return Pod(
        metadata=ObjectMeta(name="web", namespace="shop", uid="uid-1", **metadata),
        spec=PodSpec(
            volumes=[
                Volume(name="map", configMap=ConfigMapVolumeSource(name="settings")),
                Volume(name="told", downwardAPI=DownwardAPIVolumeSource()),
            ],
            containers=[Container(name="box", image="new" if spec else "old", volumeMounts=mounts)],
        ),
    )


def test_what_is_gone_is_not_renewed(world):
    world.done(MAP, 0.0, Renewal(60.0, "a while"))
    world.book.gone(MAP, 70.0)
    world.pods = []
    world.refresh("uid-1", "it changed", 70.0)
    assert (
        reconcile(world.book.situation(70.0, sources_ready=False, attachments=NoAttachments())).orders == ()
    )
    assert world.book._renewals == {}
