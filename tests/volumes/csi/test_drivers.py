"""Registration of CSI drivers: what is accepted, what the cluster is told, what a failure leaves."""

import asyncio

import grpc
import pytest
from tests.csidriver.fake import NODE, FakeNode
from tests.csidriver.serving import SocketServer

from pykubelet.base.clock import SystemClock
from pykubelet.base.errors import VolumeError
from pykubelet.base.journal import NullJournal
from pykubelet.rpc import csi_v1
from pykubelet.rpc.plugins import PluginRefusedError
from pykubelet.volumes.csi.client import NodeInfo
from pykubelet.volumes.csi.drivers import Drivers
from pykubelet.volumes.csi.errors import DriverNotFoundError

NAME = "a.example"


class Sink:
    """The cluster: what was told it, and errors to come."""

    def __init__(self) -> None:
        self.told: list[tuple] = []
        self.errors: list[VolumeError] = []

    async def install(self, driver, node_id, max_volumes, topology):
        self.told.append(("install", driver, node_id, max_volumes, dict(topology)))
        await asyncio.sleep(0)
        if self.errors:
            raise self.errors.pop(0)

    async def uninstall(self, driver):
        self.told.append(("uninstall", driver))
        await asyncio.sleep(0)
        if self.errors:
            raise self.errors.pop(0)


@pytest.fixture
def sink():
    return Sink()


@pytest.fixture
def drivers(sink):
    return Drivers(sink, clock=SystemClock(), journal=NullJournal(), timeout=10)


@pytest.fixture
async def serve(tmp_path):
    """Start a driver at a new endpoint."""
    servers = []

    async def start(name: str, node_id: str = "n1", limit: int = 0, **topology: str):
        node = FakeNode()
        tell(node, node_id, limit, **topology)
        server = SocketServer(tmp_path / name, (NODE, node))
        servers.append(await server.__aenter__())
        return str(tmp_path / name), node

    yield start
    for server in servers:
        await server.__aexit__()


def tell(node: FakeNode, node_id: str, limit: int = 0, **topology: str) -> None:
    node.answers["NodeGetInfo"] = csi_v1.NodeGetInfoResponse(
        node_id=node_id, max_volumes_per_node=limit, accessible_topology={"segments": topology}
    )


async def test_a_driver_comes_and_goes(drivers, sink, serve):
    endpoint, _ = await serve("s", limit=4, zone="a")
    with pytest.raises(DriverNotFoundError, match=r"driver name a\.example not found"):
        drivers.client(NAME)
    drivers.validate(NAME, endpoint, ["1.0.0"])
    await drivers.register(NAME, endpoint, ["1.0.0"])
    assert sink.told == [("install", NAME, "n1", 4, {"zone": "a"})]
    assert await drivers.client(NAME).node_get_info() == NodeInfo("n1", 4, {"zone": "a"})
    assert drivers.registered[NAME].node == NodeInfo("n1", 4, {"zone": "a"})
    await drivers.deregister(NAME, endpoint)
    assert sink.told[1:] == [("uninstall", NAME)]
    assert drivers.registered == {}
    await drivers.deregister(NAME, endpoint)
    assert len(sink.told) == 2


async def test_a_socket_that_told_of_an_earlier_driver_does_not_count_against_this_one(drivers, serve):
    old, _ = await serve("old")
    new, _ = await serve("new")
    await drivers.register(NAME, old, ["1.0.0"])
    await drivers.register(NAME, new, ["1.1.0"])
    await drivers.deregister(NAME, new)
    assert drivers.registered == {}
    await drivers.register(NAME, new, ["1.1.0"])
    # The first one is let go, comes back higher, and must survive the other.
    await drivers.deregister(NAME, old)
    await drivers.register(NAME, old, ["1.2.0"])
    await drivers.deregister(NAME, new)
    assert drivers.registered[NAME].endpoint == old


@pytest.mark.parametrize(
    ("name", "endpoint", "versions", "text"),
    [
        (NAME, "/s", [], "Plugin returned an empty list for supported versions"),
        (NAME, "/s", ["0.3.0"], r'None of the versions specified \["0.3.0"\] are supported. err=highest'),
        (NAME, "/s", ["2.0.0"], "are supported. err=could not find a highest supported version"),
        (NAME, "tcp://a:1", ["1.0.0"], "only support unix socket endpoint"),
        ("", "/s", ["1.0.0"], "driver name is empty"),
    ],
)
def test_refused(drivers, name, endpoint, versions, text):
    with pytest.raises(PluginRefusedError, match=text) as caught:
        drivers.validate(name, endpoint, versions)
    assert str(caught.value).startswith(f"validation failed for CSI Driver {name} at endpoint {endpoint}: ")


