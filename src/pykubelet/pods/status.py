"""The status of a pod as it is reported, computed purely from what was observed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from pykubelet.api.core import HostIP, Pod, PodCondition, PodIP, PodStatus, ResourceRequirements
from pykubelet.api.ips import one_per_family
from pykubelet.api.qos import compute_qos
from pykubelet.api.resources import pod_limits, pod_requests
from pykubelet.observe.types import ObservedPod

from .doors import Verdicts
from .resize.amounts import PodAmounts
from .restart import restart_all_wanted
from .status_conditions import pod_conditions
from .status_containers import StatusContext, container_statuses
from .status_merge import illegal_transition, merge_conditions, settle_status, terminal_status
from .status_phase import FINAL_PHASES, pod_phase
from .status_ready import unready_with_probe, with_readiness

__all__ = [
    "DEADLINE_MESSAGE",
    "DEADLINE_REASON",
    "FINAL_PHASES",
    "NodeFacts",
    "generate_status",
    "illegal_transition",
    "merge_conditions",
    "past_deadline",
    "settle_status",
    "terminal_status",
    "unready_with_probe",
]

#: Reason of the status, and of the Normal event.
DEADLINE_REASON = "DeadlineExceeded"
DEADLINE_MESSAGE = "Pod was active on the node longer than the specified deadline"


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """What a pod's status takes from its node."""

    #: IPs that the node reports, primary first; empty while unknown.
    host_ips: tuple[str, ...] = ()
    #: The node's primary IP is IPv6, so a pod's is too.
    prefer_ipv6: bool = False
    #: The pod's runtime handler can make mounts recursively read-only.
    recursive_read_only: bool = False
    #: When this daemon began to work.
    kubelet_started: datetime | None = None
    #: Containers' stop signals are shown.
    stop_signals: bool = False
    #: Resources of pods as a whole are shown.
    whole_resources: bool = True


def generate_status(
    pod: Pod,
    observed: ObservedPod,
    *,
    old_status: PodStatus | None,
    reasons: Mapping[str, tuple[str, str]],
    verdicts: Verdicts,
    node: NodeFacts,
    now: datetime,
    runtime_name: str,
    terminal: bool = False,
    resize: Sequence[PodCondition] = (),
    recorded: PodAmounts | None = None,
    whole: ResourceRequirements | None = None,
) -> PodStatus:
    """The pod's status now, ready to be kept and reported.

    *old_status* is what was reported last (None: ``pod.status``). *reasons* tells, by
    container, waiting reason and message of its failed or backed-off start. *terminal*:
    the pod is being ended, nothing is restarted. *resize* are conditions of a resize.
    *recorded* are the resources that containers were made with or changed to, for what the
    runtime does not tell, *whole* those of the pod as its cgroup has them (None: not seen yet).
    """
    old = pod.status if old_status is None else old_status
    context = StatusContext(
        pod=pod,
        observed=observed,
        runtime_name=runtime_name,
        reasons=reasons,
        restarting_all=restart_all_wanted(pod, observed, old),
        recursive_read_only=node.recursive_read_only,
        stop_signals=node.stop_signals,
        recorded=recorded or PodAmounts(),
    )
    spec = pod.spec
    regular = container_statuses(context, spec.containers, "regular", old.containerStatuses)
    init = container_statuses(context, spec.initContainers, "init", old.initContainerStatuses)
    ephemeral = container_statuses(
        context, spec.ephemeralContainers, "ephemeral", old.ephemeralContainerStatuses
    )
    # The phase looks at sidecars' readiness to go on, so that comes first.
    regular = with_readiness(pod, old, regular, verdicts, node.kubelet_started)
    init = with_readiness(pod, old, init, verdicts, node.kubelet_started)
    by_name = {status.name: status for status in (*init, *regular)}
    phase, reason, message = _phase(
        pod,
        old,
        pod_phase(pod, by_name, terminal=terminal, regular_created=_regular_in_sandbox(pod, observed)),
        now,
    )
    pod_ips = _pod_ips(pod, observed, old, node)
    status = PodStatus(
        observedGeneration=pod.metadata.generation,
        phase=phase,
        reason=reason,
        message=message,
        conditions=pod_conditions(pod, observed, old, phase, by_name, resize),
        hostIP=node.host_ips[0] if node.host_ips else "",
        hostIPs=[HostIP(ip=ip) for ip in node.host_ips[:2]],
        podIP=pod_ips[0] if pod_ips else "",
        podIPs=[PodIP(ip=ip) for ip in pod_ips],
        initContainerStatuses=init,
        containerStatuses=regular,
        ephemeralContainerStatuses=ephemeral,
        qosClass=compute_qos(pod),
        allocatedResources=pod_requests(pod) if node.whole_resources else {},
        resources=_in_force(pod, old, whole) if node.whole_resources else None,
        resourceClaimStatuses=old.resourceClaimStatuses,
    )
    return settle_status(pod, old, status, now)


def past_deadline(pod: Pod, status: PodStatus, now: datetime) -> bool:
    """Whether the pod has been active for longer than its ``activeDeadlineSeconds``."""
    allowed = pod.spec.activeDeadlineSeconds
    if allowed is None or status.startTime is None:
        return False
    return now - status.startTime >= timedelta(seconds=allowed)


def _phase(pod: Pod, old: PodStatus, computed: str, now: datetime) -> tuple[str, str, str]:
    """Phase, reason and message: a final phase stays, and a kept phase keeps its words."""
    phase = next((p for p in (pod.status.phase, old.phase) if p in FINAL_PHASES), computed)
    if phase not in FINAL_PHASES and past_deadline(pod, old, now):
        return "Failed", DEADLINE_REASON, DEADLINE_MESSAGE
    reason = message = ""
    if phase == old.phase:
        reason = old.reason or pod.status.reason
        message = old.message or pod.status.message
    return phase, reason, message


def _regular_in_sandbox(pod: Pod, observed: ObservedPod) -> bool:
    """Whether any regular container was created in the sandbox that is ready now."""
    sandbox = observed.ready_sandbox
    names = {container.name for container in pod.spec.containers}
    return sandbox is not None and any(
        status.sandbox_id == sandbox.id and status.name in names for status in observed.containers
    )


def _in_force(pod: Pod, old: PodStatus, whole: ResourceRequirements | None) -> ResourceRequirements:
    """The resources of the pod as a whole: as they are once it runs, as they will be before."""
    if old.phase == "Running":
        seen = whole or old.resources
        if seen is not None:
            return seen
    claims = [] if pod.spec.resources is None else pod.spec.resources.claims
    return ResourceRequirements(requests=pod_requests(pod), limits=pod_limits(pod), claims=claims)


def _pod_ips(pod: Pod, observed: ObservedPod, old: PodStatus, node: NodeFacts) -> list[str]:
    """One IP a family, the node's primary family first; the node's own for a pod in its network.

    While no sandbox is ready the IPs reported last are kept: they tell who it was.
    """
    known = observed.ips
    if not known and observed.ready_sandbox is None and not pod.spec.hostNetwork:
        known = tuple(each.ip for each in old.podIPs)
    ips = one_per_family(known, ipv6_first=node.prefer_ipv6)
    if not pod.spec.hostNetwork or not node.host_ips:
        return ips
    ips = ips or [node.host_ips[0]]
    if len(ips) == 1 and len(node.host_ips) > 1 and (":" in ips[0]) != (":" in node.host_ips[1]):
        ips.append(node.host_ips[1])
    return ips
