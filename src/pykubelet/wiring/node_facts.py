"""What the room ``pods`` is told of the node: :class:`NodeInfo` turned into the structs that it asks for.

Taken anew whenever it is asked: the runtime's part, the Node's labels and its taints change.
"""

from datetime import datetime

from pykubelet.node import NodeInfo
from pykubelet.pods import admission, status


def admission_facts(node: NodeInfo) -> admission.NodeFacts:
    """What a pod is compared with before it may run here."""
    return admission.NodeFacts(
        name=node.name,
        labels=node.labels,
        taints=tuple(admission.Taint(taint.key, taint.value, taint.effect) for taint in node.taints),
        allocatable=node.allocatable,
        supplemental_groups_policy=node.supplemental_groups_policy,
    )


def status_facts(
    node: NodeInfo, started: datetime, *, stop_signals: bool = False, whole_resources: bool = True
) -> status.NodeFacts:
    """What a pod's status tells of its node; *started* is when the daemon was.

    *stop_signals* is the gate ContainerStopSignals, *whole_resources* the gate
    InPlacePodLevelResourcesVerticalScaling.
    """
    handler = node.runtime_handler("")
    return status.NodeFacts(
        host_ips=node.host_ips,
        prefer_ipv6=node.ipv6_first,
        recursive_read_only=handler is not None and handler.recursive_read_only_mounts,
        kubelet_started=started,
        stop_signals=stop_signals,
        whole_resources=whole_resources,
    )
