"""Which of a node's taints a pod does not tolerate. Pure."""

from collections.abc import Iterable, Sequence

from pykubelet.api.core import Toleration

from .node import Taint


def tolerates(toleration: Toleration, taint: Taint) -> bool:
    """Whether *toleration* covers *taint*; empty effect and key cover all."""
    if toleration.effect and toleration.effect != taint.effect:
        return False
    if toleration.key and toleration.key != taint.key:
        return False
    if toleration.operator in {"", "Equal"}:
        return toleration.value == taint.value
    return toleration.operator == "Exists"


def untolerated(taints: Iterable[Taint], tolerations: Sequence[Toleration], effect: str) -> Taint | None:
    """The first taint of that *effect* that nothing tolerates."""
    for taint in taints:
        if taint.effect == effect and not any(tolerates(each, taint) for each in tolerations):
            return taint
    return None
