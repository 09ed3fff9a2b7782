"""The fixture ``cluster``; a conftest that wants it imports it."""

from collections.abc import AsyncIterator

import pytest
from tests.apiserver.cluster import Cluster, a_cluster


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    """The cluster to test against, see ``tests/apiserver/cluster.py``."""
    async with a_cluster() as made:
        yield made
