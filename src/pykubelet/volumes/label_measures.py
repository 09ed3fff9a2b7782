"""The metrics of SELinux labels of volumes, under upstream's names (gauges that only grow, as there)."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from prometheus_client import Gauge

from pykubelet.base.metrics import Metrics

from . import selinux
from .labels import Labels, Trouble
from .selinux import Labelling
from .state import Wanted

_TEXTS: Final[Mapping[Trouble, str]] = MappingProxyType(
    {
        "container": "Containers of which no SELinux label can be told",
        "pod_context_mismatch": "Volumes whose containers in one pod need different SELinux labels",
        "volume_context_mismatch": "Pods that need another SELinux label than a volume is mounted with",
    }
)
#: With another gate the latter would be the former.
_ENDS: Final = {True: "their pods cannot start.", False: "it does no harm yet."}


class LabelMeasures:
    """Implements ``Count``."""

    def __init__(self, metrics: Metrics) -> None:
        self._troubles: dict[tuple[Trouble, bool], Gauge] = {
            (trouble, fatal): metrics.gauge(
                f"volume_manager_selinux_{trouble}_{'errors' if fatal else 'warnings'}_total",
                f"{text}: {end}",
                ["volume_plugin", "access_mode"] if trouble == "volume_context_mismatch" else ["access_mode"],
            )
            for trouble, text in _TEXTS.items()
            for fatal, end in _ENDS.items()
        }
        self._admitted = metrics.gauge(
            "volume_manager_selinux_volumes_admitted_total",
            "Volumes that are wanted with one SELinux label for all their files.",
            ["volume_plugin", "access_mode"],
        )

    def admitted(self, wanted: Wanted) -> None:
        """See ``Count``."""
        self._admitted.labels(_plugin(wanted), _mode(wanted)).inc()

    def trouble(self, trouble: Trouble, wanted: Wanted, *, fatal: bool) -> None:
        """See ``Count``."""
        values = [_mode(wanted)]
        if trouble == "volume_context_mismatch":
            values.insert(0, _plugin(wanted))
        self._troubles[trouble, fatal].labels(*values).inc()


def labels_for(labelling: Labelling | None, metrics: Metrics) -> Labels | None:
    """What decides the labels of the node's volumes, counted in *metrics*; None where SELinux is off."""
    return None if labelling is None else Labels(labelling, LabelMeasures(metrics))


def _mode(wanted: Wanted) -> str:
    return selinux.access_mode(wanted.resolved.spec.pv if wanted.resolved is not None else None)


def _plugin(wanted: Wanted) -> str:
    """The plug-in's name, of CSI with the driver; other metrics have a colon between them."""
    name, driver = wanted.key.plugin, wanted.driver
    return f"{name}/{driver}" if driver else name
