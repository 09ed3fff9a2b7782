"""The status of a pod that the node refuses. Pure."""

from datetime import datetime

import msgspec

from pykubelet.api.core import Pod, PodStatus
from pykubelet.api.qos import compute_qos

from .status import settle_status


def rejected_status(pod: Pod, old: PodStatus, reason: str, message: str, now: datetime) -> PodStatus:
    """What is reported of it from now on; *old* was reported before."""
    status = msgspec.structs.replace(
        old,
        phase="Failed",
        reason=reason,
        message=f"Pod was rejected: {message}",
        qosClass=compute_qos(pod),
    )
    return settle_status(pod, old, status, now)
