"""With stand-ins for ``mount`` and ``umount``: they bind a directory where an export would be."""

import asyncio
import errno
import os
import stat
import subprocess
import threading

import pytest
from tests.volumes.persistent import StandIns, dead_mount, needs_fuse, pod_of, spec_of

from pykubelet.api.quantity import Quantity
from pykubelet.api.storage import PersistentVolume, PersistentVolumeSpec
from pykubelet.api.volumes import NFSVolumeSource, Volume
from pykubelet.base.errors import ExpandError, VolumeError
from pykubelet.base.layout import Layout
from pykubelet.linux import mountinfo, mounts
from pykubelet.volumes import mountpoint, nfs
from pykubelet.volumes.nfs import NfsVolumes
from pykubelet.volumes.plugin import Found
from pykubelet.volumes.spec import VolumeSpec

pytestmark = pytest.mark.integration

LAST = 'for target in "$@"; do :; done;'


class Room:
    def __init__(self, area, stand_ins):
        self.layout = Layout(root=area / "root")
        self.plugin = NfsVolumes(self.layout)
        self.export = area / "export"
        self.export.mkdir()
        self.stand_ins = stand_ins
        stand_ins.add("mount", f'{LAST} /usr/bin/mount --bind {self.export} "$target"')
        stand_ins.add("umount", f'{LAST} /usr/bin/umount -i "$target"')

    def set_up(self, spec, *, again=False):
        return asyncio.run(self.plugin.set_up(spec, pod_of(), again=again))

    def tear_down(self, name="data"):
        asyncio.run(self.plugin.tear_down("uid-1", name, block=False))

    def target(self, name="data"):
        return self.layout.root / "pods" / "uid-1" / "volumes" / "kubernetes.io~nfs" / name

    def mounted(self):
        table = mountinfo.mounts_below(mountinfo.read(), str(self.layout.root))
        return [mount.mount_point for mount in table]


@pytest.fixture
def room(mount_area, tmp_path, monkeypatch):
    stand_ins = StandIns(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(stand_ins.directory))
    return Room(mount_area, stand_ins)


def inline(server="server", path="/exports/a", **fields):
    return VolumeSpec(Volume(name="data", nfs=NFSVolumeSource(server=server, path=path, **fields)))


def test_an_inline_export_is_mounted_and_unmounted(room):
    (room.export / "file").touch()
    spec = inline()
    assert room.plugin.device(spec) is None
    volume = room.set_up(spec)
    target = room.target()
    assert (volume.name, volume.host_path, volume.read_only) == ("data", str(target), False)
    assert not volume.selinux_relabel
    assert os.listdir(target) == ["file"]
    assert room.set_up(spec) == volume == room.set_up(spec, again=True)
    for _ in range(2):
        room.tear_down()
    assert room.stand_ins.called == [f"mount -t nfs server:/exports/a {target}", f"umount {target}"]
    assert room.mounted() == []
    assert not target.exists()
    assert stat.S_IMODE(target.parent.stat().st_mode) == 0o750
    assert (room.export / "file").exists()


@pytest.mark.parametrize(
    ("server", "shown"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("fd00::1", "[fd00::1]"),
        ("[fd00::1]", "[fd00::1]"),
        ("nfs.example.com", "nfs.example.com"),
    ],
)
def test_ipv6_addresses_are_in_brackets(room, server, shown):
    room.set_up(inline(server, readOnly=True))
    assert room.stand_ins.called == [f"mount -t nfs -o ro {shown}:/exports/a {room.target()}"]


def test_a_persistent_volume_has_options(room):
    source = NFSVolumeSource(server="s", path="/e", readOnly=True)
    spec = spec_of(nfs=source, mountOptions=["vers=4.1", "hard", "hard", ""])
    assert not room.set_up(spec).read_only
    room.tear_down("pv-1")
    spec = spec_of(
        read_only=True, nfs=source, annotations={"volume.beta.kubernetes.io/mount-options": "soft"}
    )
    assert room.set_up(spec).read_only
    assert [line for line in room.stand_ins.called if line.startswith("mount")] == [
        f"mount -t nfs -o hard,vers=4.1 s:/e {room.target('pv-1')}",
        f"mount -t nfs -o ro,soft s:/e {room.target('pv-1')}",
    ]


