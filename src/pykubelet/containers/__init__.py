"""Containers: a pod's spec turned into CRI configurations; images, hooks, logs and what is dead.

Enter through :class:`Starter`, :func:`read_logs`, :func:`enrich` and :class:`ContainerGC`;
the doors that others implement stand in :mod:`pykubelet.containers.doors`.
"""

from .gc import ContainerGC, GCPolicy
from .logs import LogOptions, read_logs
from .settings import ContainerSettings
from .starter import Starter
from .termination_message import enrich

__all__ = [
    "ContainerGC",
    "ContainerSettings",
    "GCPolicy",
    "LogOptions",
    "Starter",
    "enrich",
    "read_logs",
]
