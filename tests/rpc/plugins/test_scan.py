"""Which sockets are found below a directory."""

import os
import socket
from pathlib import Path

import pytest

from pykubelet.rpc.plugins import scan as module
from pykubelet.rpc.plugins.scan import scan


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def test_sockets_and_nothing_else(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    for name in ("a", "deep/er/b", ".c", ".hidden/d"):
        make_socket(tmp_path / name)
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(tmp_path / "a")
    (tmp_path / "loop").symlink_to(tmp_path)
    found = scan(tmp_path)
    assert set(found.sockets) == {f"{tmp_path}/a", f"{tmp_path}/deep/er/b"}
    assert set(found.directories) == {str(tmp_path), f"{tmp_path}/deep", f"{tmp_path}/deep/er"}


def test_a_socket_made_anew_has_another_mark(tmp_path):
    path = tmp_path / "a"
    make_socket(path)
    first = scan(tmp_path).sockets[str(path)]
    path.chmod(0o600)
    os.chown(path, os.getuid(), os.getgid())
    assert scan(tmp_path).sockets[str(path)] == first
    os.utime(path, ns=(0, 0))
    path.unlink()
    make_socket(path)
    assert scan(tmp_path).sockets[str(path)] != first


def test_a_missing_directory_is_made(tmp_path):
    found = scan(tmp_path / "new")
    assert found.sockets == {}
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o750


def test_a_file_in_its_place(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        scan(tmp_path / "file")


def test_bounds(tmp_path, monkeypatch, caplog):
    deep = tmp_path
    for _ in range(module._DEPTH + 1):
        deep /= "d"
    deep.mkdir(parents=True)
    make_socket(deep.parent / "near")
    make_socket(deep / "far")
    assert set(scan(tmp_path).sockets) == {f"{deep.parent}/near"}
    monkeypatch.setattr(module, "_ENTRIES", 3)
    assert scan(tmp_path).sockets == {}
    assert "more than 3 files" in caplog.text
