"""What orders run, and what failed and waits. No I/O."""

from collections.abc import Callable, Iterable
from dataclasses import replace

from .orders import Kind, Order, Setback, Target, set_back


class Flight:
    """The core's memory of flight, and the waits of the back-off."""

    def __init__(self) -> None:
        self.running: dict[Target, Order] = {}
        self.setbacks: dict[tuple[Target, Kind], Setback] = {}

    def begin(self, order: Order) -> None:
        """The order runs."""
        self.running[order.target] = order

    def end(self, order: Order) -> None:
        """It runs no more."""
        self.running.pop(order.target, None)

    def attempt(self, order: Order) -> int:
        """Which try at the same operation this is, from 1."""
        setback = self.setbacks.get((order.slot, order.kind))
        return setback.failures + 1 if setback is not None else 1

    def failed(self, order: Order, error: str, now: float) -> Setback:
        """The order failed; the wait that follows."""
        at = (order.slot, order.kind)
        setback = self.setbacks[at] = set_back(self.setbacks.get(at), error, now)
        return setback

    def succeeded(self, order: Order) -> None:
        """The order was carried out: of a mount that was refused before, too."""
        self.setbacks.pop((order.slot, order.kind), None)
        self.setbacks.pop((order.target, order.kind), None)

    def clear(self, target: Target) -> None:
        """Nothing that failed for it matters any more."""
        for at in [at for at in self.setbacks if at[0] == target]:
            del self.setbacks[at]

    def retry(self, targets: Iterable[Target], kinds: Iterable[Kind], now: float) -> None:
        """What failed may go well now."""
        for target in targets:
            for kind in kinds:
                setback = self.setbacks.get((target, kind))
                if setback is not None:
                    self.setbacks[target, kind] = replace(setback, not_before=min(now, setback.not_before))

    def prune(self, concerns: Callable[[Target], bool]) -> None:
        """Forget what failed for what nobody is concerned with."""
        for at in [at for at in self.setbacks if not concerns(at[0])]:
            del self.setbacks[at]
