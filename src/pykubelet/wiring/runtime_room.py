"""The container runtime: the way to it, whether it is well, and what is seen of its pods."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from pykubelet.base.tasks import Stage, Stages
from pykubelet.containers.termination_message import enrich
from pykubelet.cri.client import CriClient
from pykubelet.cri.containerd_content import ContainerdContent
from pykubelet.cri.dockerd import CriDockerd, Way
from pykubelet.cri.door import Runtime
from pykubelet.cri.types import RuntimeStatus
from pykubelet.observe.changes import PodChange
from pykubelet.observe.health import RuntimeHealth
from pykubelet.observe.observer import Observer
from pykubelet.wiring.ground import Ground
from pykubelet.wiring.runtime_view import RuntimeView


@dataclass(frozen=True, slots=True)
class RuntimeDoors:
    """Who hears of the runtime."""

    #: The first good status, once.
    on_first_good: Callable[[RuntimeStatus], Awaitable[None]]
    #: It answers again.
    on_recovered: Callable[[], None]
    #: A pod is not as it was.
    on_change: Callable[[PodChange], None]


class RuntimeRoom:
    """One runtime, its health and the observer of its pods."""

    def __init__(
        self, ground: Ground, doors: RuntimeDoors, given: Runtime | None, docker: Way | None
    ) -> None:
        """*given* stands for the real runtime; *docker* is a cri-dockerd that lives as long as the node."""
        config, clock, metrics = ground.loaded.config, ground.clock, ground.metrics
        images = config.imageServiceEndpoint or config.containerRuntimeEndpoint
        self._metrics = metrics
        self._docker = None if docker is None else CriDockerd(docker, ground.journal)
        #: How far pulls have come; None for a runtime that is given.
        self.content = None if given is not None else ContainerdContent(images)
        self.runtime: Runtime = given or CriClient(
            config.containerRuntimeEndpoint,
            images,
            request_timeout=config.runtimeRequestTimeout.seconds,
            clock=clock,
            metrics=metrics,
        )
        self.health = RuntimeHealth(
            self.runtime, clock, on_first_good=doors.on_first_good, on_recovered=doors.on_recovered
        )
        self.observer = Observer(
            self.runtime, clock, on_change=doors.on_change, enrich=enrich, count_missed=self._count_missed
        )
        self.view = RuntimeView(self.runtime, self.health, self.observer, ground.journal)

    def _count_missed(self, kind: str) -> None:
        self._metrics.counter(
            "pykubelet_relist_missed_events_total", "Changes that only a relist found.", ["kind"]
        ).labels(kind).inc()

    # --- the order of starts --------------------------------------------------

    def docker_stages(self, stages: Stages) -> None:
        """What must be there before the runtime can be spoken to."""
        if self._docker is not None:
            stages.add(Stage("cri-dockerd", start=self._docker.start, stop=self._docker.stop))

    def client_stages(self, stages: Stages) -> None:
        """What is closed when nobody speaks to the runtime any more."""
        stages.add(Stage("runtime client", clean_up=self.runtime.close))
        if self.content is not None:
            stages.add(Stage("content store", clean_up=self.content.close))

    def watching_stages(self, stages: Stages) -> None:
        """What looks at it as long as the daemon runs."""
        stages.add(Stage("runtime health", start=self.health.start, stop=self.health.stop))
        stages.add(Stage("observer", start=self.observer.start, stop=self.observer.stop))
