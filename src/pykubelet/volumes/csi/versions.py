"""Which version of CSI a driver is taken for; pure."""

import re
from collections.abc import Iterable

from pykubelet.base.gotext import go_list, go_quote

#: The numbers of a version, compared from the left.
Version = tuple[int, ...]

_NUMBERS = re.compile(r"\s*v?([0-9]+(?:\.[0-9]+)*)")


def parse(text: str) -> Version:
    """``1.2`` or ``v1.2.3`` as numbers; what follows the numbers is not looked at.

    :raises ValueError: not a version.
    """
    found = _NUMBERS.match(text)
    if found is None:
        raise ValueError(f"could not parse {go_quote(text)} as version")
    parts = found[1].split(".")
    if len(parts) < 2:
        raise ValueError(f"illegal version string {go_quote(text)}")
    if parts[0].startswith("0") and parts[0] != "0":
        raise ValueError(f"illegal zero-prefixed version component {go_quote(parts[0])} in {go_quote(text)}")
    if any(len(part) > 20 or int(part) >= 1 << 64 for part in parts):
        raise ValueError(f"illegal non-numeric version component in {go_quote(text)}")
    return tuple(int(part) for part in parts)


def less(one: Version, other: Version) -> bool:
    """Whether *one* is lower; missing numbers are zero."""
    width = max(len(one), len(other))
    return one + (0,) * (width - len(one)) < other + (0,) * (width - len(other))


def told(version: Version) -> str:
    """A version as text."""
    return ".".join(map(str, version))


def highest_supported(versions: Iterable[str]) -> Version:
    """The highest 1.x of *versions*; those above and those that cannot be read do not count.

    :raises ValueError: there is none.
    """
    offered = list(versions)
    best: Version | None = None
    wrong = "<nil>"
    for text in reversed(offered):
        try:
            version = parse(text)
        except ValueError as error:
            wrong = str(error)
            continue
        if version[0] <= 1 and (best is None or less(best, version)):
            best = version
    if best is None:
        raise ValueError(
            f"could not find a highest supported version from versions ({go_list(offered)}) reported: {wrong}"
        )
    if best[0] != 1:
        raise ValueError(f"highest supported version reported is {told(best)}, must be v1.x")
    return best
