"""What a probe finds, and where its handlers get at containers."""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from pykubelet.cri.types import ExecResult

#: The three kinds of probes, in upstream's order.
ProbeKind = Literal["startup", "liveness", "readiness"]


class Found(enum.Enum):
    """What one attempt found."""

    SUCCESS = "success"
    #: Success with a remark.
    WARNING = "warning"
    FAILURE = "failure"


@dataclass(frozen=True, slots=True)
class Finding:
    """One attempt's result and output (bounded)."""

    found: Found
    output: str = ""


class ProbeError(Exception):
    """The attempt itself went wrong; nothing is known of the container.

    *state* is what the event says it resulted in, as upstream has it.
    """

    def __init__(self, text: str, state: str = "unknown") -> None:
        super().__init__(text)
        self.state = state


class ExecRunner(Protocol):
    """Runs a command in a container and waits."""

    async def exec_sync(self, container_id: str, command: Sequence[str], timeout: float = 0) -> ExecResult:
        """Run it at most *timeout* seconds."""
        ...
