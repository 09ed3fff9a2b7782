import errno
import os
import subprocess
import sys

import pytest

from pykubelet.linux import safeopen

#: Swaps the directory for a link to the outside, as fast as it can.
SWAP = """
import os, sys
os.chdir(sys.argv[1])
while True:
    os.rename("dir", "kept")
    os.symlink(sys.argv[2], "dir")
    os.unlink("dir")
    os.rename("kept", "dir")
"""


def by_kernel(root, path, *, follow):
    return safeopen.open_beneath(root, path, follow=follow)


def by_steps(root, path, *, follow):
    return safeopen.walk_beneath(root, safeopen.parts_of(path), follow=follow)


@pytest.fixture(params=[by_kernel, by_steps])
def opener(request, tmp_path):
    volume = tmp_path / "volume"
    (volume / "dir" / "deep").mkdir(parents=True)
    (volume / "dir" / "file").write_text("inside")
    (tmp_path / "secret").write_text("outside")
    (volume / "in").symlink_to("dir/file")
    (volume / "dir" / "up").symlink_to("../dir/./deep")
    (volume / "out").symlink_to("../secret")
    (volume / "sly").symlink_to("dir/../../secret")
    (volume / "absolute").symlink_to(tmp_path / "secret")
    (volume / "loop").symlink_to("loop")
    root = os.open(volume, os.O_PATH)

    def open_it(path, *, follow=True):
        return request.param(root, path, follow=follow)

    yield open_it
    os.close(root)


@pytest.mark.parametrize(
    ("path", "real"),
    [("dir/file", "dir/file"), ("in", "dir/file"), ("dir/up", "dir/deep"), (".", ""), ("dir//", "dir")],
)
def test_what_is_inside_opens(opener, path, real, tmp_path):
    found = opener(path)
    try:
        assert os.path.samestat(os.fstat(found), os.stat(tmp_path / "volume" / real))
    finally:
        os.close(found)


@pytest.mark.parametrize(
    ("path", "number"),
    [
        ("out", errno.EXDEV),
        ("sly", errno.EXDEV),
        ("absolute", errno.EXDEV),
        ("loop", errno.ELOOP),
        ("missing", errno.ENOENT),
        ("dir/file/below", errno.ENOTDIR),
    ],
)
def test_what_leads_out_does_not(opener, path, number):
    with pytest.raises(OSError) as caught:
        opener(path)
    assert caught.value.errno == number


@pytest.mark.parametrize("path", ["in", "dir/up", "out"])
def test_no_link_is_followed_unasked(opener, path):
    # The last step of a path may be a link for O_PATH|O_NOFOLLOW; both ways refuse it.
    with pytest.raises(OSError) as caught:
        opener(path, follow=False)
    assert caught.value.errno == errno.ELOOP


@pytest.mark.parametrize("path", ["/etc", "a/../b", "..", "a\0b"])
def test_a_path_with_a_way_out_is_refused(opener, path):
    with pytest.raises(ValueError, match=r"absolute|\.\.|NUL"):
        opener(path)


def test_no_descriptor_leaks(opener):
    before = len(os.listdir("/proc/self/fd"))
    for path in ("dir/file", "out", "sly", "loop", "missing"):
        try:
            os.close(opener(path))
        except OSError:
            continue
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_swapped_directory_never_leads_out(opener, tmp_path):
    volume, outside = tmp_path / "volume", tmp_path / "outside"
    outside.mkdir()
    (outside / "file").write_text("outside")
    swapper = subprocess.Popen([sys.executable, "-c", SWAP, str(volume), str(outside)])
    try:
        secret, found, refused = os.stat(outside / "file").st_ino, 0, 0
        for _ in range(50_000):
            try:
                descriptor = opener("dir/file")
            except OSError:
                refused += 1
                continue
            found += 1
            assert os.fstat(descriptor).st_ino != secret
            os.close(descriptor)
            if found >= 300 and refused >= 300:
                break
        assert found
        assert refused
    finally:
        swapper.kill()
        swapper.wait()


def test_missing_directories_get_exactly_the_mode(tmp_path):
    before = os.umask(0o077)
    try:
        with safeopen.opened(tmp_path) as root:
            os.close(safeopen.make_directories(root, "a/b/c", 0o2775))
            os.close(safeopen.make_directories(root, "a/b/c", 0o700))
    finally:
        os.umask(before)
    assert [(tmp_path / part).stat().st_mode & 0o7777 for part in ("a", "a/b", "a/b/c")] == [0o2775] * 3


@pytest.mark.parametrize("path", ["out/new", "gone/new", "file/new", "gone"])
def test_nothing_is_made_outside(tmp_path, path):
    volume, outside = tmp_path / "volume", tmp_path / "outside"
    volume.mkdir()
    outside.mkdir()
    (volume / "file").touch()
    (volume / "out").symlink_to(outside)
    (volume / "gone").symlink_to("nowhere")
    with safeopen.opened(volume) as root, pytest.raises(OSError):
        os.close(safeopen.make_directories(root, path, 0o755))
    assert list(outside.iterdir()) == []
