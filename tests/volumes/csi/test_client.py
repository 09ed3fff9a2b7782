"""Calls to a driver: what goes over the wire, what comes back, what is counted."""

import logging

import grpc
import pytest
from tests.csidriver.fake import NODE, FakeNode
from tests.csidriver.serving import SocketServer

from pykubelet.base.clock import SystemClock
from pykubelet.base.metrics import Metrics
from pykubelet.rpc import csi_v1
from pykubelet.rpc.channel import connect
from pykubelet.rpc.errors import Code
from pykubelet.volumes.csi import (
    Capability,
    CsiClient,
    CsiError,
    CsiMetrics,
    NodeInfo,
    VolumeStats,
    VolumeUse,
)
from pykubelet.volumes.csi.client import Condition, Usage

USE = VolumeUse("ReadWriteOnce", fs_type="ext4", mount_flags=("noatime",), mount_group=7)
MODE = csi_v1.VolumeCapability.AccessMode
SECRET = "swordfish"


@pytest.fixture
async def node(tmp_path):
    made = FakeNode()
    async with SocketServer(tmp_path / "csi.sock", (NODE, made)):
        yield made


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def client(tmp_path, metrics):
    return CsiClient(
        "a.example", str(tmp_path / "csi.sock"), clock=SystemClock(), metrics=CsiMetrics(metrics), timeout=10
    )


async def refused(awaitable) -> CsiError:
    with pytest.raises(CsiError) as caught:
        await awaitable
    return caught.value


def counted(metrics: Metrics, code: str, method: str, migrated: str = "false") -> bool:
    labels = f'driver_name="a.example",grpc_status_code="{code}",method_name="/csi.v1.Node/{method}"'
    return f'csi_operations_seconds_count{{{labels},migrated="{migrated}"}} 1.0' in metrics.render().decode()


async def test_node_info(node, client, metrics):
    node.answers["NodeGetInfo"] = csi_v1.NodeGetInfoResponse(
        node_id="n1", max_volumes_per_node=4, accessible_topology={"segments": {"zone": "a"}}
    )
    assert await client.node_get_info() == NodeInfo("n1", 4, {"zone": "a"})
    assert counted(metrics, "OK", "NodeGetInfo")


async def test_a_driver_may_be_silent_as_long_as_with_upstream(node, client, monkeypatch):
    given = []

    def noting(endpoint, attempt):
        given.append(attempt)
        return connect(endpoint, attempt)

    monkeypatch.setattr("pykubelet.volumes.csi.client.connect", noting)
    await client.node_get_info()
    assert given == [20]


async def test_node_info_without_anything(node, client):
    assert await client.node_get_info() == NodeInfo("")


async def test_capabilities_are_asked_anew(node, client):
    assert await client.node_get_capabilities() == frozenset()
    told = csi_v1.NodeGetCapabilitiesResponse()
    told.capabilities.add().rpc.type = csi_v1.NodeServiceCapability.RPC.EXPAND_VOLUME
    node.answers["NodeGetCapabilities"] = told
    assert await client.node_get_capabilities() == {Capability.EXPAND_VOLUME}


async def test_stage(node, client):
    await client.node_stage_volume(
        "v", "/staging", USE, frozenset(),
        publish_context={"p": "1"}, volume_context={"c": "2"}, secrets={"s": SECRET},
    )  # fmt: skip
    assert node.requests == [
        csi_v1.NodeStageVolumeRequest(
            volume_id="v",
            staging_target_path="/staging",
            volume_capability={
                "mount": {"fs_type": "ext4", "mount_flags": ["noatime"], "volume_mount_group": "7"},
                "access_mode": {"mode": MODE.SINGLE_NODE_WRITER},
            },
            publish_context={"p": "1"},
            volume_context={"c": "2"},
            secrets={"s": SECRET},
        )
    ]


async def test_publish(node, client):
    await client.node_publish_volume(
        "v", "/target", VolumeUse("ReadWriteOncePod", block=True),
        frozenset({Capability.SINGLE_NODE_MULTI_WRITER}), staging_path="/staging", readonly=True,
        publish_context={"p": "1"}, volume_context={"c": "2"}, secrets={"s": SECRET},
    )  # fmt: skip
    assert node.requests == [
        csi_v1.NodePublishVolumeRequest(
            volume_id="v",
            staging_target_path="/staging",
            target_path="/target",
            volume_capability={"block": {}, "access_mode": {"mode": MODE.SINGLE_NODE_SINGLE_WRITER}},
            readonly=True,
            publish_context={"p": "1"},
            volume_context={"c": "2"},
            secrets={"s": SECRET},
        )
    ]


async def test_undoing(node, client):
    await client.node_unpublish_volume("v", "/target")
    await client.node_unstage_volume("v", "/staging")
    assert node.requests == [
        csi_v1.NodeUnpublishVolumeRequest(volume_id="v", target_path="/target"),
        csi_v1.NodeUnstageVolumeRequest(volume_id="v", staging_target_path="/staging"),
    ]


