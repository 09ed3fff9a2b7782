"""Allocation and resizer over doubles, for the tests of those who use them and of themselves."""

from pathlib import Path

from pykubelet.base.metrics import Metrics
from pykubelet.pods.resize.allocation import Allocation, AllocationDoors
from pykubelet.pods.resize.checkpoint import ResourceBook
from pykubelet.pods.resize.conditions import ResizeConditions
from pykubelet.pods.resize.judge import ResizeRules
from pykubelet.pods.resize.metrics import ResizeMetrics
from pykubelet.pods.resize.resizer import Resizer, ResizerDoors


class UnwrittenBook(ResourceBook):
    """A book without its file."""

    def __init__(self) -> None:
        super().__init__(Path("/dev/null/unwritten"), "unwritten")

    async def stored(self) -> None:
        pass


class Updater:
    """Remembers what the runtime was told; *failing* holds the errors of containers and ``sandbox``."""

    def __init__(self) -> None:
        self.told: list[tuple[str, dict[str, str], dict[str, str]]] = []
        self.failing: dict[str, Exception] = {}

    async def update_container(self, pod, container, container_id, resources, before) -> None:
        if container.name in self.failing:
            raise self.failing[container.name]
        self.told.append((container_id, texts(resources.limits), texts(resources.requests)))

    async def update_sandbox(self, pod, sandbox_id, limits) -> None:
        if "sandbox" in self.failing:
            raise self.failing["sandbox"]


def texts(amounts) -> dict[str, str]:
    return {name: str(amount) for name, amount in sorted(amounts.items())}


class Resizing:
    """Both, with what they share; *told* takes journal and events."""

    def __init__(
        self,
        clock,
        told,
        cgroups,
        *,
        desired=lambda uid: None,
        active=lambda: [],
        rejection=lambda pod, others: None,
        status=lambda uid: None,
        ready=lambda: True,
        sync=lambda uid, cause: None,
        rules=None,
    ) -> None:
        rules = rules or ResizeRules()
        self.metrics, self.conditions, self.updater = Metrics(), ResizeConditions(), Updater()
        counts = ResizeMetrics(self.metrics)
        self.book, self.recorded = UnwrittenBook(), UnwrittenBook()
        self.completed = 0
        self.allocation = Allocation(
            self.book, self.conditions, rules, clock, told, told, counts,
            AllocationDoors(desired, active, rejection, status, ready, sync),
        )  # fmt: skip
        self.resizer = Resizer(
            self.recorded, self.conditions, rules.gates, clock, told, told, counts,
            ResizerDoors(cgroups, self.updater, self._complete),
        )  # fmt: skip

    def _complete(self) -> None:
        self.completed += 1

    def metric(self, line: str) -> bool:
        """Whether the metrics say so."""
        return line in self.metrics.render().decode().splitlines()
