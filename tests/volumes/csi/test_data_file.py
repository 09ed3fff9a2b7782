import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.volumes.csi import data_file
from pykubelet.volumes.csi.data_file import DataError, VolumeData

POD = VolumeData("d.io", "h", "pv-1", "node-1", "csi-abc", "Persistent")
#: What Go's kubelet wrote.
GOLDEN = (
    '{"attachmentID":"csi-abc","driverName":"d.io","nodeName":"node-1","specVolID":"pv-1",'
    '"volumeHandle":"h","volumeLifecycleMode":"Persistent"}\n'
)


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (POD, GOLDEN),
        (VolumeData("d.io", "h"), '{"driverName":"d.io","volumeHandle":"h"}\n'),
        (
            VolumeData("d.io", "a<b>&", selinux="system_u:object_r:x:s0:c1,c2"),
            '{"driverName":"d.io","seLinuxMountContext":"system_u:object_r:x:s0:c1,c2",'
            '"volumeHandle":"a\\u003cb\\u003e\\u0026"}\n',
        ),
        (
            VolumeData("d.io", "h", "pv-1", "node-1", "csi-abc"),
            '{"attachmentID":"csi-abc","driverName":"d.io","nodeName":"node-1","specVolID":"pv-1",'
            '"volumeHandle":"h"}\n',
        ),
    ],
    ids=["pod", "staged", "selinux", "block"],
)
def test_the_text_is_gos(data, text):
    assert data_file.encode(data) == text
    assert data_file.decode(text.encode()) == data


_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)


@given(driver=_text, handle=_text, name=st.none() | st.text(st.characters(exclude_categories=["Cs"])))
def test_what_is_written_is_read(driver, handle, name):
    data = VolumeData(driver, handle, name)
    assert data_file.decode(data_file.encode(data).encode()) == data


@given(st.binary())
def test_any_bytes_are_read_or_refused(text):
    try:
        data_file.decode(text)
    except DataError:
        return


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "not JSON"),
        (b'{"driverName":"d"', "not JSON"),
        (b"[" * 100000, "nested too deep"),
        (b"\xff", "not JSON"),
        (b"[]", "expected an object, found list"),
        (b'{"volumeHandle":"h"}', "driverName: missing"),
        (b'{"driverName":"","volumeHandle":"h"}', "driverName: missing"),
        (b'{"driverName":"d"}', "volumeHandle: missing"),
        (b'{"driverName":"d","volumeHandle":null}', "volumeHandle: missing"),
        (b'{"driverName":"d","volumeHandle":7}', "volumeHandle: expected a string, found int"),
        (b'{"driverName":"d","volumeHandle":"h","nodeName":{}}', "nodeName: expected a string, found dict"),
    ],
)
def test_a_damaged_file_is_told_by_its_field(text, problem):
    with pytest.raises(DataError, match=problem):
        data_file.decode(text)


def test_what_a_newer_kubelet_adds_is_passed():
    assert data_file.decode(b' {"driverName":"d","volumeHandle":"h","new":{"a":1}} x') == VolumeData("d", "h")


def test_it_is_written_in_one_step_and_only_when_it_changes(tmp_path):
    path = tmp_path / "vol_data.json"
    (tmp_path / ".vol_data.json.0123abcd").touch()
    data_file.save(str(tmp_path), POD)
    assert os.listdir(tmp_path) == ["vol_data.json"]
    assert path.read_text() == GOLDEN
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    before = path.stat().st_ino
    data_file.save(str(tmp_path), POD)
    assert path.stat().st_ino == before
    other = VolumeData("d.io", "other")
    data_file.save(str(tmp_path), other)
    assert data_file.load(str(tmp_path)) == other
    path.write_text("{")
    data_file.save(str(tmp_path), POD)
    assert data_file.load(str(tmp_path)) == POD
    (tmp_path / ".vol_data.json.0123abcd").touch()
    data_file.remove(str(tmp_path))
    assert os.listdir(tmp_path) == []
    data_file.remove(str(tmp_path))


def test_what_cannot_be_such_a_file_is_not_read(tmp_path):
    path = tmp_path / "vol_data.json"
    with pytest.raises(FileNotFoundError):
        data_file.load(str(tmp_path))
    (tmp_path / "elsewhere").write_text(GOLDEN)
    path.symlink_to("elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        data_file.load(str(tmp_path))
    path.unlink()
    path.write_bytes(b" " * (1 << 21))
    with pytest.raises(DataError, match="larger than"):
        data_file.load(str(tmp_path))
