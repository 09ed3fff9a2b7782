"""What pods get of the machine: cgroups by QoS class and pod, what the node can allocate, and host IDs."""

from .allocatable import (
    ReservationError,
    Reservations,
    allocatable,
    capacity_of,
    check_reservation,
    with_reserved_cpus,
)
from .cgroup_root import create_root, remove_root
from .pod_cgroups import NodeAmounts, PodCgroupManager, TreeConfig
from .user_namespaces import UserNamespaceError, UserNamespaceManager
from .values import PodCgroupConfig

__all__ = [
    "NodeAmounts",
    "PodCgroupConfig",
    "PodCgroupManager",
    "ReservationError",
    "Reservations",
    "TreeConfig",
    "UserNamespaceError",
    "UserNamespaceManager",
    "allocatable",
    "capacity_of",
    "check_reservation",
    "create_root",
    "remove_root",
    "with_reserved_cpus",
]