@pytest.mark.parametrize("server", ["", "-oexec", "--bind"])
def test_no_name_of_a_server_is_taken_for_an_option(room, server):
    for step in (lambda: room.plugin.device(inline(server)), lambda: room.set_up(inline(server))):
        with pytest.raises(VolumeError, match="is not the name of a server"):
            step()
    assert room.stand_ins.called == []


def test_what_is_no_export_is_refused(room):
    with pytest.raises(VolumeError, match="does not reference a NFS volume"):
        room.plugin.device(VolumeSpec(Volume(name="data"), PersistentVolume(spec=PersistentVolumeSpec())))
    with pytest.raises(VolumeError, match="cannot be block devices"):
        room.plugin.device(spec_of(nfs=NFSVolumeSource(server="s", path="/"), volumeMode="Block"))
    with pytest.raises(ExpandError, match="not expanded"):
        asyncio.run(room.plugin.expand(inline(), pod_of(), Quantity("1Gi")))


def test_a_failed_mount_is_told_and_leaves_nothing(room):
    room.stand_ins.add("mount", "echo access denied by server >&2; exit 32")
    with pytest.raises(VolumeError) as caught:
        room.set_up(inline())
    assert str(caught.value) == (
        "mount failed: exit status 32\nMounting command: mount\n"
        f"Mounting arguments: -t nfs server:/exports/a {room.target()}\nOutput: access denied by server\n"
    )
    assert caught.value.left == "nothing"
    assert not room.target().exists()
    (room.stand_ins.directory / "mount").unlink()
    with pytest.raises(VolumeError, match="there is no mount on this node"):
        room.set_up(inline())


def test_a_mount_that_hangs_is_killed_and_what_it_did_undone(room, monkeypatch, tmp_path):
    pid = tmp_path / "pid"
    script = f'{LAST} /usr/bin/mount --bind {room.export} "$target"; echo $$ > {pid}; exec /bin/sleep 1000'
    room.stand_ins.add("mount", script)
    monkeypatch.setattr(nfs, "MOUNT_LIMIT", 2)
    with pytest.raises(VolumeError, match="mount did not end within 2 s and was killed") as caught:
        room.set_up(inline())
    assert caught.value.left == "nothing"
    assert room.mounted() == []
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid.read_text()), 0)


def test_an_unmount_that_hangs_is_forced(room, monkeypatch):
    room.set_up(inline())
    script = f'if [ "$1" = -f ]; then {LAST} exec /usr/bin/umount -i "$target"; fi; exec /bin/sleep 1000'
    room.stand_ins.add("umount", script)
    monkeypatch.setattr(nfs, "UNMOUNT_LIMIT", 1)
    room.tear_down()
    assert room.stand_ins.called[1:] == [f"umount {room.target()}", f"umount -f {room.target()}"]
    assert room.mounted() == []


def test_a_busy_mount_stays_until_nobody_is_in_it(room):
    room.set_up(inline())
    busy = subprocess.Popen(["/bin/sleep", "60"], cwd=room.target())
    try:
        with pytest.raises(VolumeError, match=r"unmount failed: exit status 32[\s\S]*busy"):
            room.tear_down()
        assert room.mounted() == [str(room.target())]
    finally:
        busy.kill()
        busy.wait()
    room.tear_down()
    assert room.mounted() == []


