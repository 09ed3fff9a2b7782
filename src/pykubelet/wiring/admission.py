"""Which pods this node takes in: the rules of admission with the node's facts, and room for critical pods."""

import contextlib
from collections.abc import Callable

from pykubelet.api.core import Pod, PodStatus
from pykubelet.api.podinfo import pod_ref
from pykubelet.base.clock import Clock
from pykubelet.base.journal import Events, Journal
from pykubelet.base.tasks import TaskOwner
from pykubelet.config import Loaded
from pykubelet.node import NodeInfo
from pykubelet.node.host import Host
from pykubelet.pods.admission import (
    AdmissionChain,
    AppArmor,
    PodFeatures,
    Predicates,
    Rejections,
    SysctlAllowList,
    Victims,
    preempted,
    safe_sysctls,
)
from pykubelet.pods.doors import PodKiller
from pykubelet.wiring.node_facts import admission_facts
from pykubelet.wiring.startup import StartError


def admission_chain(
    loaded: Loaded,
    host: Host,
    node: NodeInfo,
    journal: Journal,
    preempt: Callable[[Pod, Victims], None],
    rejections: Rejections,
) -> AdmissionChain:
    """The handlers that judge a pod on this node, in upstream's order.

    :raises StartError: ``allowedUnsafeSysctls`` has a pattern that is none.
    """
    try:
        sysctls = SysctlAllowList(
            [*safe_sysctls(host.machine.kernel_version), *loaded.config.allowedUnsafeSysctls]
        )
    except ValueError as error:
        raise StartError(f"allowedUnsafeSysctls: {error}") from error
    return AdmissionChain(
        [
            sysctls,
            Predicates(lambda: admission_facts(node)),
            AppArmor(enabled=host.apparmor),
            PodFeatures(pod_level_resources=loaded.gates.enabled("PodLevelResources")),
        ],
        journal,
        preempt,
        rejections.count,
    )


class Preemption:
    """Ends pods that a critical pod has no room beside."""

    def __init__(
        self, clock: Clock, events: Events, tasks: TaskOwner, killer: Callable[[], PodKiller]
    ) -> None:
        self._clock = clock
        self._events = events
        self._tasks = tasks
        self._killer = killer

    def make_room(self, pod: Pod, victims: Victims) -> None:
        """Have *victims* killed for the critical *pod*; does not wait for their end."""
        for victim in victims.pods:
            self._events.pod_event(
                pod_ref(victim), "Warning", "Preempting", "Preempted in order to admit critical pod"
            )
            self._tasks.spawn(f"preempt-{victim.metadata.uid}", self._end(victim, pod))

    async def _end(self, victim: Pod, pod: Pod) -> None:
        def change(status: PodStatus) -> PodStatus:
            return preempted(status, victim.metadata.generation, self._clock.now())

        reason = f"it gives way to the critical pod {pod.metadata.namespace}/{pod.metadata.name}"
        # A victim that does not end in time is told by its event; the critical pod waits for its resources.
        with contextlib.suppress(TimeoutError):
            await self._killer().kill(victim.metadata.uid, reason, change, None, evict=True)
