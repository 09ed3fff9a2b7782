"""What a node tells about itself when it starts."""

import asyncio

import pytest
import pytest_asyncio
from tests.integration.node import running_node

from pykubelet.linux.cgroup_discovery import discover

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(containerd, tmp_path_factory):
    async with running_node(tmp_path_factory.mktemp("start"), containerd) as made:
        yield made


async def test_a_node_on_cgroup_v1_is_told_what_becomes_of_it(node):
    if (await asyncio.to_thread(discover)).version != 1:
        pytest.skip("needs a host on cgroup v1")
    told = await node.until(lambda: node.node_events("CgroupV1"))
    assert [event.text[:24] for event in told] == ["cgroup v1 detected. cgro"]
    assert node.node_events("Starting")
