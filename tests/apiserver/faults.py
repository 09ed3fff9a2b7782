"""Ways for the double to fail, switched on and off while it runs."""

import asyncio
import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase


@dataclass(frozen=True, slots=True)
class Hang:
    """The request is taken and never answered, as long as the fault is there."""


@dataclass(frozen=True, slots=True)
class Slow:
    """The answer comes late."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Refuse:
    """The request is answered with a Status of this code; ``retry_after`` in seconds."""

    code: int
    retry_after: int = 0
    reason: str = ""
    message: str = "refused by a fault"


@dataclass(frozen=True, slots=True)
class Malformed:
    """The answer, or the next event of a watch, is no JSON."""


@dataclass(frozen=True, slots=True)
class Cut:
    """The connection is cut: half-way in the answer, or in a watch's next event."""


@dataclass(frozen=True, slots=True)
class HalfOpen:
    """A watch falls silent: nothing more comes, and the connection stays."""


@dataclass(frozen=True, slots=True)
class Expire:
    """A watch is told 410: as its HTTP answer, or as an ERROR event."""

    as_event: bool = True


Fault = Hang | Slow | Refuse | Malformed | Cut | HalfOpen | Expire

#: The faults that strike in a running watch too.
IN_STREAM = (Malformed, Cut, HalfOpen, Expire)


@dataclass(eq=False)
class Switch:
    """One fault that is on: for which requests, and how often yet."""

    fault: Fault
    #: A path with ``*``.
    path: str
    #: Any of the API's verbs (get, list, watch, create, update, patch, delete).
    verbs: frozenset[str]
    #: Strikes left; None for no end.
    times: int | None
    #: Strikes only every so many matching requests (flapping).
    every: int
    hits: int = 0
    off: asyncio.Event = field(default_factory=asyncio.Event)
    _seen: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def strikes(self, verb: str, path: str) -> bool:
        """Whether it strikes now; counts."""
        if self.off.is_set() or (self.verbs and verb not in self.verbs) or not fnmatchcase(path, self.path):
            return False
        if next(self._seen) % self.every:
            return False
        self.hits += 1
        if self.times is not None:
            self.times -= 1
            if self.times <= 0:
                self.off.set()
        return True


class Faults:
    """The faults that are on."""

    def __init__(self) -> None:
        self._switches: list[Switch] = []

    def add(
        self, fault: Fault, *, path: str = "*", verb: str = "", times: int | None = None, every: int = 1
    ) -> Switch:
        """Switch *fault* on for requests whose path matches and whose verb is one of *verb* (blank: any)."""
        switch = Switch(fault, path, frozenset(verb.split()), times, every)
        self._switches.append(switch)
        return switch

    @staticmethod
    def remove(switch: Switch) -> None:
        """Switch it off; who hangs in it is answered."""
        switch.off.set()

    def clear(self) -> None:
        """Switch all off."""
        for switch in self._switches:
            switch.off.set()
        self._switches.clear()

    @contextmanager
    def during(self, fault: Fault, *, path: str = "*", verb: str = "", every: int = 1) -> Iterator[Switch]:
        """*fault* within a ``with``."""
        switch = self.add(fault, path=path, verb=verb, every=every)
        try:
            yield switch
        finally:
            self.remove(switch)

    def strike(self, verb: str, path: str, kinds: tuple[type[Fault], ...]) -> Switch | None:
        """The first fault of *kinds* that strikes this request."""
        self._switches = [switch for switch in self._switches if not switch.off.is_set()]
        for switch in self._switches:
            if isinstance(switch.fault, kinds) and switch.strikes(verb, path):
                return switch
        return None
