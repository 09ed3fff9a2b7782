import os
import stat

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.volumes import ownership


def mode_of(path):
    return stat.S_IMODE(os.lstat(path).st_mode)


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "root"
    (root / "dir" / "deep").mkdir(parents=True)
    (root / "dir" / "file").touch(0o600)
    os.chmod(root / "dir" / "file", 0o600)
    os.chmod(root / "dir", 0o700)
    outside = tmp_path / "outside"
    outside.touch()
    os.chmod(outside, 0o600)
    (root / "dir" / "out").symlink_to(outside)
    (root / "up").symlink_to(tmp_path)
    return root


def test_all_goes_to_the_group_but_what_links_mean(tree):
    assert ownership.give_to_group(str(tree), 1234) == 6
    inside = [
        tree,
        tree / "dir",
        tree / "dir" / "deep",
        tree / "dir" / "file",
        tree / "dir" / "out",
        tree / "up",
    ]
    assert {os.lstat(path).st_gid for path in inside} == {1234}
    assert {os.lstat(path).st_uid for path in inside} == {os.getuid()}
    assert mode_of(tree / "dir") == 0o2770
    assert mode_of(tree / "dir" / "file") == 0o660
    outside = os.stat(tree.parent / "outside")
    assert (outside.st_gid, stat.S_IMODE(outside.st_mode)) == (0, 0o600)
    assert os.stat(tree.parent).st_gid == 0


def test_a_read_only_volume_is_only_readable(tree):
    ownership.give_to_group(str(tree), 7, read_only=True)
    assert mode_of(tree / "dir") == 0o2750
    assert mode_of(tree / "dir" / "file") == 0o640


def test_on_root_mismatch_looks_at_the_root_alone(tree):
    assert ownership.give_to_group(str(tree), 7, policy="OnRootMismatch") == 6
    os.chown(tree / "dir" / "file", -1, 0)
    assert ownership.give_to_group(str(tree), 7, policy="OnRootMismatch") == 0
    assert os.stat(tree / "dir" / "file").st_gid == 0
    os.chmod(tree, 0o770)
    assert ownership.give_to_group(str(tree), 7, policy="OnRootMismatch") == 6
    assert ownership.give_to_group(str(tree), 7) == 6


@given(st.integers(0, 0o7777), st.booleans(), st.booleans())
def test_a_mode_only_gains_and_settles(bits, directory, read_only):
    mode = (stat.S_IFDIR if directory else stat.S_IFREG) | bits
    wanted = ownership.wanted_mode(mode, read_only=read_only)
    assert wanted & bits == bits
    assert ownership.wanted_mode(stat.S_IFMT(mode) | wanted, read_only=read_only) == wanted
    assert ownership.root_matches(stat.S_IFMT(mode) | wanted, 5, 5, read_only=read_only) == directory
    assert not ownership.root_matches(stat.S_IFMT(mode) | wanted, 5, 6, read_only=read_only)


def test_links_to_one_file_are_one_file(tree):
    os.link(tree / "dir" / "file", tree / "second")
    ownership.give_to_group(str(tree), 7)
    status = os.stat(tree / "second")
    assert (status.st_gid, status.st_nlink, stat.S_IMODE(status.st_mode)) == (7, 2, 0o660)


def test_every_kind_of_file_is_changed(tree):
    os.mkfifo(tree / "pipe", 0o600)
    os.mknod(tree / "device", 0o600 | stat.S_IFCHR, os.makedev(1, 3))
    (tree / "nowhere").symlink_to("missing")
    assert ownership.give_to_group(str(tree), 7) == 9
    for name in ("pipe", "device"):
        assert (os.lstat(tree / name).st_gid, mode_of(tree / name)) == (7, 0o660)
    assert os.lstat(tree / "nowhere").st_gid == 7


@pytest.mark.parametrize("bits", [0o4755, 0o2755, 0o6711, 0o1777])
def test_special_bits_survive_the_change_of_hands(tree, bits):
    os.chmod(tree / "dir" / "file", bits)
    ownership.give_to_group(str(tree), 7)
    assert mode_of(tree / "dir" / "file") == bits | 0o660
    assert os.stat(tree / "dir" / "file").st_gid == 7


def test_what_is_made_later_belongs_to_the_group_too(tree):
    ownership.give_to_group(str(tree), 7)
    (tree / "dir" / "new").touch()
    (tree / "dir" / "made").mkdir()
    assert os.stat(tree / "dir" / "new").st_gid == 7
    assert (os.stat(tree / "dir" / "made").st_gid, mode_of(tree / "dir" / "made") & stat.S_ISGID) == (
        7,
        0o2000,
    )


def test_what_is_right_is_not_written_again(tree):
    ownership.give_to_group(str(tree), 7)
    paths = [tree, tree / "dir", tree / "dir" / "file", tree / "up"]
    before = [os.lstat(path).st_ctime_ns for path in paths]
    os.chmod(tree / "dir" / "deep", 0o700)
    assert ownership.give_to_group(str(tree), 7) == 6
    assert [os.lstat(path).st_ctime_ns for path in paths] == before
    assert mode_of(tree / "dir" / "deep") == 0o2770


def test_a_change_that_was_cut_off_is_completed(tree):
    for number in range(50):
        (tree / "dir" / str(number)).touch()

    class Stopping(ownership.Progress):
        def step(self):
            self.stopped = self.files == 20
            super().step()

    with pytest.raises(InterruptedError):
        ownership.give_to_group(str(tree), 7, policy="OnRootMismatch", progress=Stopping())
    everything = list(tree.rglob("*"))
    assert 0 < sum(path.lstat().st_gid == 7 for path in everything) <= 20
    # The root comes last: it tells that the rest is not done.
    assert ownership.give_to_group(str(tree), 7, policy="OnRootMismatch") == len(everything) + 1
    assert {path.lstat().st_gid for path in everything} == {7}


def test_one_file_that_refuses_does_not_hold_up_the_others(tree, monkeypatch, caplog):
    chown = os.chown

    def refuse(name, *args, **kwargs):
        if name == "file":
            raise PermissionError(1, "no", name)
        chown(name, *args, **kwargs)

    monkeypatch.setattr(os, "chown", refuse)
    assert ownership.give_to_group(str(tree), 7) == 5
    assert "dir/file was not changed" in caplog.text
    assert os.stat(tree).st_gid == 7
