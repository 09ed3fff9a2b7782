"""The client on a real containerd keeps the same contract as the in-memory runtime."""

import pytest
from tests.cri.contract import Contract, Lab

from pykubelet.base.clock import SystemClock
from pykubelet.cli.up.images import BUSYBOX
from pykubelet.cri.client import CriClient


@pytest.fixture
async def lab(containerd, cgroup_parent, tmp_path):
    client = CriClient(containerd.endpoint, clock=SystemClock())
    made = Lab(client, BUSYBOX, cgroup_parent, str(tmp_path))
    yield made
    for sandbox in await client.list_sandboxes(labels={"io.kubernetes.pod.uid": made.uid}):
        await client.stop_sandbox(sandbox.id)
        await client.remove_sandbox(sandbox.id)
    await client.close()


class TestContainerd(Contract):
    """The contract, for real."""
