"""A pod's last status with what its probes say now, purely.

What a probe found is told at once from here: the pod's worker, which computes the whole status
anew, may be busy for minutes (an image is pulled, a hook runs).
"""

from datetime import datetime

import msgspec

from pykubelet.api.core import Pod, PodStatus

from .doors import Verdicts
from .status_conditions import probed_conditions
from .status_merge import settle_status
from .status_phase import FINAL_PHASES
from .status_ready import with_readiness


def with_verdicts(
    pod: Pod, old: PodStatus, verdicts: Verdicts, kubelet_started: datetime | None, now: datetime
) -> PodStatus:
    """*old* with ``started``, ``ready`` and the conditions that follow from them as *verdicts* say.

    *old* itself when nothing is different, or when the pod is over. The phase stays: that is the
    worker's to say.
    """
    if old.phase in FINAL_PHASES:
        return old
    regular = with_readiness(pod, old, old.containerStatuses, verdicts, kubelet_started)
    init = with_readiness(pod, old, old.initContainerStatuses, verdicts, kubelet_started)
    if regular == old.containerStatuses and init == old.initContainerStatuses:
        return old
    by_name = {status.name: status for status in (*init, *regular)}
    new = msgspec.structs.replace(
        old,
        containerStatuses=regular,
        initContainerStatuses=init,
        conditions=probed_conditions(pod, old, by_name),
    )
    return settle_status(pod, old, new, now)
