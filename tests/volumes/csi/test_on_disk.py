"""Directories as Go's kubelet leaves them, without any driver."""

import os

import pytest

from pykubelet.base.errors import VolumeError
from pykubelet.base.layout import Layout
from pykubelet.linux import mountinfo
from pykubelet.volumes.csi import on_disk
from pykubelet.volumes.csi.paths import CsiPaths
from pykubelet.volumes.plugin import Device, Found

#: sha256("h")
H = "aaa9402664f1a41f40ebbc52c9993eb66aeb366602958fdfaa283b71e64db123"
CSI = "plugins/kubernetes.io/csi"
POD = "pods/uid-1/volumes/kubernetes.io~csi"
NAME = "kubernetes.io/csi/d.io^h"


@pytest.fixture
def put(tmp_path):
    def write(directory, text):
        path = tmp_path / directory
        path.mkdir(parents=True, exist_ok=True)
        (path / "vol_data.json").write_text(text)

    return write


@pytest.fixture
def paths(tmp_path):
    return CsiPaths(Layout(root=tmp_path))


def test_a_pods_volumes(paths, put):
    put(
        f"{POD}/pv-1",
        '{"attachmentID":"csi-1","driverName":"d.io","nodeName":"n","specVolID":"pv-1",'
        '"volumeHandle":"h","volumeLifecycleMode":"Persistent"}\n',
    )
    put(
        f"{POD}/scratch",
        '{"attachmentID":"csi-2","driverName":"d.io","nodeName":"n","specVolID":"scratch",'
        '"volumeHandle":"csi-3","volumeLifecycleMode":"Ephemeral"}\n',
    )
    put(f"{CSI}/volumeDevices/pv-2/data", '{"driverName":"d.io","specVolID":"pv-2","volumeHandle":"h2"}\n')
    found = on_disk.found(paths, "uid-1", "pv-1", block=False)
    assert found == Found(Device(NAME, "pv-1"), False)
    assert found.device.name == "pv-1"
    assert on_disk.found(paths, "uid-1", "scratch", block=False) == Found(None, False)
    block = Found(Device("kubernetes.io/csi/d.io^h2", "pv-2", True), True)
    assert on_disk.found(paths, "uid-1", "pv-2", block=True) == block


def test_what_cannot_be_told(paths, put):
    for block in (False, True):
        with pytest.raises(FileNotFoundError):
            on_disk.found(paths, "uid-1", "pv-1", block=block)
    put(f"{POD}/pv-1", "{")
    with pytest.raises(VolumeError, match=r"ConstructVolumeSpec failed loading volume data .*not JSON"):
        on_disk.found(paths, "uid-1", "pv-1", block=False)
    put(f"{CSI}/volumeDevices/pv-1/data", '{"driverName":"d.io"}')
    with pytest.raises(VolumeError, match=r"ConstructBlockVolumeSpec failed .*volumeHandle: missing"):
        on_disk.found(paths, "uid-1", "pv-1", block=True)


@pytest.mark.parametrize(
    ("noted", "mounted", "label"),
    [
        (',"seLinuxMountContext":"u:r:t:s0:c1,c2"', 'rw,context="u:r:t:s0:c1,c2"', "u:r:t:s0:c1,c2"),
        # As it was given, though the kernel calls it otherwise.
        (',"seLinuxMountContext":"u:r:t:s0:c2,c1"', 'rw,context="u:r:t:s0:c1,c2",relatime', "u:r:t:s0:c2,c1"),
        ("", 'rw,context="u:r:t:s0:c1,c2"', "u:r:t:s0:c1,c2"),
        ("", "rw,seclabel", ""),
        # Nothing is mounted any more: the machine was started anew.
        (',"seLinuxMountContext":"u:r:t:s0:c1,c2"', None, None),
    ],
)
def test_with_which_label(paths, put, tmp_path, monkeypatch, noted, mounted, label):
    put(f"{POD}/pv-1", f'{{"driverName":"d.io","volumeHandle":"h"{noted}}}')
    put(f"{CSI}/d.io/{H}", f'{{"driverName":"d.io","volumeHandle":"h"{noted}}}')
    target = os.path.realpath(tmp_path / POD / "pv-1/mount")
    lines = [f"1 0 8:1 / / rw - ext4 /dev/a rw\n2 1 8:2 / {target} rw - ext4 /dev/b {mounted}\n"]
    table = mountinfo.parse(lines[0].encode() if mounted is not None else b"")
    monkeypatch.setattr(mountinfo, "read_below", lambda top: mountinfo.mounts_below(table, top))
    assert on_disk.found(paths, "uid-1", "pv-1", block=False, labels=True).device.label == label
    (device,) = on_disk.devices(paths, labels=True)
    assert device.label == ("u:r:t:s0:c" + noted.split(":c")[1].removesuffix('"') if noted else "")
    # Where SELinux is off nobody looks.
    monkeypatch.setattr(mountinfo, "read_below", None)
    assert on_disk.found(paths, "uid-1", "pv-1", block=False).device.label is None
    assert {each.label for each in on_disk.devices(paths)} == {None}


def test_devices(paths, put, tmp_path, caplog):
    assert on_disk.devices(paths) == frozenset()
    put(f"{CSI}/d.io/{H}", '{"driverName":"d.io","volumeHandle":"h"}\n')
    put(f"{CSI}/volumeDevices/pv-2/data", '{"driverName":"d.io","specVolID":"pv-2","volumeHandle":"h2"}\n')
    (tmp_path / f"{CSI}/volumeDevices/staging/pv-2").mkdir(parents=True)
    (tmp_path / f"{CSI}/volumeDevices/publish/pv-2").mkdir(parents=True)
    # A driver that does not stage.
    (tmp_path / f"{CSI}/e.io/{H}/globalmount").mkdir(parents=True)
    expected = {Device(NAME, ""), Device("kubernetes.io/csi/d.io^h2", "pv-2", True)}
    assert on_disk.devices(paths) == expected
    assert not caplog.records
    # The layout before Kubernetes 1.24, and what is damaged: told, and left alone.
    put(f"{CSI}/pv/pv-9", '{"driverName":"d.io","volumeHandle":"h9"}\n')
    put(f"{CSI}/d.io/0123", "")
    put(f"{CSI}/volumeDevices/pv-3/data", "[]")
    assert on_disk.devices(paths) == expected
    assert len(caplog.records) == 3
