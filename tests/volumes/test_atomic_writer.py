import os
import stat
import threading

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pykubelet.base.errors import VolumeError
from pykubelet.volumes import atomic_writer
from pykubelet.volumes.payload import File

NOW = 1_795_000_000_123_456_789


def files_of(**contents):
    return {path.replace("__", "/"): File(text.encode(), 0o644) for path, text in contents.items()}


def write(top, files, permit=None, now=NOW):
    return atomic_writer.write(str(top), files, now, permit)


def seen(top):
    """What a container sees: files by path, through the links."""
    found = {}
    for name in os.listdir(top):
        if name.startswith(".."):
            continue
        if not (top / name).is_dir():
            found[name] = (top / name).read_bytes()
        for path in (top / name).rglob("*"):
            if path.is_file():
                found[str(path.relative_to(top))] = path.read_bytes()
    return found


def versions(top):
    return sorted(name for name in os.listdir(top) if name.startswith("..2"))


def test_the_layout_is_upstreams(tmp_path):
    old = os.umask(0o077)
    try:
        files = {"plain": File(b"1", 0o640), "deep/er/file": File(b"2", 0o400, 1234)}
        assert write(tmp_path, files)
    finally:
        os.umask(old)
    (version,) = versions(tmp_path)
    assert version == "..2026_11_18_11_06_40.123456789"
    assert os.readlink(tmp_path / "..data") == version
    assert os.readlink(tmp_path / "plain") == "..data/plain"
    assert os.readlink(tmp_path / "deep") == "..data/deep"
    assert sorted(os.listdir(tmp_path)) == sorted([version, "..data", "plain", "deep"])
    modes = {
        path: stat.S_IMODE((tmp_path / version / path).stat().st_mode)
        for path in (".", "plain", "deep", "deep/er", "deep/er/file")
    }
    assert modes == {".": 0o755, "plain": 0o640, "deep": 0o755, "deep/er": 0o755, "deep/er/file": 0o400}
    assert (tmp_path / "deep/er/file").stat().st_uid == 1234
    assert (tmp_path / "plain").stat().st_uid == 0


def test_what_is_the_same_is_not_written_again(tmp_path):
    calls = []
    write(tmp_path, files_of(a="1"), lambda: calls.append("first"))
    before = versions(tmp_path)
    os.unlink(tmp_path / "a")
    assert not write(tmp_path, {"a": File(b"1", 0o400)}, lambda: calls.append("second"))
    assert versions(tmp_path) == before
    assert calls == ["first"]
    assert seen(tmp_path) == {"a": b"1"}
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o644


@pytest.mark.parametrize(
    "files",
    [
        files_of(a="2", d__b="1"),
        files_of(a="11", d__b="1"),
        files_of(a="1"),
        files_of(a="1", d__b="1", c="3"),
        files_of(a="1", d__c="1"),
        files_of(a="1", d="1"),
        files_of(a__d="1"),
        {},
    ],
)
def test_an_update_leaves_exactly_the_new_files(tmp_path, files):
    write(tmp_path, files_of(a="1", d__b="1"))
    (before,) = versions(tmp_path)
    assert write(tmp_path, files)
    assert seen(tmp_path) == {path: file.data for path, file in files.items()}
    assert len(versions(tmp_path)) == 1
    assert versions(tmp_path) != [before]


def test_the_group_comes_before_the_world(tmp_path):
    write(tmp_path, files_of(a="old"))

    def permit():
        assert seen(tmp_path) == {"a": b"old"}
        assert len(versions(tmp_path)) == 2

    assert write(tmp_path, files_of(a="new"), permit)
    assert seen(tmp_path) == {"a": b"new"}

    def refuse():
        raise PermissionError(1, "no")

    with pytest.raises(PermissionError):
        write(tmp_path, files_of(a="newer"), refuse)
    assert seen(tmp_path) == {"a": b"new"}
    assert len(versions(tmp_path)) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("", "must not be empty"),
        ("/etc/passwd", "must be relative path: /etc/passwd"),
        ("a/../b", "must not contain '..': a/../b"),
        ("..", "must not contain '..'"),
        ("..data", "must not start with '..': ..data"),
        ("./..data", "must not start with '..'"),
        ("..data/x", "must not start with '..'"),
        ("x" * 256, "filenames must be less than or equal to 255 characters"),
        ("ä" * 128, "filenames must be less than or equal to 255 characters"),
        ("a/" * 2049, "must be less than or equal to 4096 characters"),
        (".", "must name a file"),
        ("a\0b", "must name a file"),
        ("\ud800", "must be text that UTF-8 has"),
    ],
)
def test_paths_that_are_refused(tmp_path, path, text):
    write(tmp_path, files_of(a="1"))
    with pytest.raises(VolumeError) as caught:
        write(tmp_path, {path: File(b"", 0o644)})
    assert str(caught.value).startswith("invalid path: ")
    assert text in str(caught.value)
    assert seen(tmp_path) == {"a": b"1"}


