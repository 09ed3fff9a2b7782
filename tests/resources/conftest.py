import pytest

from pykubelet.api.core import Container, Pod, PodSpec, ResourceRequirements
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.quantity import Quantity


def amounts(**texts):
    return {name: Quantity.parse(text) for name, text in texts.items()}


def a_container(name, requests=None, limits=None, *, sidecar=False):
    resources = ResourceRequirements(
        requests={key: Quantity.parse(text) for key, text in (requests or {}).items()},
        limits={key: Quantity.parse(text) for key, text in (limits or {}).items()},
    )
    return Container(name=name, resources=resources, restartPolicy="Always" if sidecar else None)


def a_pod(*containers, uid="u-1", init=(), **spec):
    return Pod(
        metadata=ObjectMeta(name="web", namespace="default", uid=uid),
        spec=PodSpec(containers=list(containers), initContainers=list(init), **spec),
    )


@pytest.fixture
def make_pod():
    return a_pod


@pytest.fixture
def make_container():
    return a_container
