"""What the room ``cluster`` asks about pods, answered from the store, the workers and the watch."""

from collections.abc import Callable, Collection

from pykubelet.api.core import Pod
from pykubelet.api.podinfo import full_name, is_static
from pykubelet.pods.lifecycle import WorkerPhase, final_phase
from pykubelet.pods.store import PodStore
from pykubelet.pods.worker import PodWorkers


class PodViews:
    """Implements the doors ``ApiPods`` and ``StaticPods`` of the room ``cluster``."""

    def __init__(
        self,
        store: PodStore,
        workers: Callable[[], PodWorkers],
        passed: Callable[[], bool],
        watched: Callable[[str], Pod | None],
        complete: Callable[[], bool],
    ) -> None:
        """*passed* tells whether all pods of the node were seen, so that one without a worker has ended.

        *watched* gives the API server's pod of a UID, *complete* whether every source was heard.
        """
        self._store = store
        self._workers = workers
        self._passed = passed
        self._watched = watched
        self._complete = complete

    def shown(self, pod: Pod) -> Pod | None:
        """See ``ApiPods``."""
        if not is_static(pod):
            return self._watched(pod.metadata.uid)
        namesake = self._store.by_name(pod.metadata.namespace, pod.metadata.name)
        if namesake is not None and namesake.metadata.uid != pod.metadata.uid:
            return None
        mirror = self._store.mirror_of(pod)
        return None if mirror is None else self._watched(mirror.metadata.uid) or mirror

    def desired(self, uid: str) -> Pod | None:
        """The pod as its source has it."""
        return self._store.get(uid)

    def needs_objects(self, pod: Pod) -> bool:
        """Whether containers of the pod may yet be made."""
        state = self._workers().state(pod.metadata.uid)
        ended = state is not None and state.phase is WorkerPhase.FINISHED
        return self.desired(pod.metadata.uid) is not None and not ended and not final_phase(pod)

    def may_run(self, uid: str) -> bool:
        """See ``ApiPods``."""
        state = self._workers().state(uid)
        return not self._passed() if state is None else state.containers_may_run

    def finished(self, uid: str) -> bool:
        """See ``ApiPods``."""
        state = self._workers().state(uid)
        return self._passed() if state is None else state.phase is WorkerPhase.FINISHED

    def names(self) -> Collection[str]:
        """See ``StaticPods``."""
        pods = [*filter(is_static, self._store.pods()), *self._store.mirrors()]
        return {full_name(pod) for pod in pods}

    def static(self, full_name: str) -> Pod | None:
        """See ``StaticPods``."""
        return self._by_full_name(full_name)

    def mirror(self, full_name: str) -> Pod | None:
        """See ``StaticPods``."""
        return self._store.mirror_named(full_name)

    def terminating(self, full_name: str) -> bool:
        """See ``StaticPods``."""
        return self._workers().static_terminating(full_name)

    def complete(self) -> bool:
        """See ``StaticPods``."""
        return self._complete()

    def _by_full_name(self, full_name: str) -> Pod | None:
        name, _, namespace = full_name.rpartition("_")
        pod = self._store.by_name(namespace, name)
        return pod if pod is not None and is_static(pod) else None
