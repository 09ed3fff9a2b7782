"""What clients are made of: read anew each time, and silent about secrets."""

from pathlib import Path

import pytest

from pykubelet.cluster.access import Access, ExecConfig, Pem

SECRET = "s3cr3t"


def test_bytes_and_a_file_that_changes(tmp_path: Path) -> None:
    assert Pem(data=b"PEM").read() == b"PEM"
    path = tmp_path / "ca.crt"
    for text in (b"one", b"two"):
        path.write_bytes(text)
        assert Pem(path=path).read() == text
    with pytest.raises(OSError, match="nowhere"):
        Pem(path=tmp_path / "nowhere").read()


def test_a_file_is_bounded(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"x" * ((4 << 20) + 1))
    with pytest.raises(ValueError, match="large"):
        Pem(path=path).read()


def test_no_secret_is_shown() -> None:
    plugin = ExecConfig("get", "v1", env=(("TOKEN", SECRET),), cluster_info={"config": SECRET})
    key = Pem(data=SECRET.encode())
    access = Access("https://api", key=key, token=SECRET, password=SECRET, exec=plugin)
    assert SECRET not in repr(access)
