"""Access modes and capabilities in CSI's terms."""

import pytest

from pykubelet.rpc import csi_v1
from pykubelet.volumes.csi.capabilities import Capability, VolumeUse, access_mode, known, volume_capability

MODE = csi_v1.VolumeCapability.AccessMode
MULTI = frozenset({Capability.SINGLE_NODE_MULTI_WRITER})
RPC = csi_v1.NodeServiceCapability.RPC


@pytest.mark.parametrize(
    ("mode", "plain", "multi"),
    [
        ("ReadWriteOnce", MODE.SINGLE_NODE_WRITER, MODE.SINGLE_NODE_MULTI_WRITER),
        ("ReadWriteOncePod", MODE.SINGLE_NODE_WRITER, MODE.SINGLE_NODE_SINGLE_WRITER),
        ("ReadOnlyMany", MODE.MULTI_NODE_READER_ONLY, MODE.MULTI_NODE_READER_ONLY),
        ("ReadWriteMany", MODE.MULTI_NODE_MULTI_WRITER, MODE.MULTI_NODE_MULTI_WRITER),
        ("", MODE.UNKNOWN, MODE.UNKNOWN),
        ("Other", MODE.UNKNOWN, MODE.UNKNOWN),
    ],
)
def test_access_mode(mode, plain, multi):
    assert access_mode(mode, frozenset()) == plain
    assert access_mode(mode, MULTI) == multi


def test_every_capability_of_the_wire_is_known():
    assert {item.name: item.value for item in Capability} == {
        name: value for name, value in RPC.Type.items() if name != "UNKNOWN"
    }


def test_what_is_unknown_is_left_out():
    told = csi_v1.NodeGetCapabilitiesResponse()
    told.capabilities.add().rpc.type = RPC.EXPAND_VOLUME
    told.capabilities.add().rpc.type = 99
    told.capabilities.add().rpc.type = RPC.UNKNOWN
    told.capabilities.add()
    assert known(told.capabilities) == {Capability.EXPAND_VOLUME}


def test_a_file_system():
    use = VolumeUse("ReadWriteOnce", fs_type="ext4", mount_flags=("a", "b"), mount_group=0)
    made = volume_capability(use, frozenset())
    assert made == csi_v1.VolumeCapability(
        mount={"fs_type": "ext4", "mount_flags": ["a", "b"], "volume_mount_group": "0"},
        access_mode={"mode": MODE.SINGLE_NODE_WRITER},
    )


def test_nothing_said_of_the_file_system_is_still_one():
    made = volume_capability(VolumeUse("ReadWriteMany"), frozenset())
    assert made.WhichOneof("access_type") == "mount"
    assert made.mount == csi_v1.VolumeCapability.MountVolume()


def test_a_block_device_has_no_file_system():
    use = VolumeUse("ReadWriteOncePod", block=True, fs_type="ext4", mount_flags=("a",), mount_group=1)
    made = volume_capability(use, MULTI)
    assert made.WhichOneof("access_type") == "block"
    assert made.access_mode.mode == MODE.SINGLE_NODE_SINGLE_WRITER
