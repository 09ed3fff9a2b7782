"""How many pods this node refused, and why, in upstream's metric."""

from typing import Final

from pykubelet.base.metrics import Metrics

#: Reasons that are counted by themselves: upstream's list. Those of single predicates are not in it
#: (NodeAffinity, NodeName, NodePorts, TaintToleration).
_OWN: Final = frozenset(
    {
        "AppArmor",
        "Evicted",
        "InitContainerRestartPolicyForbidden",
        "InvalidNodeInfo",
        "NodeShutdown",
        "OutOfcpu",
        "OutOfephemeral-storage",
        "OutOfmemory",
        "OutOfpods",
        "PodFeatureUnsupported",
        "PodLevelResourcesNotSupported",
        "PodOSNotSupported",
        "PodOSSelectorNodeLabelDoesNotMatch",
        "SupplementalGroupsPolicyNotSupported",
        "SysctlForbidden",
        "TopologyAffinityError",
        "UnexpectedAdmissionError",
        "UnexpectedPredicateFailureType",
        "UnknownReason",
        "VolumeAttachmentLimitExceeded",
    }
)


class Rejections:
    """Counts pods that are refused; those that run and may not be resized are none of them."""

    def __init__(self, metrics: Metrics) -> None:
        self._refused = metrics.counter(
            "kubelet_admission_rejections_total",
            "Cumulative number pod admission rejections by the Kubelet.",
            ["reason"],
        )

    def count(self, reason: str) -> None:
        """A pod was refused for *reason*, as its status tells it."""
        self._refused.labels(counted_as(reason)).inc()


def counted_as(reason: str) -> str:
    """The label of *reason*: there are only so many."""
    if reason in _OWN:
        return reason
    return "OutOfExtendedResources" if reason.startswith("OutOf") else "Other"
