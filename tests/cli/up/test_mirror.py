"""The daemon's manifest directory follows the user's."""

from pathlib import Path

import pytest

from pykubelet.cli.up.mirror import Mirror


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path]:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    return source, target


def _content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_files_are_added_changed_and_removed(folders: tuple[Path, Path]) -> None:
    source, target = folders
    mirror = Mirror(source, target, {"sample.yaml": b"s"})
    (source / "a.yaml").write_bytes(b"1")
    (source / ".hidden").write_bytes(b"x")
    (source / "folder").mkdir()
    mirror.sync()
    assert _content(target) == {"sample.yaml": b"s", "a.yaml": b"1"}
    (source / "a.yaml").write_bytes(b"22")
    mirror.sync()
    assert _content(target)["a.yaml"] == b"22"
    (source / "a.yaml").unlink()
    mirror.sync()
    assert _content(target) == {"sample.yaml": b"s"}


def test_what_did_not_change_is_not_written_again(folders: tuple[Path, Path]) -> None:
    source, target = folders
    (source / "a.yaml").write_bytes(b"1")
    Mirror(source, target, {"s": b"s"}).sync()
    before = {path.name: path.stat().st_ino for path in target.iterdir()}
    Mirror(source, target, {"s": b"s"}).sync()
    assert {path.name: path.stat().st_ino for path in target.iterdir()} == before


def test_a_file_of_the_users_stands_for_a_sample_of_its_name(folders: tuple[Path, Path]) -> None:
    source, target = folders
    (source / "s").write_bytes(b"mine")
    Mirror(source, target, {"s": b"s"}).sync()
    assert _content(target) == {"s": b"mine"}


def test_empty_takes_all_away_and_the_users_files_stay(folders: tuple[Path, Path]) -> None:
    source, target = folders
    mirror = Mirror(source, target, {"s": b"s"})
    (source / "a.yaml").write_bytes(b"1")
    mirror.sync()
    mirror.empty()
    assert _content(target) == {}
    assert _content(source) == {"a.yaml": b"1"}
    mirror.sync()
    assert set(_content(target)) == {"s", "a.yaml"}


def test_a_source_that_cannot_be_read_changes_nothing(folders: tuple[Path, Path]) -> None:
    source, target = folders
    (source / "a.yaml").write_bytes(b"1")
    mirror = Mirror(source, target, {})
    mirror.sync()
    (source / "a.yaml").unlink()
    source.rmdir()
    mirror.sync()
    assert _content(target) == {"a.yaml": b"1"}