def test_paths_that_are_taken(tmp_path):
    write(tmp_path, {"./a//b/./c": File(b"1", 0o644)} | files_of(x="2"))
    assert (tmp_path / "a/b/c").read_bytes() == b"1"


def test_three_dots_are_refused_as_upstream_does():
    with pytest.raises(VolumeError):
        atomic_writer.clean_path("...x")


def test_a_file_cannot_be_a_directory_too():
    with pytest.raises(VolumeError, match="is a file and a directory: a"):
        atomic_writer.tree_of(files_of(a="1", a__b="2"))


def test_what_earlier_lives_left_goes(tmp_path):
    write(tmp_path, files_of(a="1"))
    (tmp_path / "..2020_01_01_00_00_00.77").mkdir()
    (tmp_path / "..2020_01_01_00_00_00.77" / "secret").touch()
    (tmp_path / "..data_tmp").symlink_to("..2020_01_01_00_00_00.77")
    (tmp_path / "gone").symlink_to("..data/gone")
    (tmp_path / "nested").mkdir()
    (tmp_path / "foreign").symlink_to("elsewhere")
    assert not write(tmp_path, files_of(a="1"))
    left = set(os.listdir(tmp_path))
    assert left == {"..data", "a", "nested", "foreign", *versions(tmp_path)}
    assert len(versions(tmp_path)) == 1


def test_a_version_of_the_go_kubelet_is_taken_over(tmp_path):
    version = tmp_path / "..2024_02_29_12_00_00.2483649912"
    version.mkdir()
    (version / "a").write_text("1")
    (tmp_path / "..data").symlink_to(version.name)
    (tmp_path / "a").symlink_to("..data/a")
    assert not write(tmp_path, files_of(a="1"))
    assert version.exists()
    assert write(tmp_path, files_of(a="2"))
    assert not version.exists()


@pytest.mark.parametrize("target", ["../outside", "/etc", "..", ".", "..2020_01_01_00_00_00.1/../../outside"])
def test_a_link_that_leads_out_is_never_followed(tmp_path, target):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a").write_text("1")
    top = tmp_path / "volume"
    top.mkdir()
    (top / "..data").symlink_to(target)
    assert write(top, files_of(a="1"))
    assert (outside / "a").read_text() == "1"
    assert seen(top) == {"a": b"1"}


def test_links_where_files_were_are_not_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "b").write_text("1")
    top = tmp_path / "volume"
    top.mkdir()
    write(top, files_of(a="1", d__b="1"))
    (version,) = versions(top)
    os.unlink(top / version / "a")
    (top / version / "a").symlink_to(outside / "b")
    os.unlink(top / version / "d" / "b")
    os.rmdir(top / version / "d")
    (top / version / "d").symlink_to(outside)
    (top / "..2020_01_01_00_00_00.1").symlink_to(outside)
    assert write(top, files_of(a="1", d__b="1"))
    assert (outside / "b").read_text() == "1"
    assert not (top / "a").resolve().is_relative_to(outside)
    assert not os.path.lexists(top / "..2020_01_01_00_00_00.1")
    assert (top / "d/b").read_text() == "1"


def test_a_pipe_where_a_file_was_does_not_hang(tmp_path):
    write(tmp_path, files_of(a=""))
    (version,) = versions(tmp_path)
    os.unlink(tmp_path / version / "a")
    os.mkfifo(tmp_path / version / "a")
    assert write(tmp_path, files_of(a=""))


def test_the_volume_itself_must_not_be_a_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    with pytest.raises(OSError, match=r"directory|symbolic"):
        write(tmp_path / "link", files_of(a="1"))
    assert os.listdir(tmp_path / "real") == []


def test_the_place_of_a_nested_mount_stays(tmp_path):
    (tmp_path / "sub").mkdir()
    write(tmp_path, files_of(sub__x="1", a="1"))
    assert (tmp_path / "sub").is_dir()
    assert not (tmp_path / "sub").is_symlink()


class Killed(BaseException):
    """The process ended here."""


CHANGING = ("mkdir", "symlink", "rename", "unlink", "rmdir", "fchmod")


