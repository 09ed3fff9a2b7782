"""Which pod's user namespace has which range of host IDs, and the file that says so. Pure.

The node's IDs are cut into slots of equal length; a pod gets one slot, for users and groups
alike. The rules, the texts and the form of the file ``pods/UID/userns`` are upstream's.
"""

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from pykubelet.base.gotext import go_json

#: IDs that a range has at the least; every range has a multiple of it.
UNIT: Final = 1 << 16
_ALL: Final = 1 << 32


@dataclass(frozen=True, slots=True)
class IdSpace:
    """The node's IDs for pods: *slots* ranges of *length* IDs each, from *first* on."""

    first: int
    length: int
    slots: int

    def slot_of(self, first: int) -> int | None:
        """The slot that begins with the host ID *first*; None if none does."""
        slot, rest = divmod(first - self.first, self.length)
        return slot if not rest and 0 <= slot < self.slots else None

    def first_of(self, slot: int) -> int:
        """The first host ID of the slot."""
        return self.first + slot * self.length


def id_space(configured: tuple[int, int] | None, per_pod: int, max_pods: int) -> IdSpace:
    """The node's IDs for pods that get *per_pod* each.

    *configured* is the first ID and the number of IDs that the machine's administrator set
    apart for the kubelet; None for all of them, but for the first *per_pod*.

    :raises ValueError: these cannot serve *max_pods* pods; upstream's text.
    """
    first, total = configured or (per_pod, _ALL - per_pod)
    if per_pod % UNIT:
        raise ValueError(f"kubelet user namespace length {per_pod} is not a multiple of {UNIT}")
    if first % per_pod:
        raise ValueError(f"kubelet user assigned ID {first} is not a multiple of {per_pod}")
    if first < per_pod:
        # The host's root must never be in a pod's range.
        raise ValueError(f"kubelet user assigned ID {first} must be greater or equal to {per_pod}")
    if total % per_pod:
        raise ValueError(f"kubelet user assigned IDs length {total} is not a multiple of {per_pod}")
    if total // per_pod < max_pods:
        raise ValueError(f"kubelet user assigned IDs are not enough to support {max_pods} pods")
    # Beyond 2³² there are no IDs, whatever was configured.
    return IdSpace(first, per_pod, min(total, _ALL - first) // per_pod)


def parse_subids(text: str) -> tuple[int, int]:
    """First ID and number of IDs, as ``getsubids`` prints the one range of a user.

    :raises ValueError: it is not one line of four words with 32-bit numbers.
    """
    lines = text.strip("\n").split("\n")
    if len(lines) != 1:
        raise ValueError(f'error parsing line "{text}": it must contain only one line')
    words = lines[0].split()
    if len(words) != 4:
        raise ValueError(f'invalid line "{text}"')
    numbers = [int(word) if word.isascii() and word.isdecimal() else _ALL for word in words[2:]]
    if max(numbers) >= _ALL:
        raise ValueError(f'error parsing line "{text}": its numbers must be below {_ALL}')
    return numbers[0], numbers[1]


def mapping_file(first: int, length: int) -> bytes:
    """The file for a pod that has *length* host IDs from *first* on."""
    mapping = [{"hostId": first, "containerId": 0, "length": length}]
    return go_json({"uidMappings": mapping, "gidMappings": mapping}).encode()


def parse_mapping_file(data: bytes) -> tuple[int, int]:
    """First host ID and number of IDs that such a file states.

    :raises ValueError: a kubelet did not write it; upstream's text.
    """
    try:
        document = msgspec.json.decode(data)
        uids, gids = (_mappings(document, name) for name in ("uidMappings", "gidMappings"))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"invalid user namespace mappings file: {error}") from error
    wrong = "invalid user namespace configuration:"
    if len(uids) != 1:
        raise ValueError(f"{wrong} no more than one mapping allowed.")
    if len(gids) != 1:
        raise ValueError(f"{wrong} GID and UID mappings should be identical.")
    if uids != gids:
        raise ValueError(f"{wrong} GID and UID mapping should be identical")
    first, inside, length = uids[0]
    if inside:
        raise ValueError(f"{wrong} UID 0 must be mapped")
    return first, length


def _mappings(document: Any, name: str) -> list[tuple[int, int, int]]:
    found = [
        (each.get("hostId", 0), each.get("containerId", 0), each.get("length", 0))
        for each in document.get(name) or []
    ]
    for number in (number for mapping in found for number in mapping):
        if type(number) is not int or not 0 <= number < _ALL:
            raise ValueError(f"{name}: {number!r} is not an ID")
    return found


class IdRanges:
    """Who has which slot."""

    def __init__(self, space: IdSpace) -> None:
        self.space = space
        self._slots: dict[str, int] = {}
        self._taken: set[int] = set()

    @property
    def pods(self) -> frozenset[str]:
        """UIDs of the pods that have a slot."""
        return frozenset(self._slots)

    def take(self, uid: str, start: int) -> tuple[int, int]:
        """The pod's range, or a free one, looked for from slot *start* on and around; first ID and length.

        :raises ValueError: none is free; upstream's text.
        """
        if uid in self._slots:
            return self.space.first_of(self._slots[uid]), self.space.length
        slots = self.space.slots
        for step in range(min(slots, len(self._taken) + 1)):
            slot = (start + step) % slots
            if slot not in self._taken:
                self._slots[uid] = slot
                self._taken.add(slot)
                return self.space.first_of(slot), self.space.length
        raise ValueError("could not find an empty slot to allocate a user namespace")

    def record(self, uid: str, first: int, length: int) -> None:
        """The pod has that range already.

        :raises ValueError: it cannot have it; upstream's text.
        """
        if length != self.space.length:
            raise ValueError(f"wrong user namespace length {length}")
        if first % length:
            raise ValueError(f"wrong user namespace offset specified {first}")
        slot, known = self.space.slot_of(first), self._slots.get(uid)
        if known is not None and known != slot:
            raise ValueError(f'different user namespace range already used by pod "{uid}"')
        if slot is None:
            raise ValueError(f"id {first} is out of range")
        if known is None:
            if slot in self._taken:
                raise ValueError(f'range picked for pod "{uid}" already taken')
            self._slots[uid] = slot
            self._taken.add(slot)

    def release(self, uid: str) -> None:
        """The pod has no range any more; one that had none is fine."""
        slot = self._slots.pop(uid, None)
        if slot is not None:
            self._taken.discard(slot)
