"""What is in ``allocated_pods_state`` and ``actuated_pods_state``, byte for byte as upstream writes it.

A burst of pods writes the file once or twice for each of them: what is written again is kept as text.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice, takewhile
from typing import Any, Final

from pykubelet.api import codec
from pykubelet.api.core import ResourceRequirements
from pykubelet.base.fnv import fnv1a
from pykubelet.base.gotext import go_json

from .amounts import PodAmounts

Entries = Mapping[str, PodAmounts]

#: What the data begins and ends with if there are entries.
_BEGIN: Final = '{"entries":{'
_END: Final = "}}"


class UnreadableState(ValueError):
    """The file is not what a kubelet wrote; upstream's would refuse to start with it."""


def decode_state(data: bytes) -> dict[str, PodAmounts]:
    """The entries of the file, by pod UID.

    :raises UnreadableState: its checksum or its form is wrong.
    """
    try:
        document = json.loads(data)
        text, checksum = document["data"], document["checksum"]
        entries = json.loads(text).get("entries") or {}
        read = {str(uid): _amounts(entry) for uid, entry in entries.items()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UnreadableState(f"{type(error).__name__}: {error}") from error
    if checksum != state_checksum(text):
        raise UnreadableState("its checksum is wrong")
    return read


def _amounts(entry: dict[str, Any]) -> PodAmounts:
    containers = entry.get("ContainerResources") or {}
    whole = entry.get("PodLevelResources")
    return PodAmounts(
        {str(name): codec.convert(each, ResourceRequirements) for name, each in containers.items()},
        None if whole is None else codec.convert(whole, ResourceRequirements),
    )


def state_checksum(text: str) -> int:
    """What upstream writes beside the data *text*."""
    return _sum(text)


def _sum(text: str, before: int | None = None) -> int:
    """The checksum of *text* that comes after what has the checksum *before*."""
    # Upstream's takes the data as Go prints it, with its type.
    return fnv1a((f"(string){text}" if before is None else text).encode(), 32, before)


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """What the data has of one pod."""

    amounts: PodAmounts
    text: str
    #: The same inside of the file, where the data is a string.
    quoted: str


def _part(uid: str, amounts: PodAmounts) -> _Part:
    plain = {
        "ContainerResources": {name: _plain(amounts.containers[name]) for name in sorted(amounts.containers)},
        "PodLevelResources": None if amounts.whole is None else _plain(amounts.whole),
    }
    text = f"{go_json(uid)}:{go_json(plain)}"
    return _Part(amounts, text, _quoted(text))


def _plain(resources: ResourceRequirements) -> Any:
    return json.loads(codec.encode(resources, sort=True))


def _quoted(text: str) -> str:
    return go_json(text)[1:-1]


class StateEncoder:
    """Makes the file of one set of entries after the other, at the cost of what changed.

    An entry that is the same object as before is taken for unchanged.
    """

    def __init__(self) -> None:
        #: By pod UID, in the order of the data.
        self._parts: dict[str, _Part] = {}
        #: The checksums of the data up to each part's end.
        self._sums: list[int] = []

    def encode(self, entries: Entries) -> bytes:
        """The file that holds *entries*."""
        if not entries:
            return _file("{}", state_checksum("{}"))
        parts = {uid: self._part(uid, entries[uid]) for uid in sorted(entries)}
        pairs = zip(self._parts.values(), parts.values(), strict=False)
        same = sum(1 for _ in takewhile(lambda pair: pair[0] is pair[1], pairs))
        self._parts = parts
        del self._sums[same:]
        for part in islice(parts.values(), same, None):
            text = f",{part.text}" if self._sums else f"{_BEGIN}{part.text}"
            self._sums.append(_sum(text, self._sums[-1] if self._sums else None))
        data = ",".join(part.quoted for part in parts.values())
        return _file(f"{_quoted(_BEGIN)}{data}{_END}", _sum(_END, self._sums[-1]))

    def _part(self, uid: str, amounts: PodAmounts) -> _Part:
        known = self._parts.get(uid)
        return known if known is not None and known.amounts is amounts else _part(uid, amounts)


def _file(quoted: str, checksum: int) -> bytes:
    return f'{{"data":"{quoted}","checksum":{checksum}}}'.encode()
