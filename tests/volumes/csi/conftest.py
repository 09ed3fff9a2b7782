"""A node with a driver that serves, for every test of CSI that wants one."""

import asyncio
from pathlib import Path

import pytest
from tests.csidriver import disk
from tests.csidriver.driver import CsiDriver
from tests.volumes.csi.kit import Node

from pykubelet.linux import loop


@pytest.fixture
async def node(tmp_path, mount_area):
    root = tmp_path / "d"
    async with CsiDriver(root) as driver:
        node = Node(mount_area, driver)
        yield node
    # Devices that a test left mapped are held by loop devices of our own.
    for path in Path(node.paths.devices).glob("*/dev/*"):
        await asyncio.to_thread(loop.release, str(path))
    disk.clean_up(root, mount_area)
