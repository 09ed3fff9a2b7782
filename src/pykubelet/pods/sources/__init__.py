"""Where pods come from: manifests on disk, and the mux that merges all sources."""

from .file import FileSource
from .http import UrlSource
from .mux import Op, PodConfig, PodUpdate
from .push import PushSource
from .static import ManifestError, Origin, StaticPod, read_manifests

__all__ = [
    "FileSource",
    "ManifestError",
    "Op",
    "Origin",
    "PodConfig",
    "PodUpdate",
    "PushSource",
    "StaticPod",
    "UrlSource",
    "read_manifests",
]
