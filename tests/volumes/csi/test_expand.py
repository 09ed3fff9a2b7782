import pytest
from tests.volumes.csi.kit import DRIVER, claimed, pod_of

from pykubelet.api.quantity import Quantity
from pykubelet.api.storage import SecretReference
from pykubelet.base.errors import ExpandError, VolumeError

pytestmark = pytest.mark.integration

POD, SIZE = pod_of(), Quantity.parse("16Mi")


async def give(node, spec):
    node.objects.has_driver()
    await node.plugin.stage(spec, POD, "")
    return await node.plugin.set_up(spec, POD, again=False)


async def test_a_file_system_grows(node):
    node.objects.has_secret("vault", "s", key="value")
    spec = claimed(
        fsType="tmpfs", volumeAttributes={"size": "8388608"}, options=["noatime"], modes=["ReadWriteMany"],
        nodeExpandSecretRef=SecretReference(name="s", namespace="vault"),
    )  # fmt: skip
    mounted = await give(node, spec)
    await node.plugin.expand(spec, pod_of(group=7), SIZE)
    assert node.sent("NodeExpandVolume") == {
        "volume_id": "h",
        "volume_path": mounted.host_path,
        "capacity_range": {"required_bytes": "16777216"},
        "staging_target_path": node.paths.staging(DRIVER, "h"),
        "volume_capability": {
            "mount": {"fs_type": "tmpfs", "mount_flags": ["noatime"]},
            "access_mode": {"mode": "MULTI_NODE_MULTI_WRITER"},
        },
        "secrets": {"key": "value"},
    }
    assert node.plugin.expandable


async def test_a_device_grows(node):
    spec = claimed(block=True, volumeAttributes={"size": "1048576"})
    await give(node, spec)
    await node.plugin.expand(spec, POD, SIZE)
    sent = node.sent("NodeExpandVolume")
    assert sent["volume_path"] == node.paths.block_target("uid-1", "pv-1")
    assert sent["staging_target_path"] == node.paths.block_staging("pv-1")
    assert sent["volume_capability"] == {"block": {}, "access_mode": {"mode": "SINGLE_NODE_WRITER"}}


SAID = "Expander.NodeExpand failed to expand the volume"


@pytest.mark.parametrize(
    ("code", "hindrance", "left", "told"),
    [
        ("FAILED_PRECONDITION", "in use", "nothing", ": rpc error: code = FailedPrecondition"),
        ("INVALID_ARGUMENT", "infeasible", "nothing", "rpc error: code = InvalidArgument"),
        ("OUT_OF_RANGE", "infeasible", "nothing", "rpc error: code = OutOfRange"),
        ("NOT_FOUND", "infeasible", "nothing", "rpc error: code = NotFound"),
        ("INTERNAL", "failed", "nothing", ": rpc error: code = Internal"),
        ("UNAVAILABLE", "failed", "something", ": rpc error: code = Unavailable"),
        ("ABORTED", "failed", "something", ": rpc error: code = Aborted"),
    ],
)
async def test_why_it_does_not_grow(node, code, hindrance, left, told):
    node.driver.fault("NodeExpandVolume", code)
    with pytest.raises(ExpandError) as caught:
        await node.plugin.expand(claimed(), POD, SIZE)
    assert (str(caught.value), caught.value.hindrance, caught.value.left) == (
        f"{SAID} {told} desc = injected",
        hindrance,
        left,
    )


async def test_a_driver_that_grows_nothing(node):
    node.driver.files.set(capabilities=[])
    with pytest.raises(ExpandError) as caught:
        await node.plugin.expand(claimed(), POD, SIZE)
    assert str(caught.value) == f"NodeExpand is not supported by the CSI driver {DRIVER}"
    assert (caught.value.hindrance, caught.value.left) == ("unsupported", "nothing")


async def test_what_fails_before_the_driver_is_asked(node):
    async def told(spec):
        with pytest.raises(VolumeError) as caught:
            await node.plugin.expand(spec, POD, SIZE)
        assert not isinstance(caught.value, ExpandError)
        assert caught.value.left == "unchanged"
        return str(caught.value)

    spec = claimed(nodeExpandSecretRef=SecretReference(name="s", namespace="vault"))
    assert (await told(spec)).startswith(
        "expander.NodeExpand failed to get NodeExpandSecretRef vault/s: kubernetes.io/csi: failed to find"
    )
    node.driver.fault("NodeGetCapabilities", "INTERNAL")
    assert (await told(spec)).startswith(
        "Expander.NodeExpand failed to check if node supports expansion : rpc"
    )
    del node.clients.endpoints[DRIVER]
    assert await told(spec) == f"driver name {DRIVER} not found in the list of registered CSI drivers"
    assert node.plugin.registered(DRIVER) == {"uid-1"}