@pytest.mark.parametrize("number", [errno.ESTALE, errno.ENOTCONN, errno.EIO, errno.EHOSTDOWN])
def test_a_mount_that_its_server_forgot_is_made_anew(room, monkeypatch, number):
    room.set_up(inline())
    look, broken = os.stat, [True]

    def stale(path, *args, **kwargs):
        if broken and str(path) == str(room.target()):
            broken.clear()
            raise OSError(number, os.strerror(number), path)
        return look(path, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(mountpoint.os, "stat", stale)
        room.set_up(inline(), again=True)
        assert broken
        room.set_up(inline())
    assert [line.split()[0] for line in room.stand_ins.called] == ["mount", "umount", "mount"]
    assert room.mounted() == [str(room.target())]


@needs_fuse
def test_a_mount_that_is_really_dead_is_made_anew_and_taken_off(room):
    (room.export / "file").touch()
    room.target().mkdir(parents=True)
    dead_mount(room.target())
    room.set_up(inline())
    assert os.listdir(room.target()) == ["file"]
    room.tear_down()
    room.target().mkdir()
    dead_mount(room.target())
    room.tear_down()
    assert room.mounted() == []
    assert not room.target().exists()


def test_a_server_that_trusts_no_foreign_root_is_not_taken_for_a_broken_one(room, monkeypatch):
    room.set_up(inline())
    look = os.stat

    def squash(path, *args, **kwargs):
        if str(path) == str(room.target()):
            raise PermissionError(errno.EACCES, "no", path)
        return look(path, *args, **kwargs)

    monkeypatch.setattr(mountpoint.os, "stat", squash)
    room.set_up(inline())
    assert len(room.stand_ins.called) == 1


def test_a_look_that_fails_otherwise_changes_nothing(room, monkeypatch):
    room.set_up(inline())

    def refuse(path):
        raise OSError(errno.ENOMEM, "no memory", path)

    monkeypatch.setattr(mountpoint, "healthy", refuse)
    with pytest.raises(OSError, match="no memory"):
        room.set_up(inline())
    assert len(room.mounted()) == 1


def test_a_server_that_does_not_answer_is_told_and_holds_up_nobody(room, monkeypatch):
    room.set_up(inline())
    free = threading.Event()
    monkeypatch.setattr(mountpoint, "healthy", lambda path: free.wait())
    monkeypatch.setattr(nfs, "LOOK_LIMIT", 0.5)
    with pytest.raises(
        VolumeError, match=r"server:/exports/a does not answer: nothing came back within 0\.5 s"
    ) as caught:
        room.set_up(inline())
    assert caught.value.left == "unchanged"
    free.set()
    assert len(room.mounted()) == 1


def test_what_a_container_mounted_in_it_goes_first(room):
    (room.export / "inner").mkdir()
    room.set_up(inline())
    mounts.mount_tmpfs(str(room.target() / "inner"))
    room.tear_down()
    assert room.mounted() == []


def test_it_is_the_same_for_every_life(room):
    assert room.plugin.found("uid-1", "data", block=False) == Found()
    assert room.plugin.devices_found() == ()
    assert room.plugin.given() == ()
    assert room.plugin.map_path("x") == ""
    assert not room.plugin.republishes(inline())
    assert not asyncio.run(room.plugin.attachable(inline()))
    assert not asyncio.run(room.plugin.exhausted(inline()))
    assert asyncio.run(room.plugin.unattached(inline())) == ""


def test_a_server_that_is_gone_is_looked_at_once(room, monkeypatch):
    room.set_up(inline())
    free, looks = threading.Event(), []

    def hang(path):
        looks.append(path)
        return free.wait()

    async def again_and_again():
        for text in ("nothing came back", "an earlier look still hangs", "an earlier look still hangs"):
            with pytest.raises(VolumeError, match=f"server:/exports/a does not answer: {text}"):
                await room.plugin.set_up(inline(), pod_of(), again=False)

    monkeypatch.setattr(mountpoint, "healthy", hang)
    monkeypatch.setattr(nfs, "LOOK_LIMIT", 0.2)
    asyncio.run(again_and_again())
    free.set()
    assert len(looks) == 1
