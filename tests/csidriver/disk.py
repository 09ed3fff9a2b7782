"""The driver's real work: directories, images on loop devices, mounts. All of it blocks and can be repeated.

Uses the system's own tools throughout: nothing of what is tested is needed to test it.
"""

import contextlib
import hashlib
import json
import os
import shutil
import stat
import subprocess
from collections.abc import Sequence
from pathlib import Path

#: Bytes of an image that nobody gave a size.
SIZE = 16 * 1024 * 1024


def run(*command: str | Path) -> str:
    """Run a tool; its output.

    :raises OSError: it failed.
    """
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{command[0]}: {done.stderr.strip() or done.returncode}")
    return done.stdout.strip()


def mounted(path: Path) -> bool:
    """Whether something is mounted on *path*."""
    escaped = str(path).replace("\\", "\\134").replace(" ", "\\040")
    with open("/proc/self/mountinfo", encoding="utf-8") as table:
        return any(line.split(" ", 5)[4] == escaped for line in table)


def unmount(path: Path) -> None:
    """Take away whatever is mounted on *path*."""
    while mounted(path):
        run("umount", path)


def unmount_below(top: Path) -> None:
    """Take away whatever is mounted below *top*, innermost first."""
    with open("/proc/self/mountinfo", encoding="utf-8") as table:
        points = [line.split(" ", 5)[4].replace("\\040", " ") for line in table]
    for point in sorted(points, key=len, reverse=True):
        if Path(point).is_relative_to(top) and Path(point) != top:
            run("umount", point)


def bind(source: Path | str, target: Path, flags: Sequence[str] = ()) -> None:
    """Mount *source* on *target* too, with mount flags; half done is undone."""
    run("mount", "--bind", source, target)
    # A kernel without SELinux knows no context.
    known = [flag for flag in flags if not flag.startswith("context=")]
    try:
        if known:
            run("mount", "-o", ",".join(["remount", "bind", *known]), target)
    except OSError:
        unmount(target)
        raise


def loops(file: Path) -> list[str]:
    """The loop devices that *file* is on."""
    return run("losetup", "--noheadings", "--output", "NAME", "-j", file).split()


class Volume:
    """One volume: its data are kept below *top* until :meth:`delete`."""

    def __init__(self, top: Path, handle: str) -> None:
        self.handle = handle
        self.directory = top / hashlib.sha256(handle.encode()).hexdigest()[:16]
        self.data = self.directory / "data"
        self.image = self.directory / "image"
        self._notes = self.directory / "notes.json"

    @property
    def exists(self) -> bool:
        return self._notes.exists()

    @property
    def ephemeral(self) -> bool:
        return self.exists and json.loads(self._notes.read_text())["ephemeral"]

    def create(self, *, ephemeral: bool = False) -> None:
        """Make the volume, empty, unless it is there."""
        if self.exists:
            return
        self.data.mkdir(parents=True, exist_ok=True)
        part = self._notes.with_suffix(".part")
        part.write_text(json.dumps({"handle": self.handle, "ephemeral": ephemeral}))
        part.rename(self._notes)

    def delete(self) -> None:
        """Drop the volume and its data."""
        self.detach()
        shutil.rmtree(self.directory, ignore_errors=True)

    def device(self) -> str:
        """The loop device of the image; empty when there is none."""
        return next(iter(loops(self.image)), "")

    def attach(self, size: int = SIZE) -> str:
        """The image on a loop device, made if need be."""
        if not self.image.exists():
            part = self.image.with_suffix(".part")
            with part.open("wb") as file:
                file.truncate(size)
            part.rename(self.image)
        device = self.device() or run("losetup", "--find", "--show", self.image)
        # A loop device may stay read-only from an earlier use.
        run("blockdev", "--setrw", device)
        return device

    def detach(self) -> None:
        """No loop device any more (the kernel waits until nobody uses it)."""
        while device := self.device() if self.image.exists() else "":
            run("losetup", "--detach", device)
            # Still there: in use, and gone when that ends.
            if self.device() == device:
                return

    def format(self, device: str, fs_type: str) -> None:
        """A file system on the device, unless there is one."""
        probe = subprocess.run(["blkid", "-p", device], capture_output=True, check=False)
        if probe.returncode == 2:
            run(f"mkfs.{fs_type}", "-q", device)

    def grow(self, size: int) -> int:
        """Let the image have *size* bytes at least, and its file system, mounted or not; its size then."""
        if not self.image.exists():
            return size
        if size > self.image.stat().st_size:
            os.truncate(self.image, size)
        device = self.device()
        if device:
            run("losetup", "--set-capacity", device)
            probe = subprocess.run(["blkid", "-p", device], capture_output=True, check=False)
            if b'TYPE="ext' in probe.stdout:
                run("resize2fs", device)
        return self.image.stat().st_size


def make_target(path: Path, *, block: bool) -> None:
    """What something is mounted on: a directory, or a file for a block device."""
    if block:
        path.touch()
    else:
        path.mkdir(mode=0o750, exist_ok=True)


def remove_target(path: Path) -> None:
    """Undo :func:`make_target`; what is gone is fine."""
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISDIR(path.lstat().st_mode):
            path.rmdir()
        else:
            path.unlink()


def give_group(path: Path, gid: int) -> None:
    """Let the group *gid* have the volume whose root is *path*."""
    os.chown(path, -1, gid)
    path.chmod(stat.S_IMODE(path.stat().st_mode) | 0o2070)


def clean_up(root: Path, *places: Path) -> None:
    """Whatever a test left: mounts below *places*, and the loop devices of the driver at *root*."""
    devices = [device for image in root.glob("volumes/*/image") for device in loops(image)]
    # First those that hold a device for a kubelet: they keep its mounts busy.
    for device in devices:
        for holder in loops(Path(device)):
            run("losetup", "--detach", holder)
    for place in places:
        unmount_below(place)
    for device in devices:
        if Path(f"/sys/block/{Path(device).name}/loop").exists():
            run("losetup", "--detach", device)
