import os
import socket
import stat

import pytest

from pykubelet.api.core import Pod
from pykubelet.api.volumes import HostPathVolumeSource, Volume
from pykubelet.base.errors import VolumeError
from pykubelet.volumes.host_path import HostPath


def set_up(path, kind=None):
    return HostPath().set_up(
        Pod(), Volume(name="v", hostPath=HostPathVolumeSource(path=str(path), type=kind))
    )


@pytest.fixture
def things(tmp_path):
    (tmp_path / "directory").mkdir()
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("directory")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(tmp_path / "socket"))
    os.mknod(tmp_path / "character", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    yield tmp_path
    server.close()


FITS = {
    ("directory", "Directory"),
    ("directory", "DirectoryOrCreate"),
    ("link", "Directory"),
    ("link", "DirectoryOrCreate"),
    ("file", "File"),
    ("file", "FileOrCreate"),
    ("socket", "Socket"),
    ("character", "CharDevice"),
}
CALLED = {
    "Directory": "directory",
    "DirectoryOrCreate": "directory",
    "File": "file",
    "FileOrCreate": "file",
    "Socket": "socket file",
    "CharDevice": "character device",
    "BlockDevice": "block device",
}


@pytest.mark.parametrize("name", ["directory", "link", "file", "socket", "character", "missing"])
@pytest.mark.parametrize("kind", CALLED)
def test_the_type_is_checked(things, name, kind):
    path = things / name
    if (name, kind) in FITS or (name == "missing" and kind.endswith("OrCreate")):
        mounted = set_up(path, kind)
        assert (mounted.host_path, mounted.read_only, mounted.selinux_relabel) == (str(path), False, False)
        return
    with pytest.raises(VolumeError) as caught:
        set_up(path, kind)
    assert str(caught.value) == f"hostPath type check failed: {path} is not a {CALLED[kind]}"


def test_without_a_type_nothing_is_checked(tmp_path):
    assert set_up(tmp_path / "missing", "").host_path == str(tmp_path / "missing")
    assert set_up(tmp_path / "missing").name == "v"
    assert not (tmp_path / "missing").exists()


def test_what_is_created(tmp_path):
    before = os.umask(0o022)
    try:
        set_up(tmp_path / "a" / "b", "DirectoryOrCreate")
        set_up(tmp_path / "file", "FileOrCreate")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644


@pytest.mark.parametrize(
    ("path", "kind", "text"),
    [
        ("{}/no/file", "FileOrCreate", "open {}/no/file: no such file or directory"),
        ("{}/file/below", "DirectoryOrCreate", "mkdir {}/file/below: not a directory"),
        ("{}/a/../b", "", "invalid HostPath `{}/a/../b`: must not contain '..'"),
        ("{}/a", "Folder", "Folder is an invalid volume type"),
    ],
)
def test_errors(tmp_path, path, kind, text):
    (tmp_path / "file").touch()
    with pytest.raises(VolumeError) as caught:
        set_up(path.format(tmp_path), kind)
    assert str(caught.value) == text.format(tmp_path, tmp_path)
