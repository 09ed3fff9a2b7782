import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.linux import mountinfo
from pykubelet.linux.mountinfo import Mount

LINES = [
    (
        b"36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue",
        ("/mnt2", "/mnt1", "ext3", "/dev/root", "slave", False),
    ),
    (
        b"22 1 0:21 / /proc rw,nosuid shared:12 - proc proc rw",
        ("/proc", "/", "proc", "proc", "shared", False),
    ),
    (
        b"22 1 0:21 / /a\\040b\\011c ro shared:1 master:2 - tmpfs none rw,size=4k",
        ("/a b\tc", "/", "tmpfs", "none", "shared+slave", True),
    ),
    (b"9 8 0:5 / /x rw unbindable - tmpfs  rw", ("/x", "/", "tmpfs", "", "unbindable", False)),
    (
        b"9 8 0:5 / /x\\134y rw - fuse.sshfs me@host:/a rw",
        ("/x\\y", "/", "fuse.sshfs", "me@host:/a", "private", False),
    ),
    (
        b"9 8 0:4 net:[4026] /run/netns/a rw - nsfs nsfs rw",
        ("/run/netns/a", "net:[4026]", "nsfs", "nsfs", "private", False),
    ),
    (b"9 8 0:5 / /\xff rw - tmpfs t rw", ("/\udcff", "/", "tmpfs", "t", "private", False)),
]


@pytest.mark.parametrize(("line", "wanted"), LINES)
def test_a_line_is_read(line, wanted):
    mount = mountinfo.parse_line(line)
    got = (mount.mount_point, mount.root, mount.fs_type, mount.source, mount.propagation, mount.read_only)
    assert got == wanted


@pytest.mark.parametrize(
    "line", [b"", b"1 2 3", b"36 35 98:0 / /m rw ext3 dev rw", b"a b 1:1 / / rw - t s o"]
)
def test_another_form_is_refused(line):
    with pytest.raises(ValueError, match=r"mountinfo|invalid literal"):
        mountinfo.parse_line(line)


def _escape(text: str) -> bytes:
    raw = os.fsencode(text)
    return b"".join(b"\\%03o" % byte if byte in b" \t\n\\" else bytes((byte,)) for byte in raw)


paths = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=20).map(
    lambda text: "/" + text
)


@given(points=st.lists(st.tuples(paths, paths, paths), max_size=5))
def test_what_the_kernel_escapes_is_read_back(points):
    table = b"".join(
        b"%d 1 0:1 %s %s rw,noexec shared:3 - tmpfs %s rw\n"
        % (number, _escape(root), _escape(point), _escape(source))
        for number, (root, point, source) in enumerate(points)
    )
    got = [(mount.root, mount.mount_point, mount.source) for mount in mountinfo.parse(table)]
    assert got == points


def _mount(number: int, parent: int, point: str, *optional: str) -> Mount:
    return Mount(number, parent, "0:1", "/", point, ("rw",), optional, "tmpfs", "t", ())


#: /a/b (2) was mounted before the /a (5) that it was moved onto; 6 lies on top of it.
TABLE = (
    _mount(1, 0, "/", "shared:1"),
    _mount(2, 5, "/a/b"),
    _mount(5, 1, "/a", "master:4"),
    _mount(6, 2, "/a/b"),
    _mount(7, 1, "/ab"),
)


def test_inner_mounts_come_first():
    assert [mount.mount_id for mount in mountinfo.mounts_below(TABLE, "/a")] == [6, 2, 5]
    assert [mount.mount_id for mount in mountinfo.mounts_below(TABLE, "/a/b/")] == [6, 2]
    assert mountinfo.mounts_below(TABLE, "/nothing") == ()


@pytest.mark.parametrize(
    ("path", "number"), [("/a/b/c", 6), ("/a/b", 6), ("/a/x", 5), ("/abc", 1), ("/ab", 7), ("/", 1)]
)
def test_the_mount_of_a_path(path, number):
    found = mountinfo.mount_of(TABLE, path)
    assert found is not None
    assert found.mount_id == number


