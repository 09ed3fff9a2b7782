"""The pods that are wanted here: every source of them, and the one place where they are kept."""

from pykubelet.base.tasks import Stage, Stages
from pykubelet.pods.gated import gated
from pykubelet.pods.sources import PodConfig
from pykubelet.pods.sources.adopt import Running
from pykubelet.pods.sources.push import PushSource
from pykubelet.pods.store import PodStore
from pykubelet.wiring.ground import Ground
from pykubelet.wiring.static_sources import StaticSources


class Intake:
    """The store of desired pods and the mux of the sources; a cluster's source joins later."""

    def __init__(self, ground: Ground, node_name: str, running: Running) -> None:
        """*running* tells, once that is known, what runs in the runtime."""
        self.store = PodStore()
        self.sources = PodConfig(
            ground.clock, ground.journal, ground.events, adapt=gated(ground.loaded.gates.enabled)
        )
        self._static = StaticSources(ground, node_name, self.sources, running)

    @property
    def pushed(self) -> PushSource | None:
        """Manifests that are pushed; None where that is not allowed."""
        return self._static.pushed

    def ready(self) -> bool:
        """Whether every source was heard."""
        return self.sources.all_sources_ready()

    # --- the order of starts --------------------------------------------------

    def early_stages(self, stages: Stages) -> None:
        """What must be read before anything can be pushed."""
        stages.add(Stage("pushed manifests", start=self._static.load, stop=self._static.close))

    def last_stages(self, stages: Stages) -> None:
        """What brings static pods, when all is there to take them."""
        stages.add(Stage("sources", start=self._static.start, stop=self._static.stop))
