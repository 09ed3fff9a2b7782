"""A CSI driver in a process of its own comes, is killed, comes back and goes; the node follows."""

import asyncio

import pytest
from tests.csidriver.driver import CsiDriver, DriverProcess

from pykubelet.base.clock import SystemClock
from pykubelet.base.journal import NullJournal
from pykubelet.base.metrics import Metrics
from pykubelet.rpc.plugins import PluginManager
from pykubelet.volumes.csi import CsiMetrics, Drivers, NodeInfo
from pykubelet.volumes.csi.drivers import PLUGIN_TYPE

pytestmark = pytest.mark.integration

NAME = "driver.example"


class Cluster:
    """What the cluster is told."""

    def __init__(self) -> None:
        self.told: list[tuple] = []

    async def install(self, driver, node_id, max_volumes, topology):
        self.told.append(("install", driver, node_id, max_volumes, dict(topology)))

    async def uninstall(self, driver):
        self.told.append(("uninstall", driver))


@pytest.fixture
def registry(tmp_path):
    made = tmp_path / "r"
    made.mkdir()
    return made


@pytest.fixture
def cluster():
    return Cluster()


@pytest.fixture
async def drivers(registry, cluster):
    metrics, clock = Metrics(), SystemClock()
    made = Drivers(cluster, clock=clock, journal=NullJournal(), metrics=CsiMetrics(metrics))
    manager = PluginManager(registry, clock=clock, journal=NullJournal(), metrics=metrics)
    manager.add_handler(PLUGIN_TYPE, made)
    await manager.start()
    yield made
    await manager.stop()


async def until(condition) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def told(driver: CsiDriver) -> list[dict]:
    return [dict(call.request) for call in driver.calls("NotifyRegistrationStatus")]


async def test_a_drivers_life(tmp_path, registry, drivers, cluster):
    settings = {"node_id": "n1", "max_volumes": 4, "topology": {"zone": "a"}}
    async with DriverProcess(tmp_path / "d", registry, **settings) as process:
        driver = process.driver
        await until(lambda: told(driver) == [{"plugin_registered": True}])
        assert cluster.told == [("install", NAME, "n1", 4, {"zone": "a"})]
        assert await drivers.client(NAME).node_get_info() == NodeInfo("n1", 4, {"zone": "a"})
        # Killed: its socket stays, so it is still registered, as upstream has it.
        await process.kill()
        assert NAME in drivers.registered
        driver.files.set(max_volumes=5)
        await process.start()
        await until(lambda: len(told(driver)) == 2)
        assert cluster.told[1:] == [("uninstall", NAME), ("install", NAME, "n1", 5, {"zone": "a"})]
        await process.stop()
        await until(lambda: not drivers.registered)
        await until(lambda: cluster.told[-1] == ("uninstall", NAME))


async def test_a_second_driver_of_that_name(tmp_path, registry, drivers):
    (registry / "o").mkdir()
    async with CsiDriver(tmp_path / "a", registry, versions=["1.0.0"]) as old:
        await until(lambda: told(old))
        async with CsiDriver(tmp_path / "b", registry / "o", versions=["1.0.0"]) as new:
            await until(lambda: told(new))
            assert "Another driver with the same name is already registered" in told(new)[0]["error"]
            new.files.set(versions=["1.5.0"])
            await until(lambda: {"plugin_registered": True} in told(new))
            assert drivers.registered[NAME].endpoint == new.endpoint
        await until(lambda: not drivers.registered)


async def test_a_driver_that_is_not_ready_yet(tmp_path, registry, drivers, cluster):
    driver = CsiDriver(tmp_path / "a", registry)
    driver.fault("NodeGetInfo", "UNAVAILABLE", message="starting", times=1)
    async with driver:
        await until(lambda: {"plugin_registered": True} in told(driver))
    error = told(driver)[0]["error"]
    assert error == (
        "RegisterPlugin error -- plugin registration failed with err: "
        "rpc error: code = Unavailable desc = starting"
    )
    assert [what for what, *_ in cluster.told[:2]] == ["uninstall", "install"]
