"""Plug-ins that make themselves known through sockets in ``plugins_registry``."""

from .doors import PluginHandler, PluginRefusedError

__all__ = ["PluginHandler", "PluginRefusedError"]
