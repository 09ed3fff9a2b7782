"""The doors through which every room says what it decided and why.

``Journal`` takes decisions with their causes; ``Events`` takes what upstream posts
as Kubernetes events. Both only append: they never block and never raise.
"""

from dataclasses import dataclass
from typing import Literal, Protocol

Fact = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class PodRef:
    """What names a pod."""

    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        """``NAME_NAMESPACE(UID)``, upstream's form of a pod in messages."""
        return f"{self.name}_{self.namespace}({self.uid})"


@dataclass(frozen=True, slots=True)
class ObjectRef:
    """What names an object of the cluster that is neither a pod nor this node."""

    api_version: str
    kind: str
    namespace: str
    name: str
    uid: str
    resource_version: str = ""

    def __str__(self) -> str:
        """``KIND NAMESPACE/NAME``; without the namespace where there is none."""
        place = f"{self.namespace}/" if self.namespace else ""
        return f"{self.kind} {place}{self.name}"


class Journal(Protocol):
    """Takes decisions."""

    def record(
        self,
        decision: str,
        text: str,
        *,
        pod: PodRef | None = None,
        container: str = "",
        cause: str = "",
        **facts: Fact,
    ) -> None:
        """Keep that *decision* (CamelCase, e.g. ``ContainerRestart``) was taken.

        *text* tells it in words, *cause* the observed fact that led to it, *facts*
        the inputs that it was computed from.
        """
        ...


class Events(Protocol):
    """Takes Kubernetes events."""

    def pod_event(
        self,
        pod: PodRef,
        kind: Literal["Normal", "Warning"],
        reason: str,
        message: str,
        *,
        field_path: str = "",
    ) -> None:
        """An event about a pod; *field_path* names a container (``spec.containers{NAME}``)."""
        ...

    def node_event(self, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """An event about this node."""
        ...

    def object_event(
        self, about: ObjectRef, kind: Literal["Normal", "Warning"], reason: str, message: str
    ) -> None:
        """An event about another object, a pod's claim say."""
        ...


class FanOut:
    """Hands each event to several takers, in order; implements ``Events``."""

    def __init__(self, *takers: Events) -> None:
        self._takers = takers

    def pod_event(
        self,
        pod: PodRef,
        kind: Literal["Normal", "Warning"],
        reason: str,
        message: str,
        *,
        field_path: str = "",
    ) -> None:
        """See :class:`Events`."""
        for taker in self._takers:
            taker.pod_event(pod, kind, reason, message, field_path=field_path)

    def node_event(self, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """See :class:`Events`."""
        for taker in self._takers:
            taker.node_event(kind, reason, message)

    def object_event(
        self, about: ObjectRef, kind: Literal["Normal", "Warning"], reason: str, message: str
    ) -> None:
        """See :class:`Events`."""
        for taker in self._takers:
            taker.object_event(about, kind, reason, message)


class NullJournal:
    """Forgets everything; for parts that are tested without their story."""

    def record(
        self,
        decision: str,
        text: str,
        *,
        pod: PodRef | None = None,
        container: str = "",
        cause: str = "",
        **facts: Fact,
    ) -> None:
        """See :class:`Journal`."""

    def pod_event(
        self,
        pod: PodRef,
        kind: Literal["Normal", "Warning"],
        reason: str,
        message: str,
        *,
        field_path: str = "",
    ) -> None:
        """See :class:`Events`."""

    def node_event(self, kind: Literal["Normal", "Warning"], reason: str, message: str) -> None:
        """See :class:`Events`."""

    def object_event(
        self, about: ObjectRef, kind: Literal["Normal", "Warning"], reason: str, message: str
    ) -> None:
        """See :class:`Events`."""
