"""Plug-ins that make themselves known through sockets in ``plugins_registry``."""

from .doors import PluginHandler, PluginRefusedError
from .manager import PluginManager

__all__ = ["PluginHandler", "PluginManager", "PluginRefusedError"]
