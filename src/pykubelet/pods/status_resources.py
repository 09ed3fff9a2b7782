"""The resources that a container's status reports: what is really in force where the runtime tells."""

import msgspec

from pykubelet.api.core import Container, ContainerStatus, ResourceList, ResourceRequirements
from pykubelet.api.quantity import Quantity
from pykubelet.api.wellknown import CPU, MEMORY
from pykubelet.cri.types import ContainerState
from pykubelet.cri.types import ContainerStatus as Instance
from pykubelet.linux.cfs import MIN_SHARES

from .resize.seen import MIN_LIMIT_MILLI, cpu_limit, cpu_request, memory_limit


def reported_resources(
    container: Container,
    instance: Instance,
    old: ContainerStatus | None,
    recorded: ResourceRequirements | None = None,
) -> ResourceRequirements:
    """Resources of *instance*; *old* is what was last reported of this same instance.

    Only resources of a list that the spec has at all are replaced. *recorded* is what the container was
    made with or changed to: it speaks where the runtime tells nothing at all, and of memory requests,
    of which no runtime knows.
    """
    wanted = container.resources
    if instance.state is not ContainerState.RUNNING:
        return wanted
    before = ResourceRequirements()
    if old is not None and old.state.running is not None and isinstance(old.resources, ResourceRequirements):
        before = old.resources
    real, known = instance.resources, recorded or ResourceRequirements()
    silent = all(told is None for told in (cpu_limit(real), cpu_request(real), memory_limit(real)))
    spoken = known if silent else ResourceRequirements()
    limits, requests = dict(wanted.limits), dict(wanted.requests)
    if limits:
        _put(limits, CPU, cpu_limit(real) or spoken.limits.get(CPU), before.limits, MIN_LIMIT_MILLI)
        _put(limits, MEMORY, memory_limit(real) or spoken.limits.get(MEMORY), before.limits)
    if requests:
        _put(requests, CPU, cpu_request(real) or spoken.requests.get(CPU), before.requests, MIN_SHARES)
        _put(requests, MEMORY, known.requests.get(MEMORY), before.requests)
    return msgspec.structs.replace(wanted, limits=limits, requests=requests)


def _put(
    into: ResourceList, name: str, real: Quantity | None, before: ResourceList, least_milli: int = -1
) -> None:
    """Set *name* to what is in force, or to what was reported *before* when the runtime is silent."""
    if real is None:
        if name in before:
            into[name] = before[name]
    elif real.milli_value() > least_milli or (name in into and into[name].milli_value() > least_milli):
        into[name] = real
