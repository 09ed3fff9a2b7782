"""What of a pod may be removed, from what its worker, its source and the runtime say of it.

The room ``pods`` knows how far a pod's end has come; those who remove containers, logs and volumes ask here.
"""

from collections.abc import Callable

from pykubelet.observe.observer import Observer
from pykubelet.pods.store import PodStore
from pykubelet.pods.worker import PodWorkers


class Removal:
    """Implements the door ``PodStates`` of the collection of containers, and what the volumes ask."""

    def __init__(
        self,
        store: PodStore,
        observer: Observer,
        workers: PodWorkers,
        rejected: Callable[[str], bool],
        passed: Callable[[], bool],
        held: Callable[[str], bool] = lambda uid: False,
    ) -> None:
        """*rejected* tells whether the node refused a pod.

        *passed* tells whether all pods of the node were seen, so that one without a worker is an orphan,
        unless it is *held*: a source has it in a form that cannot be read.
        """
        self._store = store
        self._observer = observer
        self._workers = workers
        self._rejected = rejected
        self._passed = passed
        self._held = held

    def content_removable(self, uid: str) -> bool:
        """Whether everything of the pod may go: deleted and ended, evicted, or known to nobody."""
        state = self._workers.state(uid)
        if state is not None:
            return state.content_removable
        return self._orphaned(uid)

    def runtime_removable(self, uid: str) -> bool:
        """Whether the pod's containers may go: it has ended."""
        state = self._workers.state(uid)
        if state is not None:
            return not state.containers_may_run
        return self._orphaned(uid)

    def volumes_removable(self, uid: str) -> bool:
        """Whether the pod's volumes may go: none of its containers runs or will."""
        state = self._workers.state(uid)
        if state is not None:
            return not state.containers_may_run
        if self._store.get(uid) is not None:
            return self._rejected(uid)
        if not self._passed() or self._held(uid) or self._observer.unread(uid):
            return False
        observed = self._observer.cached(uid)
        return observed is None or not observed.alive

    def ending(self, uid: str) -> bool:
        """Whether the pod is being ended."""
        state = self._workers.state(uid)
        return state is not None and state.terminating

    def _orphaned(self, uid: str) -> bool:
        return self._store.get(uid) is None and self._passed() and not self._held(uid)
