import copy
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from pykubelet.api.core import Pod, PodSpec, PodStatus
from pykubelet.api.meta import ObjectMeta
from pykubelet.pods.sources.merge import Op, merge


def pod(uid, name=None, image="i", **meta):
    annotations = meta.pop("annotations", {})
    return Pod(
        metadata=ObjectMeta(uid=uid, name=name or uid, namespace="default", annotations=annotations, **meta),
        spec=PodSpec(hostname=image),
    )


def told(merged):
    return [(update.op, [p.metadata.uid for p in update.pods]) for update in merged.updates]


def after(old, new, seen="later"):
    first = merge("file", None, old, "first")
    return merge("file", first, new, seen)


def test_first_set():
    merged = merge("file", None, [pod("a"), pod("b")], "now")
    assert told(merged) == [(Op.ADD, ["a", "b"])]
    assert merged.pods["a"].metadata.annotations == {
        "kubernetes.io/config.source": "file",
        "kubernetes.io/config.seen": "now",
    }
    empty = merge("file", None, [], "now")
    assert told(empty) == [(Op.ADD, [])]
    assert told(merge("file", empty, [], "now")) == []


def test_order_of_changes():
    gone, changed, ending, seen = pod("gone"), pod("changed"), pod("ending"), pod("seen")
    merged = after(
        [gone, changed, ending, seen],
        [
            replace(seen, status=PodStatus(phase="Running")),
            pod("ending", deletionTimestamp=datetime(2024, 1, 1, tzinfo=UTC), deletionGracePeriodSeconds=5),
            pod("changed", image="j"),
            pod("new"),
        ],
    )
    assert told(merged) == [
        (Op.REMOVE, ["gone"]),
        (Op.ADD, ["new"]),
        (Op.UPDATE, ["changed"]),
        (Op.DELETE, ["ending"]),
        (Op.RECONCILE, ["seen"]),
    ]
    assert merged.pods["changed"].spec.hostname == "j"
    assert merged.pods["changed"].metadata.annotations["kubernetes.io/config.seen"] == "first"
    assert merged.pods["ending"].metadata.deletionGracePeriodSeconds == 5


def test_labels_and_annotations_count_but_not_local_ones():
    assert told(after([pod("a")], [pod("a", labels={"x": "y"})])) == [(Op.UPDATE, ["a"])]
    assert told(after([pod("a")], [pod("a", annotations={"x": "y"})])) == [(Op.UPDATE, ["a"])]
    assert told(after([pod("a", annotations={"x": "y"})], [pod("a")])) == [(Op.UPDATE, ["a"])]
    assert told(after([pod("a")], [pod("a", annotations={"kubernetes.io/config.seen": "y"})])) == []
    assert told(after([pod("a")], [pod("a", annotations={"kubernetes.io/config.mirror": "y"})])) == []


def test_an_unchanged_pod_stays_the_same_object():
    first = merge("file", None, [pod("a")], "first")
    assert merge("file", first, [pod("a")], "later").pods["a"] is first.pods["a"]


def test_only_what_is_given_anew_is_adapted():
    adapted = []

    def adapt(one):
        adapted.append(one.metadata.uid)
        return replace(one, spec=replace(one.spec, nodeName="here"))

    stays = pod("stays")
    first = merge("file", None, [stays, pod("other")], "first", adapt)
    assert first.pods["stays"].spec.nodeName == "here"
    second = merge("file", first, [stays, pod("other", image="j")], "later", adapt)
    assert told(second) == [(Op.UPDATE, ["other"])]
    assert second.pods["stays"] is first.pods["stays"]
    assert adapted == ["stays", "other", "other"]


def test_names_and_uids_are_unique_in_a_set():
    merged = merge("file", None, [pod("1", "web"), pod("2", "web"), pod("1", "other")], "now")
    assert told(merged) == [(Op.ADD, ["1"])]
    assert [refused.message for refused in merged.refused] == [
        'Error validating pod web_default(2) from file due to duplicate pod name "web", ignoring',
        'Error validating pod other_default(1) from file due to duplicate pod UID "1", ignoring',
    ]


pods = st.builds(
    lambda uid, image, phase: replace(pod(uid, image=image), status=PodStatus(phase=phase)),
    st.sampled_from("abcdef"),
    st.sampled_from("ij"),
    st.sampled_from(["", "Running"]),
)


@given(st.lists(st.lists(pods, max_size=6), max_size=8))
def test_replaying_the_changes_ends_with_the_last_set(sets):
    known, replayed, stamps = None, {}, {}
    for number, given_set in enumerate(sets):
        merged = merge("file", known, given_set, str(number))
        for update in merged.updates:
            for one in update.pods:
                uid = one.metadata.uid
                if update.op is Op.REMOVE:
                    del replayed[uid], stamps[uid]
                    continue
                assert (update.op is Op.ADD) == (uid not in replayed)
                replayed[uid] = one
                assert (
                    stamps.setdefault(uid, one.metadata.annotations["kubernetes.io/config.seen"])
                    == (one.metadata.annotations["kubernetes.io/config.seen"])
                )
        known = merged
        assert replayed == known.pods
        wanted = {}
        for one in given_set:
            wanted.setdefault(one.metadata.uid, (one.spec, one.status))
        assert {uid: (one.spec, one.status) for uid, one in known.pods.items()} == wanted
        assert not merge("file", known, given_set, "again").updates
        assert not merge("file", known, [copy.deepcopy(one) for one in given_set], "again").updates
