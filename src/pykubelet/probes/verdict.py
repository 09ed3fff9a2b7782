"""From attempts to verdicts: thresholds and holds of one probe, purely."""

from dataclasses import dataclass, replace

from pykubelet.api.core import Probe

from .types import ProbeKind

#: What each kind counts as before it was ever tried on a container.
INITIAL: dict[ProbeKind, bool | None] = {"startup": None, "liveness": True, "readiness": False}


@dataclass(frozen=True, slots=True)
class ProbeMemory:
    """What a probe remembers of the container that it looks at."""

    container_id: str = ""
    #: The last attempt's result, and how often in a row it came.
    last: bool | None = None
    run: int = 0
    #: No more attempts until another container takes this one's place.
    held: bool = False


@dataclass(frozen=True, slots=True)
class Judgement:
    """What an attempt leads to; *verdict* is None while the threshold is not reached."""

    memory: ProbeMemory
    verdict: bool | None


def judge(memory: ProbeMemory, probe: Probe, kind: ProbeKind, success: bool) -> Judgement:
    """Count an attempt; a verdict needs as many equal results in a row as its threshold says."""
    run = memory.run + 1 if memory.last is success else 1
    memory = replace(memory, last=success, run=run)
    threshold = probe.successThreshold if success else probe.failureThreshold
    if run < max(threshold, 1):
        return Judgement(memory, None)
    if kind == "startup" or (kind == "liveness" and not success):
        # The verdict is acted upon: this container is over, or its startup is.
        memory = replace(memory, held=True, run=0)
    return Judgement(memory, success)
