"""Asks the handlers one after the other and tells the outcome."""

from collections.abc import Callable, Sequence
from typing import Protocol

from pykubelet.api.admission import Rejection
from pykubelet.api.core import Pod
from pykubelet.api.podinfo import pod_ref
from pykubelet.base.journal import Journal

from .preemption import Victims


class Judge(Protocol):
    """A handler; every :class:`pykubelet.pods.doors.AdmitHandler` is one."""

    def admit(self, pod: Pod, others: Sequence[Pod]) -> Rejection | Victims | None:
        """None admits *pod* beside the active *others*; so do victims, once they have been ended."""
        ...


class AdmissionChain:
    """The handlers in upstream's order; itself an :class:`pykubelet.pods.doors.AdmitHandler`."""

    def __init__(
        self,
        judges: Sequence[Judge],
        journal: Journal,
        preempt: Callable[[Pod, Victims], None],
        on_rejected: Callable[[str], None] = lambda reason: None,
    ) -> None:
        """*on_rejected* hears the reason of each rejection that is recorded.

        *preempt* is called after all handlers agreed, with the admitted pod and who has to end for it.

        It must not block: it has the victims killed through ``PodKiller``.
        """
        self._judges = tuple(judges)
        self._journal = journal
        self._preempt = preempt
        self._on_rejected = on_rejected

    def admit(self, pod: Pod, others: Sequence[Pod], *, labels_sure: bool = True) -> Rejection | None:
        """Ask all; the first rejection ends it and is recorded.

        Without *labels_sure* one ``by_labels`` is no last word: the caller asks again.
        """
        rejection = self._judge(pod, others)
        if rejection is None:
            self._journal.record(
                "PodAdmitted",
                "the pod may run here",
                pod=pod_ref(pod),
                others=len(others),
                judges=len(self._judges),
            )
            return None
        judge, verdict = rejection
        if verdict.by_labels and not labels_sure:
            self._journal.record(
                "PodUndecided",
                "whether the pod may run here is decided once the node's labels were looked at anew",
                pod=pod_ref(pod),
                cause=verdict.message,
            )
            return verdict
        self._tell_rejection(pod, judge, verdict)
        self._on_rejected(verdict.reason)
        return verdict

    def admit_resized(self, pod: Pod, others: Sequence[Pod]) -> Rejection | None:
        """Ask all about a pod that runs, as it is to be resized; a rejection is the caller's to record."""
        rejection = self._judge(pod, others)
        return None if rejection is None else rejection[1]

    def _judge(self, pod: Pod, others: Sequence[Pod]) -> tuple[Judge, Rejection] | None:
        """The first rejection and whose it is; without one those have to end who stand in the way."""
        victims: list[Victims] = []
        for judge in self._judges:
            verdict = judge.admit(pod, others)
            if isinstance(verdict, Rejection):
                return judge, verdict
            if verdict is not None:
                victims.append(verdict)
        for each in victims:
            self._tell_preemption(pod, each)
            self._preempt(pod, each)
        return None

    def _tell_rejection(self, pod: Pod, judge: Judge, rejection: Rejection) -> None:
        self._journal.record(
            "PodRejected",
            f"the pod may not run here: {rejection.message}",
            pod=pod_ref(pod),
            cause=rejection.reason,
            judge=type(judge).__name__,
        )

    def _tell_preemption(self, pod: Pod, victims: Victims) -> None:
        for victim in victims.pods:
            self._journal.record(
                "PodPreempted",
                f"the pod gives way to the critical pod {pod.metadata.namespace}/{pod.metadata.name}",
                pod=pod_ref(victim),
                cause=", ".join(f"{short.resource} lacks {short.lacking}" for short in victims.shortages),
            )
