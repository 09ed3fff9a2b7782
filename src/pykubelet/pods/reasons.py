"""Why containers could not be started: what their statuses show as waiting reason."""

from collections import OrderedDict

_LIMIT = 1000


class ReasonCache:
    """The last start error by pod UID and container; the oldest are forgotten beyond a thousand."""

    def __init__(self) -> None:
        self._reasons: OrderedDict[tuple[str, str], tuple[str, str]] = OrderedDict()

    def set(self, uid: str, container: str, reason: str, message: str) -> None:
        """The container could not be started."""
        self._reasons[uid, container] = (reason, message)
        self._reasons.move_to_end((uid, container))
        if len(self._reasons) > _LIMIT:
            self._reasons.popitem(last=False)

    def clear(self, uid: str, container: str) -> None:
        """The container was started."""
        self._reasons.pop((uid, container), None)

    def forget(self, uid: str) -> None:
        """The pod is gone."""
        for key in [key for key in self._reasons if key[0] == uid]:
            del self._reasons[key]

    def of(self, uid: str) -> dict[str, tuple[str, str]]:
        """Reason and message by container of one pod."""
        return {container: reason for (owner, container), reason in self._reasons.items() if owner == uid}
