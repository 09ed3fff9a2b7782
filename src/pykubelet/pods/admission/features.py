"""Rejects pods that need what a feature gate has switched off. Pure."""

from collections.abc import Sequence

from pykubelet.api.admission import Rejection
from pykubelet.api.core import Pod
from pykubelet.api.resources import has_pod_level


class PodFeatures:
    """Asks for the gate ``PodLevelResources``."""

    def __init__(self, *, pod_level_resources: bool = True) -> None:
        self._pod_level_resources = pod_level_resources

    def admit(self, pod: Pod, others: Sequence[Pod]) -> Rejection | None:
        """See :class:`pykubelet.pods.doors.AdmitHandler`."""
        if has_pod_level(pod) and not self._pod_level_resources:
            return Rejection("PodLevelResourcesNotSupported", "PodLevelResources feature gate is disabled")
        return None
