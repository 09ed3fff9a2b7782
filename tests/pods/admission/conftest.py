import pytest

from pykubelet.api.core import Container, ContainerPort, Pod, PodSpec, ResourceRequirements
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.quantity import Quantity
from pykubelet.pods.admission.node import NodeFacts


def parsed(texts):
    return {name: Quantity.parse(text) for name, text in texts.items()}


def a_pod(name="web", requests=None, *, limits=None, ports=(), labels=None, annotations=None, **spec):
    container = Container(
        name="c",
        resources=ResourceRequirements(requests=parsed(requests or {}), limits=parsed(limits or {})),
        ports=[ContainerPort(hostPort=port, hostIP=ip, protocol=protocol) for ip, protocol, port in ports],
    )
    return Pod(
        metadata=ObjectMeta(
            name=name,
            namespace="default",
            uid=f"uid-{name}",
            labels=labels or {},
            annotations=annotations or {},
        ),
        spec=PodSpec(containers=[container], **spec),
    )


def a_node(allocatable=None, **fields):
    amounts = {"cpu": "4", "memory": "4Gi", "pods": "10", "ephemeral-storage": "10Gi"}
    return NodeFacts(name="node-1", allocatable=parsed({**amounts, **(allocatable or {})}), **fields)


@pytest.fixture
def make_pod():
    return a_pod


@pytest.fixture
def make_node():
    return a_node
