"""The journal: what it keeps, in which bounds, over a restart, and how it is told."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.base.clock import ManualClock
from pykubelet.base.journal import ObjectRef, PodRef
from pykubelet.explain import journal as module
from pykubelet.explain.journal import DecisionJournal, Entry
from pykubelet.explain.story import tell

WEB = PodRef("ns", "web", "u1")


def make(file: Path | None = None) -> DecisionJournal:
    return DecisionJournal(ManualClock(), file)


def test_decisions_and_events_of_a_pod_are_kept_in_order() -> None:
    journal = make()
    journal.record(
        "StartContainer", "starting web", pod=WEB, container="web", cause="it is not there", attempt=0
    )
    journal.pod_event(WEB, "Normal", "Pulled", "image is there", field_path="spec.containers{web}")
    journal.record("Other", "of another pod", pod=PodRef("ns", "db", "u2"))
    journal.record("Node", "of the node")
    entries = journal.of_pod("u1")
    assert [(e.kind, e.what, e.container) for e in entries] == [
        ("decision", "StartContainer", "web"),
        ("event", "Pulled", "web"),
    ]
    assert entries[0].facts == {"attempt": 0}
    assert entries[0].pod == WEB
    assert journal.of_name("ns", "web") == entries
    assert [e.what for e in journal.of_node()] == ["Node"]
    assert journal.of_node()[0].pod is None
    assert [e.what for e in journal.events_of("u1")] == ["Pulled"]
    assert journal.of_pod("unknown") == []


def test_an_event_that_repeats_is_counted_instead_of_kept_again() -> None:
    clock = ManualClock()
    journal = DecisionJournal(clock)
    for _ in range(4):
        journal.pod_event(WEB, "Warning", "BackOff", "Back-off restarting", field_path="spec.containers{web}")
        clock.advance(10)
    journal.pod_event(WEB, "Warning", "BackOff", "Back-off restarting", field_path="spec.containers{db}")
    first, second = journal.events_of("u1")
    assert (first.count, (first.time - first.first) / 1e9) == (4, 30)
    assert second.count == 1
    journal.node_event("Normal", "Starting", "Starting kubelet.")
    journal.node_event("Normal", "Starting", "Starting kubelet.")
    assert [e.count for e in journal.of_node()] == [2]


def test_an_event_of_another_object_stands_with_the_node() -> None:
    journal = make()
    claim = ObjectRef("v1", "PersistentVolumeClaim", "ns", "data", "u2")
    for _ in range(2):
        journal.object_event(claim, "Normal", "FileSystemResizeSuccessful", "it grew")
    journal.object_event(ObjectRef("v1", "PersistentVolume", "", "pv", "u3"), "Warning", "Other", "no")
    told = [(entry.what, entry.text, entry.count) for entry in journal.of_node()]
    assert told == [
        ("FileSystemResizeSuccessful", "PersistentVolumeClaim ns/data: it grew", 2),
        ("Other", "PersistentVolume pv: no", 1),
    ]


def test_what_is_kept_is_bounded(monkeypatch) -> None:
    monkeypatch.setattr(module, "OF_PODS", module.PER_POD + 5)
    journal = make()
    for number in range(module.PER_POD + 50):
        journal.record("Sync", f"number {number}", pod=WEB)
    assert len(journal.of_pod("u1")) == module.PER_POD
    assert journal.of_pod("u1")[-1].text == f"number {module.PER_POD + 49}"
    for number in range(10):
        journal.record("Added", "x", pod=PodRef("ns", f"p{number}", f"v{number}"))
    # The pod of which nothing was heard for longest goes, whole.
    assert journal.of_pod("u1") == []
    assert [bool(journal.of_pod(f"v{number}")) for number in range(10)] == [True] * 10
    journal.record("Long", "y" * 100_000, cause="z" * 100_000)
    assert len(journal.of_node()[-1].text) == len(journal.of_node()[-1].cause) == module.TEXT_LIMIT


async def test_no_more_is_read_than_is_kept(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "OF_PODS", 4)
    monkeypatch.setattr(module, "OF_NODE", 2)
    file = tmp_path / "journal.jsonl"
    first = make(file)
    await first.start()
    for number in range(20):
        first.record("One", str(number), pod=PodRef("ns", f"p{number}", f"v{number}"))
    await first.stop()
    assert [entry.text for entry in module._load(file)] == ["14", "15", "16", "17", "18", "19"]
    second = make(file)
    await second.start()
    assert [entry.text for number in range(20) for entry in second.of_pod(f"v{number}")] == [
        "16",
        "17",
        "18",
        "19",
    ]
    await second.stop()


async def test_a_restart_keeps_the_story_and_goes_on_after_it(tmp_path) -> None:
    file = tmp_path / "sub" / "journal.jsonl"
    first = make(file)
    await first.start()
    first.record("One", "1", pod=WEB, grace=30, cause="c")
    first.pod_event(WEB, "Warning", "Two", "2")
    first.pod_event(WEB, "Warning", "Two", "2")
    await first.stop()
    assert file.stat().st_mode & 0o777 == 0o600
    second = make(file)
    second.record("Early", "said before the start", pod=WEB)
    second.record("EarlyOfNode", "said before the start")
    await second.start()
    second.record("Three", "3", pod=WEB)
    entries = second.of_pod("u1")
    assert [e.what for e in entries] == ["One", "Two", "Early", "Three"]
    assert entries[0].facts == {"grace": 30}
    assert entries[1].count == 2
    assert len({e.seq for e in entries} | {e.seq for e in second.of_node()}) == 5
    await second.stop()
    third = make(file)
    await third.start()
    assert [e.what for e in third.of_pod("u1")] == ["One", "Two", "Early", "Three"]
    await third.stop()


async def test_torn_and_foreign_lines_are_left_out(tmp_path) -> None:
    file = tmp_path / "journal.jsonl"
    good = {"seq": 3, "time": 1, "kind": "decision", "what": "Kept", "text": "t", "uid": "u1"}
    file.write_bytes(b'{"seq": 1, "ti\n\xff\xfe\n[]\n' + json.dumps(good).encode() + b'\n{"seq": 4, "time"')
    journal = make(file)
    await journal.start()
    assert [e.what for e in journal.of_pod("u1")] == ["Kept"]
    journal.record("New", "n", pod=WEB)
    assert journal.of_pod("u1")[-1].seq == 4
    await journal.stop()


async def test_the_file_is_bounded_and_the_one_before_is_kept(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(module, "FILE_LIMIT", 4000)
    file = tmp_path / "journal.jsonl"
    for turn in range(20):
        journal = make(file)
        await journal.start()
        for number in range(5):
            journal.record("Step", f"{turn}.{number}", pod=WEB)
        await journal.stop()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["journal.jsonl", "journal.jsonl.1"]
    assert all(path.stat().st_size <= 4000 for path in tmp_path.iterdir())
    journal = make(file)
    await journal.start()
    assert journal.of_pod("u1")[-1].text == "19.4"
    assert len(journal.of_pod("u1")) > 20
    await journal.stop()


async def test_a_disk_that_is_full_only_costs_the_file(tmp_path, caplog) -> None:
    file = tmp_path / "journal.jsonl"
    journal = make(file)
    await journal.start()
    file.mkdir()
    journal.record("Said", "s", pod=WEB)
    await journal.stop()
    assert "the journal cannot be written" in caplog.text
    assert journal.of_pod("u1")


def entry(**more) -> Entry:
    return Entry(
        **{"seq": 1, "time": 1_700_000_000_123_456_789, "kind": "decision", "what": "X", "text": "t", **more}
    )


@pytest.mark.parametrize(
    ("of", "lines"),
    [
        (entry(), ["2023-11-14 22:13:20.123   X: t"]),
        (
            entry(container="web", cause="it died", facts={"grace": 3, "none": None}),
            ["2023-11-14 22:13:20.123   X [web]: t", " " * 26 + "because it died (grace=3)"],
        ),
        (
            entry(facts={"a": 1, "b": True}),
            ["2023-11-14 22:13:20.123   X: t", " " * 26 + "because (a=1, b=True)"],
        ),
        (
            entry(
                kind="event",
                type="Warning",
                what="BackOff",
                count=3,
                first=1_700_000_000_123_456_789 - 90 * 10**9,
            ),
            ["2023-11-14 22:13:20.123 ! event BackOff: t (x3 over 1m30s)"],
        ),
    ],
)
def test_entries_are_told_in_words(of, lines) -> None:
    assert tell([of]) == lines


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["x", "y"]), st.booleans()), max_size=60))
def test_counts_add_up_to_what_was_said(said) -> None:
    journal = make()
    for uid, text, event in said:
        pod = PodRef("ns", uid, uid)
        if event:
            journal.pod_event(pod, "Normal", "E", text)
        else:
            journal.record("D", text, pod=pod)
    kept = [e for uid in "abc" for e in journal.of_pod(uid)]
    assert sum(e.count for e in kept) == len(said)
    assert len({e.seq for e in kept}) == len(kept)
