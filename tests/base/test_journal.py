"""Events that several takers get."""

from typing import Any

from pykubelet.base.journal import FanOut, NullJournal, ObjectRef, PodRef


class Taker(NullJournal):
    def __init__(self, name: str, told: list[tuple[Any, ...]]) -> None:
        self.name = name
        self.told = told

    def pod_event(self, pod: PodRef, kind: str, reason: str, message: str, *, field_path: str = "") -> None:
        self.told.append((self.name, pod, kind, reason, message, field_path))

    def node_event(self, kind: str, reason: str, message: str) -> None:
        self.told.append((self.name, kind, reason, message))

    def object_event(self, about: ObjectRef, kind: str, reason: str, message: str) -> None:
        self.told.append((self.name, about, kind, reason, message))


def test_each_taker_gets_each_event_in_order() -> None:
    told: list[tuple[Any, ...]] = []
    pod = PodRef("ns", "web", "u")
    events = FanOut(Taker("story", told), Taker("server", told))
    events.pod_event(pod, "Warning", "BackOff", "again", field_path="spec.containers{c}")
    events.node_event("Normal", "Starting", "Starting kubelet.")
    claim = ObjectRef("v1", "PersistentVolumeClaim", "ns", "data", "u2")
    events.object_event(claim, "Normal", "FileSystemResizeSuccessful", "it grew")
    assert told == [
        ("story", pod, "Warning", "BackOff", "again", "spec.containers{c}"),
        ("server", pod, "Warning", "BackOff", "again", "spec.containers{c}"),
        ("story", "Normal", "Starting", "Starting kubelet."),
        ("server", "Normal", "Starting", "Starting kubelet."),
        ("story", claim, "Normal", "FileSystemResizeSuccessful", "it grew"),
        ("server", claim, "Normal", "FileSystemResizeSuccessful", "it grew"),
    ]
