"""Credentials for image registries: pull secrets, the node's own configuration, exec plug-ins.

Enter through :class:`Credentials`.
"""

from .lookup import Credentials
from .provider import Provider
from .provider_config import ProviderConfigError, read_provider_config

__all__ = ["Credentials", "Provider", "ProviderConfigError", "read_provider_config"]
