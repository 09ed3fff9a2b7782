"""How pods wait for their volumes, and for their end; the texts are upstream's."""

from collections.abc import Callable, Sequence
from typing import Final

from pykubelet.api.core import Pod
from pykubelet.api.podinfo import pod_ref
from pykubelet.base.errors import VolumeError, VolumeLimitError
from pykubelet.base.gotext import go_list
from pykubelet.base.journal import Journal

from .attaching import Attaching
from .book import Book
from .state import SourceKey
from .waiters import Waiters

#: Seconds that a pod waits for its volumes, and for their end.
WAIT_LIMIT: Final = 123.0


class Waits:
    """The waiting side of the manager."""

    def __init__(
        self,
        book: Book,
        journal: Journal,
        reconsider: Callable[[str], None],
        attaching: Attaching,
    ) -> None:
        """*reconsider* hears of each pod that begins to wait."""
        self._book = book
        self._journal = journal
        self._reconsider = reconsider
        self._attaching = attaching
        self.waiters = Waiters()

    async def ready(self, pod: Pod) -> None:
        """Return when all volumes that containers mount are there.

        :raises VolumeError: one cannot be had (at once, ``real``), or is not there after 2 m 3 s.
        :raises VolumeLimitError: one is not there, and never will be on this node.
        """
        asked = self._book.wants.asked_by(pod)
        if not asked.names:
            return
        uid = pod.metadata.uid
        if asked.sources:
            # As upstream, claims are looked at anew with each sync of the pod.
            self._reconsider(uid)
        if asked.problems:
            self._refuse(pod)
        if not self._book.missing(pod):
            return
        self._journal.record(
            "VolumesAwaited", "the pod waits for its volumes", pod=pod_ref(pod), volumes=" ".join(asked.names)
        )
        if await self._wait(uid, lambda: not self._book.missing(pod) or self._hopeless(pod)):
            if self._book.missing(pod):
                self._refuse(pod)
            return
        text = self._unready(pod, self._book.wants.unprocessed(pod), "context deadline exceeded")
        whys = await self._attaching.of_pod(uid)
        cause = "; ".join(f"{name} is not attached: {whys[name]}" for name in sorted(whys)) or "time-out"
        self._journal.record("VolumesMissing", text, pod=pod_ref(pod), cause=cause, seconds=WAIT_LIMIT)
        for wanted in self._attaching.waiting(uid):
            if await self._attaching.exhausted(wanted):
                raise VolumeLimitError(
                    f"Node has reached its volume attachment limit, rejecting pod. {text}", real=False
                )
        raise VolumeError(text, real=False)

    async def gone(self, pod: Pod) -> None:
        """Return when nothing of the pod's volumes is mounted any more.

        :raises VolumeError: something still is after 2 m 3 s.
        """
        uid = pod.metadata.uid
        if await self._wait(uid, lambda: not self._book.present(uid)):
            return
        left = go_list(sorted(self._book.unique_name(key) for key in self._book.present(uid)))
        raise VolumeError(f"mounted volumes={left}: context deadline exceeded", real=False)

    async def _wait(self, uid: str, done: Callable[[], bool]) -> bool:
        self._reconsider(uid)
        return await self.waiters.until(uid, done, WAIT_LIMIT)

    def _hopeless(self, pod: Pod) -> bool:
        """Whether a volume cannot be had now; of all volumes it is known whether."""
        return bool(self._problems(pod)) and self._settled(pod.metadata.uid)

    def _settled(self, uid: str) -> bool:
        """Whether nothing is still to be found out about the pod's volumes, at this try."""
        wants, running = self._book.wants, self._book.flight.running
        mine = [source for source in wants.sources if source.uid == uid]
        unknown = wants.resolutions.open(mine)
        return not any(source in running or not wants.resolutions.error(source) for source in unknown)

    def _problems(self, pod: Pod) -> dict[str, str]:
        """Why volumes of the pod that are not there cannot be had, by name."""
        wants = self._book.wants
        uid = pod.metadata.uid
        told = {**wants.problems(uid), **wants.unlabelled(uid)}
        for name in self._book.missing(pod):
            error = wants.resolutions.error(SourceKey(pod.metadata.uid, name))
            if error:
                told[name] = error
        return told

    def _refuse(self, pod: Pod) -> None:
        problems = self._problems(pod)
        # One cause may concern several.
        why = "; ".join(dict.fromkeys(problems[name] for name in sorted(problems)))
        raise VolumeError(self._unready(pod, sorted(problems), why))

    def _unready(self, pod: Pod, unprocessed: Sequence[str], why: str) -> str:
        unattached = sorted(name for each in self._attaching.waiting(pod.metadata.uid) for name in each.names)
        return (
            f"unmounted volumes={go_list(self._book.missing(pod))}, "
            f"unattached volumes={go_list(unattached)}, "
            f"failed to process volumes={go_list(unprocessed)}: {why}"
        )
