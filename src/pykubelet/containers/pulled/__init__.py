"""Who has pulled which image with which credentials, so that an image is no one's for whom it was not pulled.

Enter through :class:`PulledImages`. (pkg/kubelet/images/pullmanager.)
"""

from .access import Policy
from .manager import PulledImages
from .store import RecordStore

__all__ = ["Policy", "PulledImages", "RecordStore"]
