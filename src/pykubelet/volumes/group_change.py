"""fsGroup for volumes that may hold many files: off the loop, told of when it takes long, stoppable."""

from typing import Final

from pykubelet.api.core import Pod
from pykubelet.api.podinfo import pod_ref
from pykubelet.base.clock import Clock
from pykubelet.base.journal import Events
from pykubelet.base.tasks import TaskOwner

from . import identity, ownership
from .patient_threads import PatientThreads

#: Seconds until the first event, and between those that follow (upstream's volume_linux.go).
FIRST_REPORT: Final = 30.0
REPORT_PERIOD: Final = 60.0
REASON: Final = "VolumePermissionChangeInProgress"
#: Walks at once, and given up that have not ended.
_AT_ONCE: Final = 64
_GIVEN_UP: Final = 64

_LONG: Final = (
    "is taking longer than expected, consider using OnRootMismatch - "
    "https://kubernetes.io/docs/tasks/configure-pod-container/security-context/"
    "#configure-volume-permission-and-ownership-change-policy-for-pods"
)


class GroupChange:
    """Gives volumes' files to their pods' groups."""

    def __init__(self, clock: Clock, events: Events) -> None:
        self._clock = clock
        self._events = events
        # A server that dies meanwhile holds one thread, however often it is tried again.
        self._threads = PatientThreads("group changes", at_once=_AT_ONCE, given_up=_GIVEN_UP)

    async def apply(self, path: str, pod: Pod, *, read_only: bool = False) -> int:
        """Let *path* and all below be what the pod's fsGroup and its change policy say; how many files.

        A walk whose waiter is cancelled ends after the file that it is at.

        :raises OSError: *path* is no directory, or cannot be opened; an earlier walk has not ended.
        """
        group = identity.group_of(pod)
        if group is None:
            return 0
        context = pod.spec.securityContext
        policy = (context.fsGroupChangePolicy if context is not None else None) or "Always"
        progress = ownership.Progress()
        reports = TaskOwner("group change")
        try:
            reports.spawn("report", self._report(path, pod, progress))
            return await self._threads.run(
                path,
                lambda: ownership.give_to_group(
                    path, group, read_only=read_only, policy=policy, progress=progress
                ),
                None,
            )
        finally:
            progress.stopped = True
            await reports.close()

    async def _report(self, path: str, pod: Pod, progress: ownership.Progress) -> None:
        told = f"Setting volume ownership for {shown(path, pod.metadata.uid)}"
        await self._clock.sleep(FIRST_REPORT)
        self._events.pod_event(pod_ref(pod), "Warning", REASON, f"{told} {_LONG}")
        while True:
            await self._clock.sleep(REPORT_PERIOD)
            text = f"{told}, processed {progress.files} files."
            self._events.pod_event(pod_ref(pod), "Warning", REASON, text)


def shown(path: str, uid: str) -> str:
    """*path* from the pod's UID on, as events tell it."""
    start = path.find(uid)
    return path[start:] if uid and start >= 0 else path
