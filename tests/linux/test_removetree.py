import errno
import os

import pytest

from pykubelet.linux import mounts, removetree


def test_a_tree_goes_and_links_stay_unfollowed(tmp_path):
    tree, outside = tmp_path / "tree", tmp_path / "outside"
    (tree / "a" / "b").mkdir(parents=True)
    outside.mkdir()
    (outside / "kept").touch()
    (tree / "a" / "file").touch()
    (tree / "a" / "out").symlink_to(outside)
    os.mkfifo(tree / "fifo")
    assert removetree.remove_tree(str(tree))
    assert not tree.exists()
    assert (outside / "kept").exists()
    assert not removetree.remove_tree(str(tree))
    assert not removetree.remove_tree(str(tree / "below" / "nothing"))


def test_a_link_is_removed_not_what_it_means(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real")
    assert removetree.remove_tree(str(tmp_path / "link"))
    assert (tmp_path / "real").is_dir()


def test_depth_has_no_limit(tmp_path):
    top = tmp_path / "top"
    top.mkdir()
    descriptor = os.open(top, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("d", dir_fd=descriptor)
        below = os.open("d", os.O_RDONLY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = below
    os.close(descriptor)
    (top / ".removed-1").touch()
    before = len(os.listdir("/proc/self/fd"))
    assert removetree.remove_tree(str(top))
    assert not top.exists()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.integration
def test_a_mount_is_never_entered(mount_area):
    tree, kept = mount_area / "tree", mount_area / "kept"
    (tree / "bound").mkdir(parents=True)
    kept.mkdir()
    (kept / "data").touch()
    # The same file system: a device number does not tell them apart.
    mounts.bind(str(kept), str(tree / "bound"))
    with pytest.raises(OSError) as caught:
        removetree.remove_tree(str(tree))
    assert caught.value.errno == errno.EXDEV
    assert (kept / "data").exists()
    with pytest.raises(OSError) as caught:
        removetree.remove_tree(str(tree / "bound"))
    assert caught.value.errno == errno.EXDEV
    assert (kept / "data").exists()
