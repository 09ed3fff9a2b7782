"""A pod's volumes: what should be there, what is there, and the way from one to the other."""

from .doors import Feeds
from .manager import VolumeManager
from .roots import ensure_shared_root
from .story import VolumeStory

__all__ = ["Feeds", "VolumeManager", "VolumeStory", "ensure_shared_root"]
