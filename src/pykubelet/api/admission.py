"""The answer of whoever judges whether a pod may run here."""

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a pod is not admitted: upstream's reason and message."""

    reason: str
    message: str
    #: Nothing but the node's labels, as far as they are known, speaks against the pod.
    by_labels: bool = field(default=False, compare=False)
