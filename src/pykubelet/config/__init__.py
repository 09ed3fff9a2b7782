"""KubeletConfiguration v1beta1, flags, drop-ins and feature gates, and which of them wins."""

from .gates import FeatureGates
from .help import help_text, version_text
from .host import HostFacts, check_host
from .jsonform import as_v1beta1_json
from .load import Files, Loaded, OsFiles, load
from .types import ConfigError, KubeletConfiguration, KubeletFlags

__all__ = [
    "ConfigError",
    "FeatureGates",
    "Files",
    "HostFacts",
    "KubeletConfiguration",
    "KubeletFlags",
    "Loaded",
    "OsFiles",
    "as_v1beta1_json",
    "check_host",
    "help_text",
    "load",
    "version_text",
]
