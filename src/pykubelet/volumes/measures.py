"""The metrics of volumes, under upstream's names."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Final

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from pykubelet.base.metrics import Metrics

from .orders import Kind
from .state import Wanted

_BUCKETS: Final = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 25.0, 50.0, 120.0, 300.0, 600.0)
#: What upstream calls each kind of operation, of a file system and of a block device; not all count there.
_OPERATIONS: Final[Mapping[Kind, tuple[str, str]]] = MappingProxyType(
    {
        "attach": ("verify_controller_attached_volume", "verify_controller_attached_volume"),
        "stage": ("volume_mount", "map_volume"),
        "mount": ("volume_mount", "map_volume"),
        "refresh": ("volume_mount", "map_volume"),
        "expand": ("volume_fs_resize", "volume_fs_resize"),
        "unmount": ("volume_unmount", "unmap_volume"),
        "unstage": ("unmount_device", "unmap_device"),
    }
)


def plugin_label(plugin: str, wanted: Wanted | None, device: str) -> str:
    """The plug-in's name as metrics tell it: of CSI with the driver."""
    driver = ""
    if wanted is not None and wanted.resolved is not None:
        driver = wanted.driver
    elif "^" in device:
        driver = device.removeprefix(f"{plugin}/").partition("^")[0]
    return f"{plugin}:{driver}" if driver else plugin


class Measures:
    """What is counted and timed."""

    def __init__(self, metrics: Metrics) -> None:
        self._operations = metrics.histogram(
            "storage_operation_duration_seconds",
            "Storage operation duration",
            ["volume_plugin", "operation_name", "status", "migrated"],
            buckets=_BUCKETS,
        )
        self._whole = metrics.histogram(
            "volume_operation_total_seconds",
            "Storage operation end to end duration in seconds",
            ["plugin_name", "operation_name"],
            buckets=_BUCKETS,
        )
        count = metrics.counter
        self._rebuilt = count("reconstruct_volume_operations_total", "Volumes of an earlier life looked at.")
        self._not_rebuilt = count(
            "reconstruct_volume_operations_errors_total", "Volumes of an earlier life that could not be read."
        )
        self._forced = count(
            "force_cleaned_failed_volume_operations_total", "Volumes that could not be read, cleaned up."
        )
        self._not_forced = count(
            "force_cleaned_failed_volume_operation_errors_total",
            "Volumes that could not be read, nor cleaned up.",
        )
        self._staging: dict[str, float] = {}

    def operation(
        self,
        kind: Kind,
        plugin: str,
        device: str,
        seconds: float,
        *,
        block: bool,
        good: bool,
        migrated: bool = False,
    ) -> None:
        """An operation took *seconds*; staging counts with the mount that follows."""
        names = _OPERATIONS.get(kind)
        if names is None:
            return
        if kind == "stage" and good:
            self._staging[device] = seconds
            return
        if kind == "mount":
            seconds += self._staging.pop(device, 0.0)
        elif kind == "unstage":
            self._staging.pop(device, None)
        status = "success" if good else "fail-unknown"
        told = "true" if migrated else "false"
        self._operations.labels(plugin, names[block], status, told).observe(seconds)

    def mounted(self, plugin: str, seconds: float) -> None:
        """A volume is there *seconds* after it was asked for."""
        self._whole.labels(plugin, "overall_volume_mount").observe(seconds)

    def rebuilt(self, *, good: bool) -> None:
        """A volume that an earlier life left was looked at."""
        self._rebuilt.inc()
        if not good:
            self._not_rebuilt.inc()

    def forced(self, *, good: bool) -> None:
        """A volume that could not be read was cleaned up, or could not."""
        self._forced.inc()
        if not good:
            self._not_forced.inc()


class Totals(Collector):
    """How many volumes are wanted, and there, by plug-in."""

    def __init__(self, wanted: Callable[[], Iterable[str]], there: Callable[[], Iterable[str]]) -> None:
        """Both give the plug-in of each volume."""
        self._states = {"desired_state_of_world": wanted, "actual_state_of_world": there}

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """The family, as it is now."""
        family = GaugeMetricFamily(
            "volume_manager_total_volumes",
            "Number of volumes in Volume Manager",
            labels=["plugin_name", "state"],
        )
        for state, plugins in self._states.items():
            for plugin, number in sorted(Counter(plugins()).items()):
                family.add_metric([plugin, state], number)
        return [family]