def test_cut_at_any_point_it_shows_the_old_or_the_new(tmp_path):
    old, new = files_of(a="1", d__b="1", gone="1"), files_of(a="2", d__b="2", fresh="2")
    cut, ended = 0, False
    while not ended:
        top = tmp_path / str(cut)
        top.mkdir()
        write(top, old)
        steps = []
        with pytest.MonkeyPatch.context() as patch:
            for name in CHANGING:
                real = getattr(os, name)

                def step(*args, real=real, steps=steps, cut=cut, **options):
                    if len(steps) >= cut:
                        raise Killed
                    steps.append(real)
                    return real(*args, **options)

                patch.setattr(os, name, step)
            try:
                write(top, new)
                ended = True
            except Killed:
                pass
        data = {path: (top / "..data" / path).read_bytes() for path in ("a", "d/b")}
        assert set(data.values()) in ({b"1"}, {b"2"})
        write(top, new)
        assert seen(top) == {path: file.data for path, file in new.items()}
        assert sorted(os.listdir(top)) == sorted(["..data", "a", "d", "fresh", *versions(top)])
        assert len(versions(top)) == 1
        cut += 1
    assert cut > 10


def test_readers_never_see_some_of_each(tmp_path):
    names = [f"file-{number}" for number in range(5)]
    write(tmp_path, {name: File(b"0", 0o644) for name in names})
    over, mixed, looks = threading.Event(), [], []

    def read():
        while not over.is_set():
            try:
                found = os.open(tmp_path / "..data", os.O_RDONLY | os.O_DIRECTORY)
            except FileNotFoundError:
                continue
            try:
                contents = set()
                for name in names:
                    file = os.open(name, os.O_RDONLY, dir_fd=found)
                    contents.add(os.read(file, 100))
                    os.close(file)
                looks.append(1)
                if len(contents) != 1:
                    mixed.append(contents)
            except FileNotFoundError:
                continue
            finally:
                os.close(found)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    try:
        turn = 0
        while len(looks) < 200 or turn < 200:
            turn += 1
            write(tmp_path, {name: File(str(turn).encode(), 0o644) for name in names}, now=NOW + turn)
    finally:
        over.set()
        for reader in readers:
            reader.join()
    assert mixed == []


part = st.sampled_from(["a", "b", "c", "dir", ".x", "ü", "長" * 85, "n" * 255, " ", "a\nb", "-"])
paths = st.lists(part, min_size=1, max_size=5).map("/".join)
payloads = st.dictionaries(paths, st.binary(max_size=3), max_size=5)


@given(st.lists(payloads, min_size=1, max_size=5))
@example([{"a": b"1"}, {"a/b": b"1"}, {"a": b"1"}, {"a/b/c": b"1", "b": b""}, {"b/a": b""}, {}])
def test_any_history_ends_with_the_last_files(tmp_path_factory, history):
    top = tmp_path_factory.mktemp("volume")
    last = None
    for contents in history:
        files = {path: File(data, 0o644) for path, data in contents.items()}
        try:
            changed = write(top, files)
        except VolumeError:
            continue
        assert changed == (last is None or contents != last)
        last = contents
    names = {path.partition("/")[0] for path in last or ()}
    assert seen(top) == (last or {})
    assert set(os.listdir(top)) == {*names, *versions(top), *(["..data"] if last is not None else [])}
    assert len(versions(top)) == (last is not None)
    for name in names:
        assert os.readlink(top / name) == f"..data/{name}"


def test_a_path_as_long_as_any_may_be(tmp_path):
    path = "/".join([*["x" * 255] * 15, "x" * 254, "y"])
    assert len(path) == 4096
    write(tmp_path, {path: File(b"1", 0o644)})
    assert not write(tmp_path, {path: File(b"1", 0o644)})
    assert write(tmp_path, files_of(a="1"))
    assert seen(tmp_path) == {"a": b"1"}
    assert len(versions(tmp_path)) == 1


def test_who_waits_for_new_files_finds_their_names(tmp_path, monkeypatch):
    write(tmp_path, files_of(a="1"))
    real, found = os.rename, []

    def rename(*args, **options):
        found.append((set(os.listdir(tmp_path)) >= {"a", "b", "d"}, (tmp_path / "b").exists()))
        return real(*args, **options)

    monkeypatch.setattr(os, "rename", rename)
    assert write(tmp_path, files_of(a="1", b="2", d__e="3"))
    assert found == [(True, False)]


def test_no_repr_tells_contents():
    assert "hush" not in repr(File(b"hush", 0o600))
