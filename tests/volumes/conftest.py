"""What tests of volumes are given."""

import pytest
from tests.volumes.lab import Lab
from tests.volumes.managed import Node


@pytest.fixture
async def lab(tmp_path, blockbuster):
    # Its operations run on the loop, whose time is virtual.
    blockbuster.deactivate()
    made = Lab(tmp_path)
    yield made
    if made.node.manager is not None:
        await made.node.manager.stop()


@pytest.fixture
async def node(tmp_path):
    made = Node(tmp_path)
    yield made
    if made.manager is not None:
        await made.manager.stop()
