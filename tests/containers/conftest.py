"""What tests of this room share: a node, volumes and events that remember."""

from dataclasses import dataclass, field

import pytest

from pykubelet.api.core import Container, Pod, PodSpec
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.quantity import Quantity
from pykubelet.base.layout import Layout
from pykubelet.cri.types import RuntimeHandler


@dataclass
class Told:
    """Events and decisions, in order."""

    events: list[tuple[str, str, str, str]] = field(default_factory=list)
    decisions: list[str] = field(default_factory=list)
    texts: list[str] = field(default_factory=list)

    def pod_event(self, pod, kind, reason, message, *, field_path=""):
        self.events.append((kind, reason, message, field_path))

    def node_event(self, kind, reason, message):
        self.events.append((kind, reason, message, "node"))

    def record(self, decision, text, **facts):
        self.decisions.append(decision)
        self.texts.append(text)

    @property
    def reasons(self):
        return [event[1] for event in self.events]


@dataclass
class Volumes:
    """Volumes that are simply there."""

    there: dict = field(default_factory=dict)

    def mounted(self, pod_uid):
        return self.there

    async def prepare_subpath(self, pod_uid, volume, container, index, subpath):
        return f"{volume.host_path}/{subpath}"


@dataclass
class Node:
    """A node's facts."""

    name: str = "node"
    host_ips: tuple = ("192.0.2.1",)
    allocatable: dict = field(
        default_factory=lambda: {"cpu": Quantity.parse("4"), "memory": Quantity.parse("8Gi")}
    )
    memory_capacity: int = 8 << 30
    swap_capacity: int = 0
    huge_page_sizes: tuple = ("2MB",)
    handlers: dict = field(default_factory=dict)

    def runtime_handler(self, name) -> RuntimeHandler | None:
        return self.handlers.get(name)


@pytest.fixture
def told():
    return Told()


@pytest.fixture
def volumes():
    return Volumes()


@pytest.fixture
def node():
    return Node()


@pytest.fixture
def layout(tmp_path):
    return Layout(
        root=tmp_path / "root", pod_logs=tmp_path / "pods", container_log_links=tmp_path / "containers"
    )


@pytest.fixture
def make_pod():
    def make(*containers, annotations=None, labels=None, **spec):
        spec.setdefault("enableServiceLinks", True)
        spec.setdefault("dnsPolicy", "Default")
        return Pod(
            metadata=ObjectMeta(
                name="web", namespace="ns", uid="uid-1", annotations=annotations or {}, labels=labels or {}
            ),
            spec=PodSpec(containers=list(containers) or [Container(name="app", image="img")], **spec),
        )

    return make
