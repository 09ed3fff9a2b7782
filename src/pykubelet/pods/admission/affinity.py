"""Whether a node is one that a pod's node selector and required node affinity allow. Pure."""

from pykubelet.api import node_selector
from pykubelet.api.core import Pod

from .node import NodeFacts


def matches_node(pod: Pod, node: NodeFacts) -> bool:
    """Whether both the selector and one of the affinity's terms match; none given match all."""
    if any(node.labels.get(key) != value for key, value in pod.spec.nodeSelector.items()):
        return False
    affinity = pod.spec.affinity.nodeAffinity if pod.spec.affinity is not None else None
    required = affinity.requiredDuringSchedulingIgnoredDuringExecution if affinity is not None else None
    if required is None:
        return True
    return any(node_selector.matches(term, node.labels, node.name) for term in required.nodeSelectorTerms)
