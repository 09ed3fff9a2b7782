"""What every part of the composition stands on."""

import random
from dataclasses import dataclass

from pykubelet.base.clock import Clock
from pykubelet.base.journal import Events
from pykubelet.base.layout import Layout
from pykubelet.base.metrics import Metrics
from pykubelet.config import Loaded
from pykubelet.explain.journal import DecisionJournal
from pykubelet.node.host import Host


@dataclass(frozen=True, slots=True)
class Ground:
    """The node's configuration, machine, paths, time and chance, and where it tells what it does."""

    loaded: Loaded
    host: Host
    layout: Layout
    clock: Clock
    rng: random.Random
    journal: DecisionJournal
    #: To the journal, and to the cluster if there is one.
    events: Events
    metrics: Metrics
