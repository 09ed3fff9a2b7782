"""What the room of pods is told of the node."""

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from pykubelet.api.node import Taint
from pykubelet.api.quantity import Quantity
from pykubelet.cri.types import RuntimeHandler
from pykubelet.node import NodeInfo
from pykubelet.wiring.node_facts import admission_facts, status_facts

STARTED = datetime(2026, 1, 1, tzinfo=UTC)


def node(status=None):
    resources = {"cpu": Quantity.of(2)}
    return NodeInfo(
        name="n",
        host_ips=("fd00::1", "10.0.0.1"),
        capacity=resources,
        allocatable=resources,
        memory_capacity=1,
        swap_capacity=0,
        labels={"zone": "a"},
        taints=(Taint(key="k", value="v", effect="NoExecute"),),
        runtime_status=lambda: status,
    )


def test_what_a_pod_is_compared_with():
    facts = admission_facts(node(SimpleNamespace(supplemental_groups_policy=True)))
    assert (facts.name, facts.labels) == ("n", {"zone": "a"})
    assert facts.allocatable == {"cpu": Quantity.of(2)}
    (taint,) = facts.taints
    assert (taint.key, taint.value, taint.effect) == ("k", "v", "NoExecute")
    assert facts.supplemental_groups_policy


@pytest.mark.parametrize("able", [True, False])
def test_what_a_status_tells_of_the_node(able):
    handler = RuntimeHandler(name="", recursive_read_only_mounts=able)
    facts = status_facts(node(SimpleNamespace(handlers=[handler])), STARTED)
    assert facts.host_ips == ("fd00::1", "10.0.0.1")
    assert facts.prefer_ipv6
    assert facts.recursive_read_only is able
    assert facts.kubelet_started == STARTED
    assert facts.whole_resources
    assert not status_facts(node(), STARTED, whole_resources=False).whole_resources


def test_before_the_runtime_told_anything():
    assert not admission_facts(node()).supplemental_groups_policy
    assert not status_facts(node(), STARTED).recursive_read_only
