"""A container's spec as far as its own labels and annotations tell it.

For ending containers whose pod is known to no source any more: grace periods and the
preStop hook were written onto the container when it was made.
"""

from typing import TypeVar

from pykubelet.api import codec
from pykubelet.api.core import Container, ContainerPort, Lifecycle, LifecycleHandler, Pod, PodSpec
from pykubelet.api.meta import ObjectMeta
from pykubelet.cri.types import ContainerStatus

_PREFIX = "io.kubernetes."
T = TypeVar("T")


def restore_container(status: ContainerStatus) -> tuple[Pod, Container]:
    """The pod and container that *status* was made for; only what ending it needs is filled.

    An annotation that cannot be read counts as absent.
    """
    labels, notes = status.labels, status.annotations
    pod = Pod(
        metadata=ObjectMeta(
            uid=labels.get(f"{_PREFIX}pod.uid", ""),
            name=labels.get(f"{_PREFIX}pod.name", ""),
            namespace=labels.get(f"{_PREFIX}pod.namespace", ""),
            deletionGracePeriodSeconds=_seconds(notes.get(f"{_PREFIX}pod.deletionGracePeriod")),
        ),
        spec=PodSpec(
            terminationGracePeriodSeconds=_seconds(notes.get(f"{_PREFIX}pod.terminationGracePeriod"))
        ),
    )
    hook = _json(notes.get(f"{_PREFIX}container.preStopHandler"), LifecycleHandler)
    container = Container(
        name=labels.get(f"{_PREFIX}container.name", status.name),
        ports=_json(notes.get(f"{_PREFIX}container.ports"), list[ContainerPort]) or [],
        terminationMessagePath=notes.get(f"{_PREFIX}container.terminationMessagePath", ""),
        lifecycle=None if hook is None else Lifecycle(preStop=hook),
    )
    return pod, container


def _seconds(text: str | None) -> int | None:
    return int(text) if text and text.isdecimal() else None


def _json(text: str | None, kind: type[T]) -> T | None:
    if not text:
        return None
    try:
        return codec.decode(text, kind)
    except codec.InvalidField:
        return None
