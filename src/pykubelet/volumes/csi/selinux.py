"""SELinux: volumes that are mounted with a label, instead of being relabelled file by file. Pure."""

from collections.abc import Sequence

from pykubelet.api.storage import CSIDriver, PersistentVolume
from pykubelet.base.gotext import go_quote


def mounted_with_label(pv: PersistentVolume | None, driver: CSIDriver | None) -> bool:
    """Whether the volume may be mounted with the pod's label: only one pod has it, and its driver can."""
    if pv is None or driver is None or driver.spec.seLinuxMount is not True:
        return False
    return pv.spec.accessModes == ["ReadWriteOncePod"]


def with_label(options: Sequence[str], label: str) -> tuple[str, ...]:
    """Mount *options* with that label; in quotes, for it may have commas."""
    return (*options, f"context={go_quote(label)}") if label else tuple(options)
