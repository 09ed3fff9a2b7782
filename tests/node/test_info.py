"""The node's facts follow the API's Node."""

from pykubelet.api.meta import ObjectMeta
from pykubelet.api.node import Node, NodeAddress, NodeSpec, NodeStatus, Taint
from pykubelet.node import NodeInfo


def test_the_nodes_facts_follow_the_api() -> None:
    info = NodeInfo("n", ("127.0.0.1",), {}, {}, memory_capacity=1, swap_capacity=0)
    taint = Taint(key="k", effect="NoSchedule")
    node = Node(
        metadata=ObjectMeta(labels={"a": "b"}),
        spec=NodeSpec(taints=[taint]),
        status=NodeStatus(addresses=[NodeAddress(type="InternalIP", address="10.0.0.9")]),
    )
    info.follow(node)
    assert (info.host_ips, info.labels, info.taints) == (("10.0.0.9",), {"a": "b"}, (taint,))
    info.follow(Node())
    assert info.host_ips == ("10.0.0.9",)
