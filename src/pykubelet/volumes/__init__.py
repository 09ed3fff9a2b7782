"""A pod's volumes: what should be there, what is there, and the way from one to the other."""

from .claim_stats import ClaimStats
from .csi import CsiVolumes, NoCsiObjects, NoNodeInfoSink
from .doors import Feeds
from .local import LocalVolumes
from .manager import VolumeManager
from .nfs import NfsVolumes
from .roots import ensure_shared_root
from .selinux import Labelling
from .story import VolumeStory
from .usage_collector import UsageCollector

__all__ = [
    "ClaimStats",
    "CsiVolumes",
    "Feeds",
    "Labelling",
    "LocalVolumes",
    "NfsVolumes",
    "NoCsiObjects",
    "NoNodeInfoSink",
    "UsageCollector",
    "VolumeManager",
    "VolumeStory",
    "ensure_shared_root",
]
