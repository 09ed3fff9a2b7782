"""Which dead containers of a pod are removed."""

from pykubelet.cri.types import ContainerState, ContainerStatus
from pykubelet.observe.types import ObservedPod


def removable(
    observed: ObservedPod, *, keep: int = 1, remove_all: bool = False
) -> tuple[ContainerStatus, ...]:
    """Dead containers beyond the newest *keep* of each name.

    *remove_all* says that the pod's content may be removed: then none is kept. At
    least one is kept otherwise, since its log and exit code may be asked for.
    """
    kept = 0 if remove_all else max(keep, 1)
    seen: dict[str, int] = {}
    surplus = []
    for status in observed.containers:
        if status.state is not ContainerState.EXITED:
            continue
        seen[status.name] = seen.get(status.name, 0) + 1
        if seen[status.name] > kept:
            surplus.append(status)
    return tuple(surplus)
