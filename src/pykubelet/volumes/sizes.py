"""How large the file systems of claims' volumes are known to be, and which of them are to grow. No I/O."""

from collections.abc import Collection
from typing import Final

from pykubelet.api.quantity import Quantity

from .spec import VolumeSpec
from .state import Wanted

_STORAGE: Final = "storage"


def capacity(spec: VolumeSpec) -> Quantity:
    """The persistent volume's size; zero when none is told."""
    return Quantity.zero() if spec.pv is None else spec.pv.spec.capacity.get(_STORAGE, Quantity.zero())


def claimed(spec: VolumeSpec) -> Quantity:
    """The size that the claim's status tells; zero when none is."""
    return (
        Quantity.zero() if spec.claim is None else spec.claim.status.capacity.get(_STORAGE, Quantity.zero())
    )


def outgrown(wanted: Wanted) -> bool:
    """Whether the volume is larger than its claim says, as when it grew while no pod had it."""
    resolved = wanted.resolved
    if resolved is None or not resolved.expandable or resolved.spec.pv is None:
        return False
    return claimed(resolved.spec) < capacity(resolved.spec)


class Sizes:
    """By the volumes' unique names."""

    def __init__(self) -> None:
        self._sizes: dict[str, Quantity] = {}
        self._in_use: set[str] = set()
        self._judged: dict[str, VolumeSpec] = {}

    def learn(self, name: str, spec: VolumeSpec) -> None:
        """What the claim says, unless more is known."""
        size = claimed(spec)
        if size > Quantity.zero():
            self._sizes.setdefault(name, size)

    def grew(self, name: str, size: Quantity) -> None:
        """The file system has *size* now."""
        self._sizes[name] = size

    def in_use(self, name: str) -> None:
        """It does not grow while it is in use: not again before nothing of it is there."""
        self._in_use.add(name)

    def judged(self, name: str, spec: VolumeSpec) -> None:
        """It is not this node's turn, by *spec*."""
        self._judged[name] = spec

    def grows(self, wanted: Wanted) -> bool:
        """Whether the mounted volume's file system is to be told of its size."""
        resolved, name = wanted.resolved, wanted.unique_name
        if resolved is None or not resolved.expandable or resolved.spec.pv is None or resolved.spec.read_only:
            return False
        if name in self._in_use or self._judged.get(name) is resolved.spec:
            return False
        known = self._sizes.get(name)
        return known is not None and known < capacity(resolved.spec)

    def keep(self, names: Collection[str]) -> None:
        """Forget all others."""
        for name in {*self._sizes, *self._judged} - set(names):
            self._sizes.pop(name, None)
            self._judged.pop(name, None)
        self._in_use &= set(names)