async def test_expand(node, client):
    node.answers["NodeExpandVolume"] = csi_v1.NodeExpandVolumeResponse(capacity_bytes=99)
    use = VolumeUse("ReadWriteOnce", fs_type="xfs")
    size = await client.node_expand_volume(
        "v", "/t", 42, use, frozenset(), staging_path="/s", secrets={"s": SECRET}
    )
    assert size == 99
    assert node.requests == [
        csi_v1.NodeExpandVolumeRequest(
            volume_id="v",
            volume_path="/t",
            staging_target_path="/s",
            capacity_range={"required_bytes": 42},
            volume_capability={"mount": {"fs_type": "xfs"}, "access_mode": {"mode": MODE.SINGLE_NODE_WRITER}},
            secrets={"s": SECRET},
        )
    ]


async def test_stats(node, client):
    told = csi_v1.NodeGetVolumeStatsResponse(volume_condition={"abnormal": True, "message": "ill"})
    told.usage.add(available=1, total=3, used=2, unit=csi_v1.VolumeUsage.BYTES)
    told.usage.add(available=4, total=9, used=5, unit=csi_v1.VolumeUsage.INODES)
    told.usage.add(available=7, unit=csi_v1.VolumeUsage.UNKNOWN)
    node.answers["NodeGetVolumeStats"] = told
    assert await client.node_get_volume_stats("v", "/t") == VolumeStats(Usage(1, 3, 2), Usage(4, 9, 5))
    seen = await client.node_get_volume_stats("v", "/t", condition=True)
    assert seen.condition == Condition(True, "ill")


async def test_stats_that_tell_nothing(node, client):
    error = await refused(client.node_get_volume_stats("v", "/t"))
    assert error.message == "failed to get usage from response. usage is nil"
    assert await client.node_get_volume_stats("v", "/t", condition=True) == VolumeStats(
        condition=Condition(False, "")
    )


async def test_the_drivers_refusal(node, client, metrics):
    node.answers["NodeUnpublishVolume"] = (grpc.StatusCode.INTERNAL, "disk on fire")
    error = await refused(client.node_unpublish_volume("v", "/t"))
    assert str(error) == "rpc error: code = Internal desc = disk on fire"
    assert error.final
    assert counted(metrics, "Internal", "NodeUnpublishVolume")


async def test_a_driver_that_hangs(node, tmp_path, metrics):
    node.answers["NodeUnpublishVolume"] = "hang"
    client = CsiClient("a.example", str(tmp_path / "csi.sock"), clock=SystemClock(), timeout=0.2)
    error = await refused(client.node_unpublish_volume("v", "/t"))
    assert str(error) == "rpc error: code = DeadlineExceeded desc = context deadline exceeded"
    assert error.uncertain


async def test_a_driver_that_is_away_and_comes_back(client, tmp_path, metrics):
    error = await refused(client.node_get_info())
    assert error.code is Code.Unavailable
    assert error.uncertain
    assert counted(metrics, "Unavailable", "NodeGetInfo")
    # At once: no back-off is left behind.
    async with SocketServer(tmp_path / "csi.sock", (NODE, FakeNode())):
        assert await client.node_get_info() == NodeInfo("")


async def test_migrated_volumes_are_counted_apart(node, tmp_path, metrics):
    client = CsiClient(
        "a.example", f"unix://{tmp_path}/csi.sock", clock=SystemClock(), metrics=CsiMetrics(metrics),
        migrated=True,
    )  # fmt: skip
    await client.node_unpublish_volume("v", "/t")
    assert counted(metrics, "OK", "NodeUnpublishVolume", "true")


async def test_nothing_is_sent_without_a_name(node, client):
    context = {"publish_context": {}, "volume_context": {}, "secrets": {}}
    for call, text in (
        (client.node_stage_volume("", "/s", USE, frozenset(), **context), "missing volume id"),
        (client.node_stage_volume("v", "", USE, frozenset(), **context), "missing staging target path"),
        (client.node_unstage_volume("v", ""), "missing staging target path"),
        (client.node_unpublish_volume("", "/t"), "missing volume id"),
        (client.node_unpublish_volume("v", ""), "missing target path"),
        (client.node_get_volume_stats("v", ""), "missing target path"),
        (
            client.node_publish_volume("v", "", USE, frozenset(), staging_path="", readonly=False, **context),
            "missing target path",
        ),
        (
            client.node_expand_volume("v", "", 1, USE, frozenset(), staging_path="", secrets={}),
            "missing volume path",
        ),
        (
            client.node_expand_volume("v", "/t", -1, USE, frozenset(), staging_path="", secrets={}),
            "size can not be less than 0",
        ),
    ):
        with pytest.raises(ValueError, match=text):
            await call
    assert node.requests == []


def test_an_endpoint_that_is_no_socket():
    with pytest.raises(ValueError, match="only support unix socket endpoint"):
        CsiClient("a.example", "tcp://1.2.3.4:5", clock=SystemClock())


async def test_no_secret_in_logs_or_errors(node, client, caplog):
    caplog.set_level(logging.DEBUG)
    node.answers["NodeStageVolume"] = (grpc.StatusCode.INTERNAL, "no")
    error = await refused(
        client.node_stage_volume(
            "v", "/s", USE, frozenset(), publish_context={}, volume_context={}, secrets={"k": SECRET}
        )
    )
    assert SECRET not in f"{error!r} {error.args} {client!r} {vars(client)} {caplog.text}"