async def test_only_a_higher_version_replaces(drivers, sink, serve):
    old, _ = await serve("old")
    new, _ = await serve("new", "n2")
    await drivers.register(NAME, old, ["1.1.0"])
    for versions in (["1.0.0"], ["1.1.0"], ["1.1"]):
        with pytest.raises(PluginRefusedError, match="already registered with a higher supported version"):
            drivers.validate(NAME, new, versions)
    drivers.validate(NAME, new, ["1.2.0"])
    await drivers.register(NAME, new, ["1.2.0"])
    assert drivers.registered[NAME].endpoint == new
    assert sink.told[-1] == ("install", NAME, "n2", 0, {})
    # The old one's socket goes: the new one stays.
    await drivers.deregister(NAME, old)
    assert drivers.registered[NAME].endpoint == new
    await drivers.deregister(NAME, new)
    assert drivers.registered == {}


async def test_two_sockets_that_tell_of_one_endpoint(drivers, serve):
    endpoint, _ = await serve("s")
    await drivers.register(NAME, endpoint, ["1.0.0"])
    await drivers.register(NAME, endpoint, ["1.1.0"])
    await drivers.deregister(NAME, endpoint)
    assert drivers.registered[NAME].version == (1, 1, 0)
    await drivers.deregister(NAME, endpoint)
    assert drivers.registered == {}


async def test_a_driver_that_cannot_tell_is_not_kept(drivers, sink, serve):
    endpoint, node = await serve("s")
    node.answers["NodeGetInfo"] = (grpc.StatusCode.INTERNAL, "not yet")
    with pytest.raises(PluginRefusedError, match="rpc error: code = Internal desc = not yet"):
        await drivers.register(NAME, endpoint, ["1.0.0"])
    assert drivers.registered == {}
    assert sink.told == [("uninstall", NAME)]


async def test_a_driver_that_names_no_node(drivers, sink, serve):
    endpoint, _ = await serve("s", "")
    with pytest.raises(PluginRefusedError, match="driverNodeID must not be empty"):
        await drivers.register(NAME, endpoint, ["1.0.0"])
    assert drivers.registered == {}


async def test_the_cluster_refuses(drivers, sink, serve):
    endpoint, _ = await serve("s")
    sink.errors = [VolumeError("label zone is b"), VolumeError("still away")]
    with pytest.raises(PluginRefusedError, match="label zone is b"):
        await drivers.register(NAME, endpoint, ["1.0.0"])
    assert drivers.registered == {}
    assert [what for what, *_ in sink.told] == ["install", "uninstall"]


@pytest.mark.parametrize("cluster", [False, True])
async def test_a_failed_replacement_leaves_the_old_one(drivers, sink, serve, cluster):
    old, _ = await serve("old")
    new, node = await serve("new", "n2")
    await drivers.register(NAME, old, ["1.1.0"])
    if cluster:
        sink.errors = [VolumeError("no")]
    else:
        node.answers["NodeGetInfo"] = (grpc.StatusCode.UNAVAILABLE, "no")
    with pytest.raises(PluginRefusedError):
        await drivers.register(NAME, new, ["1.2.0"])
    assert drivers.registered[NAME].endpoint == old
    assert sink.told[-1] == ("install", NAME, "n1", 0, {})
    await drivers.deregister(NAME, old)
    assert drivers.registered == {}


async def test_known_while_it_is_asked(drivers, serve):
    endpoint, node = await serve("s")
    node.answers["NodeGetInfo"] = "hang"
    drivers._timeout = 0.5
    task = asyncio.create_task(drivers.register(NAME, endpoint, ["1.0.0"]))  # noqa: TID251
    while not drivers.registered:
        await asyncio.sleep(0)
    assert drivers.client(NAME).endpoint == endpoint
    with pytest.raises(PluginRefusedError, match="DeadlineExceeded"):
        await task
    assert drivers.registered == {}


async def test_refresh(drivers, sink, serve):
    endpoint, node = await serve("s", limit=4)
    with pytest.raises(VolumeError, match="failed to create CSI client for driver"):
        await drivers.refresh(NAME)
    await drivers.register(NAME, endpoint, ["1.0.0"])
    await drivers.refresh(NAME)
    assert len(sink.told) == 1
    tell(node, "n1", 3)
    await drivers.refresh(NAME)
    assert sink.told[-1] == ("install", NAME, "n1", 3, {})
    tell(node, "n1", 2)
    sink.errors = [VolumeError("no")]
    with pytest.raises(VolumeError, match="failed to update driver"):
        await drivers.refresh(NAME)
    # Not told, so told the next time.
    await drivers.refresh(NAME)
    assert drivers.registered[NAME].node == NodeInfo("n1", 2)
    node.answers["NodeGetInfo"] = (grpc.StatusCode.INTERNAL, "no")
    with pytest.raises(VolumeError, match="failed to get NodeGetInfo from driver"):
        await drivers.refresh(NAME)


async def test_a_driver_that_goes_while_it_is_asked_again(drivers, sink, serve):
    endpoint, _ = await serve("s")
    await drivers.register(NAME, endpoint, ["1.0.0"])
    task = asyncio.create_task(drivers.refresh(NAME))  # noqa: TID251
    await asyncio.sleep(0)
    await drivers.deregister(NAME, endpoint)
    await task
    assert sink.told[-1] == ("uninstall", NAME)
