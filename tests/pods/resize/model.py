"""Pods with resources, written shortly: ``c("app", "100m/200m", "16Mi/32Mi")`` is request/limit."""

from pykubelet.api.core import Container, ContainerResizePolicy, Pod, PodSpec, ResourceRequirements
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.quantity import Quantity


def of(cpu="", memory=""):
    """Resources; an empty part is not stated, a single amount is both."""
    requests, limits = {}, {}
    for name, text in (("cpu", cpu), ("memory", memory)):
        request, slash, limit = text.partition("/")
        limit = limit if slash else request
        if request:
            requests[name] = Quantity.parse(request)
        if limit:
            limits[name] = Quantity.parse(limit)
    return ResourceRequirements(requests=requests, limits=limits)


def c(name, cpu="", memory="", *, restarts=(), sidecar=False):
    """A container; a change of what *restarts* names restarts it."""
    policies = [ContainerResizePolicy(resourceName=r, restartPolicy="RestartContainer") for r in restarts]
    return Container(
        name=name,
        image="img",
        resources=of(cpu, memory),
        resizePolicy=policies,
        restartPolicy="Always" if sidecar else None,
    )


def pod(*containers, init=(), whole=None, uid="u", generation=2, **spec):
    """A pod."""
    return Pod(
        metadata=ObjectMeta(name="p", namespace="ns", uid=uid, generation=generation),
        spec=PodSpec(
            containers=list(containers),
            initContainers=list(init),
            restartPolicy="Always",
            resources=None if whole is None else of(*whole),
            **spec,
        ),
    )
