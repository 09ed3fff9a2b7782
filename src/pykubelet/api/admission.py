"""The answer of whoever judges whether a pod may run here."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why a pod is not admitted: upstream's reason and message."""

    reason: str
    message: str
