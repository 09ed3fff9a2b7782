"""Volumes of a driver staged and published by the plug-in, as tests of file systems do it."""

import os
import stat

import pytest
from tests.volumes.csi.kit import DRIVER, pod_of

from pykubelet.base.errors import VolumeError

POD, OTHER = pod_of("uid-1"), pod_of("uid-2")


SINGLE = {"access_mode": {"mode": "SINGLE_NODE_WRITER"}}


#: sha256("h")
H = "aaa9402664f1a41f40ebbc52c9993eb66aeb366602958fdfaa283b71e64db123"


STAGED = f"plugins/kubernetes.io/csi/{DRIVER}/{H}"


async def failure(awaitable) -> VolumeError:
    with pytest.raises(VolumeError) as caught:
        await awaitable
    return caught.value


async def told(awaitable) -> tuple[str, str]:
    error = await failure(awaitable)
    return str(error), error.left


def mode_of(path) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


async def give(node, spec, pod=POD):
    """Stage and publish."""
    if node.plugin.device(spec) is not None:
        await node.plugin.stage(spec, pod, "")
    return await node.plugin.set_up(spec, pod, again=False)


async def take(node, spec, pod=POD):
    await node.plugin.tear_down(pod.metadata.uid, spec.name, block=spec.block)
