"""The single reasons for which a pod does not fit a node, with the texts users see."""

from dataclasses import dataclass

from pykubelet.api.admission import Rejection


@dataclass(frozen=True, slots=True)
class Insufficient:
    """Too little of a resource is left; CPU in thousandths."""

    resource: str
    requested: int
    used: int
    capacity: int

    @property
    def lacking(self) -> int:
        """How much would have to be freed."""
        return self.requested - (self.capacity - self.used)

    def rejection(self) -> Rejection:
        """What the pod's status tells."""
        return Rejection(
            f"OutOf{self.resource}",
            f"Node didn't have enough resource: {self.resource}, requested: {self.requested}, "
            f"used: {self.used}, capacity: {self.capacity}",
        )


@dataclass(frozen=True, slots=True)
class Unfit:
    """A rule that no eviction can satisfy; *predicate* is upstream's name of it."""

    predicate: str
    description: str

    def rejection(self) -> Rejection:
        """What the pod's status tells."""
        return Rejection(self.predicate, f"Predicate {self.predicate} failed: {self.description}")


Failure = Insufficient | Unfit
