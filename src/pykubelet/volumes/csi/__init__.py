"""CSI: volumes that drivers make, each a process with a Unix socket (Container Storage Interface v1)."""

from .assembly import CsiVolumes
from .capabilities import Capability, VolumeUse
from .client import CsiClient, CsiMetrics, NodeInfo, VolumeStats
from .doors import CsiObjects, NoCsiObjects, NodeInfoSink, NoNodeInfoSink
from .drivers import Driver, Drivers
from .errors import CsiError, DriverNotFoundError

__all__ = [
    "Capability",
    "CsiClient",
    "CsiError",
    "CsiMetrics",
    "CsiObjects",
    "CsiVolumes",
    "Driver",
    "DriverNotFoundError",
    "Drivers",
    "NoCsiObjects",
    "NoNodeInfoSink",
    "NodeInfo",
    "NodeInfoSink",
    "VolumeStats",
    "VolumeUse",
]
