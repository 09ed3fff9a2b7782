"""What is told of a pod's volumes to those who ask why it waits. Pure."""

from dataclasses import dataclass
from typing import Literal

StoryState = Literal[
    "mounted",
    "waiting",
    "resolving",
    "attaching",
    "staging",
    "mounting",
    "unmounting",
    "left over",
    "impossible",
]


@dataclass(frozen=True, slots=True)
class VolumeStory:
    """Where one volume stands. Durations are seconds, counted from the moment of the question."""

    volume: str
    #: The plug-in's name; empty where none takes the volume, or it is not known yet which does.
    plugin: str
    state: StoryState
    #: How long it has been in that state.
    since: float = 0.0
    #: Failures in a row; of a volume that is *mounted*: to renew it.
    failures: int = 0
    #: What went wrong last.
    error: str = ""
    #: In how many seconds it is tried again; None when nothing is planned.
    next_try: float | None = None
    #: The claim (``NAMESPACE/NAME``) and the persistent volume behind it; empty where there is none.
    claim: str = ""
    persistent_volume: str = ""
    #: What it waits for, if not for the next try.
    waits_for: str = ""
    #: The kind of order that failed; empty when none did.
    step: str = ""
    #: Its name on this node, as upstream's: for CSI it tells the driver; empty where it has no device.
    device: str = ""
