"""Which images garbage collection chooses."""

import pytest

from pykubelet.containers.image_gc import (
    DiskUsage,
    ImagePolicy,
    ImageRecord,
    detected,
    kept,
    old_enough,
    removable,
    too_old,
    used_images,
)
from pykubelet.cri.types import ContainerState, ContainerSummary, Image

SECOND = 1_000_000_000


def image(name, size=10, pinned=False, handler=""):
    return Image(
        f"sha256:{name}", (f"docker.io/library/{name}:v1",), (f"{name}@d",), size, pinned=pinned,
        runtime_handler=handler,
    )  # fmt: skip


def box(image_id="", image_ref="", state=ContainerState.EXITED, handler=""):
    return ContainerSummary("c", "s", "n", 0, state, 0, "", image_ref, image_id, {}, {}, handler)


def record(name, first=0, last=0, size=10, pinned=False):
    return ImageRecord(
        f"sha256:{name}", "", (f"docker.io/library/{name}:v1",), size, pinned, first * SECOND, last * SECOND
    )


def by_key(*records):
    return {each.key: each for each in records}


def names(records):
    return [each.id.removeprefix("sha256:") for each in records]


def used(images, containers=(), others=(), handlers=False):
    return used_images(images, containers, others, handlers=handlers)


def test_an_image_is_used_by_containers_of_any_state_however_they_name_it():
    images = [image("a"), image("b"), image("c"), image("d"), image("e")]
    containers = [box("sha256:a"), box("", "sha256:b", ContainerState.RUNNING), box("x", "c@d")]
    assert used(images, containers, {"docker.io/library/d:v1"}) == {(f"sha256:{n}", "") for n in "abcd"}


def test_handlers_tell_images_apart_only_with_the_gate():
    images = [image("a", handler="kata"), image("a", handler="runc")]
    containers = [box("sha256:a", handler="kata")]
    assert used(images, containers, handlers=True) == {("sha256:a", "kata")}
    assert used(images, containers) == {("sha256:a", "")}
    # What mounts an image does not say for which handler.
    assert len(used(images, (), {"sha256:a"}, handlers=True)) == 2


def test_records_keep_when_an_image_was_first_seen_and_last_used():
    first = detected({}, [image("a"), image("b")], {("sha256:a", "")}, 5, handlers=False)
    assert [(r.first_detected, r.last_used) for r in first.values()] == [(5, 5), (5, 0)]
    again = detected(first, [image("a", size=20), image("c")], set(), 9, handlers=False)
    assert [(r.id, r.size, r.first_detected, r.last_used) for r in again.values()] == [
        ("sha256:a", 20, 5, 5),
        ("sha256:c", 10, 9, 0),
    ]


def test_the_order_is_by_last_use_then_by_first_sight():
    records = by_key(
        record("c", 1, 9), record("b", 2), record("a", 1), record("d", 3, 7), record("p", pinned=True)
    )
    assert names(removable(records, set(), ImagePolicy())) == ["a", "b", "d", "c"]
    assert names(removable(records, {("sha256:a", "")}, ImagePolicy(keep=("d:*",)))) == ["b", "c"]


@pytest.mark.parametrize(
    ("name", "pattern", "stays"),
    [
        ("docker.io/library/nginx:1", "nginx:*", True),
        ("docker.io/library/nginx:1", "docker.io/library/nginx:1", True),
        ("docker.io/me/tool:1", "me/*", True),
        ("registry.example/base/a/b:1", "registry.example/base/*", True),
        ("registry.example/other:1", "registry.example/base/*", False),
        ("registry.example/base:1", "nginx*", False),
        ("registry.example/base:1", "sha256:i*", True),
    ],
)
def test_patterns_keep_images(name, pattern, stays):
    assert kept(ImageRecord("sha256:id", "", (name,), 1, False, 0), ["zzz", pattern]) == stays


def test_old_images_go_once_the_kubelet_has_watched_long_enough():
    policy = ImagePolicy(max_age=100)
    images = [record("never", 0), record("used", 0, 150), record("pulled", 150), record("old", 0, 50)]
    assert names(too_old(images, policy, 200 * SECOND, 0)) == ["never", "old"]
    assert too_old(images, policy, 200 * SECOND, 100 * SECOND) == []
    assert too_old(images, ImagePolicy(), 200 * SECOND, 0) == []


def test_what_was_just_seen_or_used_does_not_go_for_space():
    images = [record("new", 100), record("old", 80), record("used", 0, 200)]
    assert names(old_enough(images, ImagePolicy(min_age=120), 200 * SECOND)) == ["old"]


def test_how_much_is_freed():
    policy = ImagePolicy(high=85, low=80)
    assert DiskUsage(1000, 150).percent == 85
    assert DiskUsage(1000, 151).percent == 85
    assert DiskUsage(1000, 2000).percent == 0
    assert DiskUsage(1000, 100).to_free(policy) == 100
    assert (ImagePolicy(high=100).disabled, ImagePolicy(high=100, max_age=1).disabled) == (True, False)
