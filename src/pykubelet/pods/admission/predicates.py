"""The handler that asks what the scheduler would have asked: does the pod fit this node? Pure."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from pykubelet.api.admission import Rejection
from pykubelet.api.core import Pod
from pykubelet.api.podinfo import is_critical, is_static
from pykubelet.api.wellknown import LABEL_OS

from .affinity import matches_node
from .failures import Failure, Insufficient, Unfit
from .fit import shortages, without_unknown
from .node import NodeFacts
from .ports import ports_free
from .preemption import PreemptionError, Victims, choose_victims
from .taints import untolerated

_OS = "linux"
_AFFINITY = Unfit("NodeAffinity", "node(s) didn't match Pod's node affinity/selector")
_NAME = Unfit("NodeName", "node(s) didn't match the requested node name")
_PORTS = Unfit("NodePorts", "node(s) didn't have free ports for the requested pod ports")
_TAINTS = Unfit("TaintToleration", "node(s) had taints that the pod didn't tolerate")


class Predicates:
    """Resources, affinity, name, ports, taints, in this order; a critical pod may push others off."""

    def __init__(self, node: Callable[[], NodeFacts | None]) -> None:
        """*node* gives what is known of the node, None if nothing."""
        self._node = node

    def admit(self, pod: Pod, others: Sequence[Pod]) -> Rejection | Victims | None:
        """See :class:`pykubelet.pods.admission.chain.Judge`."""
        node = self._node()
        if node is None:
            return Rejection("InvalidNodeInfo", "Kubelet cannot get node info.")
        rejection = _unsupported(pod, node)
        if rejection is not None:
            return rejection
        found = failures(without_unknown(pod, node.allocatable), others, node)
        if not found:
            return None
        if found == [_AFFINITY]:
            return replace(_AFFINITY.rejection(), by_labels=True)
        if not is_critical(pod):
            return found[0].rejection()
        return _preempt(pod, others, found)


def failures(pod: Pod, others: Sequence[Pod], node: NodeFacts) -> list[Failure]:
    """All that is against *pod* beside *others*; the first is the one that users are told."""
    found: list[Failure] = list(shortages(pod, others, node.allocatable))
    if not matches_node(pod, node):
        found.append(_AFFINITY)
    if pod.spec.nodeName not in {"", node.name}:
        found.append(_NAME)
    if not ports_free(pod, others):
        found.append(_PORTS)
    # A static pod has nowhere else to go.
    if not is_static(pod) and untolerated(node.taints, pod.spec.tolerations, "NoExecute") is not None:
        found.append(_TAINTS)
    return found


def _preempt(pod: Pod, others: Sequence[Pod], found: Sequence[Failure]) -> Rejection | Victims:
    # What no eviction can help is told first, lest pods die for nothing.
    hopeless = [failure for failure in found if isinstance(failure, Unfit)]
    if hopeless:
        return hopeless[0].rejection()
    short = tuple(failure for failure in found if isinstance(failure, Insufficient))
    try:
        return Victims(choose_victims(pod, others, short), short)
    except PreemptionError as error:
        return Rejection(
            "UnexpectedAdmissionError",
            "Unexpected error while attempting to recover from admission failure: "
            f"preemption: error finding a set of pods to preempt: {error}",
        )


def _unsupported(pod: Pod, node: NodeFacts) -> Rejection | None:
    if pod.metadata.labels.get(LABEL_OS, _OS) != _OS:
        return Rejection(
            "PodOSSelectorNodeLabelDoesNotMatch",
            "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
        )
    if pod.spec.os is not None and pod.spec.os.name != _OS:
        return Rejection("PodOSNotSupported", "Failed to admit pod as the OS field doesn't match node OS")
    context = pod.spec.securityContext
    strict = context is not None and context.supplementalGroupsPolicy == "Strict"
    if strict and not node.supplemental_groups_policy:
        return Rejection(
            "SupplementalGroupsPolicyNotSupported",
            "SupplementalGroupsPolicy=Strict is not supported in this node",
        )
    return None