def test_no_mount_holds_a_path_outside():
    assert mountinfo.mount_of((_mount(1, 0, "/a"),), "/b") is None


def test_a_mount_point_is_exact():
    assert mountinfo.is_mount_point(TABLE, "/a")
    assert not mountinfo.is_mount_point(TABLE, "/a/b/c")


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=8))
def test_any_table_is_ordered_without_end(edges):
    table = tuple(_mount(child, parent, "/m") for child, parent in edges)
    assert len(mountinfo.mounts_below(table, "/m")) == len(table)


def test_the_real_table_is_read():
    table = mountinfo.read()
    assert mountinfo.mount_of(table, "/proc/self") is not None


def _line(mount_id, parent, device, root, point):
    return Mount(mount_id, parent, device, root, point, (), (), "ext4", "/dev/x", ())


def test_mounts_of_the_same_tree_are_told():
    table = (
        _line(1, 0, "8:1", "/", "/"),
        _line(2, 1, "8:2", "/", "/mnt/disk"),
        _line(3, 1, "8:2", "/", "/pods/a"),
        _line(4, 1, "8:2", "/deep", "/pods/b"),
        _line(5, 1, "8:1", "/mnt/dir", "/pods/c"),
        _line(6, 1, "8:1", "/mnt/dir", "/pods/d"),
    )

    def same(path):
        return [mount.mount_point for mount in mountinfo.same_tree(table, path)]

    assert same("/mnt/disk") == ["/pods/a"]
    assert same("/pods/a") == ["/mnt/disk"]
    assert same("/mnt/disk/deep") == ["/pods/b"]
    assert same("/mnt/dir") == ["/pods/c", "/pods/d"]
    assert same("/mnt") == []
    assert mountinfo.same_tree((), "/mnt") == ()


@pytest.mark.parametrize(
    ("options", "split", "context"),
    [
        ("rw,seclabel", ("rw", "seclabel"), ""),
        ("rw,context=u:r:t:s0,relatime", ("rw", "context=u:r:t:s0", "relatime"), "u:r:t:s0"),
        ('context="u:r:t:s0:c1,c2",rw', ('context="u:r:t:s0:c1,c2"', "rw"), "u:r:t:s0:c1,c2"),
        ('rw,rootcontext="u:r:t:s0:c1,c2"', ("rw", 'rootcontext="u:r:t:s0:c1,c2"'), ""),
        ('lowerdir=/a"b,upperdir=/c"d', ('lowerdir=/a"b', 'upperdir=/c"d'), ""),
        ('context="u,rw', ('context="u', "rw"), "u"),
        (",rw,,", ("rw",), ""),
    ],
)
def test_labels_of_file_systems(options, split, context):
    mount = mountinfo.parse_line(f"1 0 8:1 / / rw - ext4 /dev/a {options}".encode())
    assert (mount.super_options, mount.context) == (split, context)


@pytest.mark.parametrize(
    ("outside", "inside", "linked"),
    [
        ("shared:7", "shared:7", True),
        ("master:7", "shared:7", True),
        ("shared:8 master:7", "shared:7", True),
        ("shared:7", "master:7", False),
        ("shared:8", "shared:7", False),
        ("", "", False),
    ],
)
def test_mounts_whose_own_mounts_others_would_lose_too(outside, inside, linked):
    def line(number, parent, path, optional):
        return f"{number} {parent} 0:{number} / {path} rw {optional} - tmpfs tmpfs rw".replace("  ", " ")

    table = mountinfo.parse(
        "\n".join(
            [
                line(1, 0, "/", outside),
                line(2, 1, "/top", inside),
                line(3, 2, "/top/in", "shared:7"),
                line(4, 1, "/top/bare", inside),
            ]
        ).encode()
    )
    assert mountinfo.linked_outside(table, {2, 3, 4}) == (["/top"] if linked else [])
