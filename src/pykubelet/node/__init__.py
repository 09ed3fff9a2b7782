"""The node itself: what it is, what it has, and what of it pods may use."""

from .info import NodeInfo

__all__ = ["NodeInfo"]
