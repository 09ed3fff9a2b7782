"""A volume that grew behind its file system: the driver lets the node see it."""

import os
from typing import Final

from pykubelet.api.core import Pod
from pykubelet.api.quantity import Quantity
from pykubelet.base.errors import ExpandError, Left

from ..spec import VolumeSpec
from . import context
from .capabilities import Capability, VolumeUse
from .errors import CsiError
from .means import Means, capabilities
from .source import persistent

_FAILED: Final = "Expander.NodeExpand failed to"


async def expand(means: Means, spec: VolumeSpec, pod: Pod, size: Quantity) -> None:
    """Let the volume have its new *size*.

    :raises ExpandError: the driver does not do it.
    :raises VolumeError: it could not even be asked.
    """
    pv, source = persistent(spec)
    client = means.client(source.driver, "", migrated=spec.migrated)
    can = await capabilities(client, f"{_FAILED} check if node supports expansion : ")
    if Capability.EXPAND_VOLUME not in can:
        text = f"NodeExpand is not supported by the CSI driver {source.driver}"
        raise ExpandError(text, "unsupported", left="nothing")
    secrets = await means.credentials(
        source.nodeExpandSecretRef, "expander.NodeExpand failed to get NodeExpandSecretRef {}"
    )
    paths, uid, mode = means.paths, pod.metadata.uid, context.access_mode(pv.spec.accessModes)
    if spec.block:
        use = VolumeUse(access_mode=mode, block=True)
        path = await means.off_loop(lambda: os.path.realpath(paths.block_target(uid, spec.name)))
        staging = paths.block_staging(spec.name)
    else:
        use = VolumeUse(access_mode=mode, fs_type=source.fsType, mount_flags=tuple(pv.spec.mountOptions))
        path, staging = paths.target(uid, spec.name), paths.staging(source.driver, source.volumeHandle)
    try:
        await client.node_expand_volume(
            source.volumeHandle, path, size.value(), use, can, staging_path=staging, secrets=secrets
        )
    except CsiError as error:
        raise _explained(error) from error


def _explained(error: CsiError) -> ExpandError:
    left: Left = "nothing" if error.final else "something"
    if error.in_use:
        return ExpandError(f"{_FAILED} expand the volume : {error}", "in use", left=left)
    if error.infeasible:
        return ExpandError(f"{_FAILED} expand the volume {error}", "infeasible", left=left)
    return ExpandError(f"{_FAILED} expand the volume : {error}", left=left)
