"""How full claims' volumes are, as Prometheus families under upstream's names.

(pkg/kubelet/metrics/collectors/volume_stats.go)
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from pykubelet.api.core import Pod
from pykubelet.api.volume_usage import VolumeUsage

from . import claims

#: Name, what it tells, and the figure; what is not known is zero there, as upstream has it.
_FAMILIES: Final[Sequence[tuple[str, str, Callable[[VolumeUsage], int | None]]]] = (
    ("capacity_bytes", "Capacity in bytes of the volume", lambda usage: usage.capacity_bytes),
    ("available_bytes", "Number of available bytes in the volume", lambda usage: usage.available_bytes),
    ("used_bytes", "Number of used bytes in the volume", lambda usage: usage.used_bytes),
    ("inodes", "Maximum number of inodes in the volume", lambda usage: usage.inodes),
    ("inodes_free", "Number of free inodes in the volume", lambda usage: usage.inodes_free),
    ("inodes_used", "Number of used inodes in the volume", lambda usage: usage.inodes_used),
)
_ABNORMAL: Final = (
    "Abnormal volume health status. The count is either 1 or 0. "
    "1 indicates the volume is unhealthy, 0 indicates volume is healthy"
)


class ClaimStats(Collector):
    """The families of all claims that pods of the node have mounted, each claim once."""

    def __init__(
        self, pods: Callable[[], Iterable[Pod]], usage: Callable[[str], Mapping[str, VolumeUsage]]
    ) -> None:
        """*usage* tells by a pod's UID what its volumes hold, by their names."""
        self._pods = pods
        self._usage = usage

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The families as they are now; one without a claim is left out, as upstream does."""
        told = sorted(self._claims().items())
        for name, text, figure in _FAMILIES:
            family = _family(name, text)
            for claim, usage in told:
                family.add_metric(claim, figure(usage) or 0)
            if told:
                yield family
        family = _family("health_status_abnormal", _ABNORMAL)
        for claim, usage in told:
            if usage.abnormal is not None:
                family.add_metric(claim, int(usage.abnormal))
        if family.samples:
            yield family

    def _claims(self) -> Mapping[tuple[str, str], VolumeUsage]:
        """What each claim's volume holds, as it was measured last for any pod."""
        found: dict[tuple[str, str], VolumeUsage] = {}
        for pod in self._pods():
            usages = self._usage(pod.metadata.uid)
            for volume in pod.spec.volumes:
                usage = usages.get(volume.name)
                if usage is None or (volume.persistentVolumeClaim is None and volume.ephemeral is None):
                    continue
                claim = (pod.metadata.namespace, claims.claim_name(pod, volume))
                if claim not in found or found[claim].time < usage.time:
                    found[claim] = usage
        return found


def _family(name: str, text: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(
        f"kubelet_volume_stats_{name}", text, labels=["namespace", "persistentvolumeclaim"]
    )
