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
