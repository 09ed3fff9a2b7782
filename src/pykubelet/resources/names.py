"""How the cgroups of pods are named, for the cgroupfs and for the systemd driver. Pure.

A name is a tuple of components (``("kubepods", "burstable", "pod1234-ab")``); only its
written form depends on the driver.
"""

from typing import Literal

from pykubelet.api.core import Pod
from pykubelet.api.qos import qos_class

Driver = Literal["cgroupfs", "systemd"]
Name = tuple[str, ...]

KUBEPODS = "kubepods"
BURSTABLE = "burstable"
BEST_EFFORT = "besteffort"
_POD = "pod"
_SLICE = ".slice"


def parse_cgroupfs(path: str) -> Name:
    """The name that a cgroupfs path stands for (``/`` is the empty one)."""
    return tuple(part for part in path.split("/") if part)


def join(base: Name, *parts: str) -> Name:
    """A name below *base*.

    :raises ValueError: a part holds ``/`` or ``_``, which could not be read back from systemd's form.
    """
    for part in parts:
        if not part or "/" in part or "_" in part:
            raise ValueError(f"invalid component {part!r} of a cgroup name")
    return (*base, *parts)


def to_cgroupfs(name: Name) -> str:
    """``/kubepods/burstable/pod1234-ab``."""
    return "/" + "/".join(name)


def to_systemd(name: Name) -> str:
    """``/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1234_ab.slice``."""
    if not name:
        return "/"
    # A dash parts the levels of a slice's name, so those inside a component are masked.
    levels = "-".join(part.replace("-", "_") for part in name).split("-")
    slices = ("-".join(levels[: depth + 1]) + _SLICE for depth in range(len(levels)))
    return "/" + "/".join(slices)


def parse_systemd(path: str) -> Name:
    """The name that a slice, or the path of one, stands for."""
    unit = path.rstrip("/").rpartition("/")[2].removesuffix(_SLICE)
    return tuple(part.replace("_", "-") for part in unit.split("-")) if unit else ()


def written(name: Name, driver: Driver) -> str:
    """The name as a path in the driver's form."""
    return to_systemd(name) if driver == "systemd" else to_cgroupfs(name)


def kubepods(cgroup_root: str) -> Name:
    """The cgroup of all pods below the configured ``cgroupRoot``."""
    return join(parse_cgroupfs(cgroup_root), KUBEPODS)


def qos_levels(root: Name) -> tuple[Name, Name, Name]:
    """Where guaranteed, burstable and best-effort pods live below the cgroup of all pods."""
    return root, join(root, BURSTABLE), join(root, BEST_EFFORT)


def pod_name(root: Name, pod: Pod) -> Name:
    """The pod's cgroup below the cgroup of all pods, at the level of its QoS class."""
    guaranteed, burstable, best_effort = qos_levels(root)
    levels = {"Guaranteed": guaranteed, "Burstable": burstable}
    return join(levels.get(qos_class(pod), best_effort), _POD + pod.metadata.uid)


def pod_candidates(root: Name, uid: str) -> tuple[Name, ...]:
    """Where a pod's cgroup may be when its class is not known."""
    return tuple(join(level, _POD + uid) for level in qos_levels(root))


def uid_of(last_component: str) -> str | None:
    """The UID in the last component of a pod's cgroup; None if it is not a pod's."""
    before, found, uid = last_component.partition(_POD)
    return uid if found and not before and uid and _POD not in uid else None
