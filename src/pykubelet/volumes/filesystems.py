"""File systems on block devices: what a device holds, its formatting when blank, checking, growing.

The commands and their options are upstream's (mount-utils). Nothing is ever formatted that
holds anything blkid knows, that somebody uses, or that cannot be read.
"""

import logging
import os
import re
from collections.abc import Sequence
from typing import Final

from pykubelet.base.errors import ExpandError, VolumeError

from . import commands, errors
from .patient_threads import PatientThreads

log = logging.getLogger(__name__)

DEFAULT: Final = "ext4"
#: What a device with a partition table is said to hold.
PARTITIONS: Final = "unknown data, probably partitions"

#: Seconds for a command that looks, for one that mounts, and for one that works through a whole device.
LOOK_LIMIT: Final = 60.0
MOUNT_LIMIT: Final = 300.0
WORK_LIMIT: Final = 3600.0

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
#: Options of mkfs beside the device.
_FORMATTING: Final = {"ext3": ("-F", "-m0"), "ext4": ("-F", "-m0"), "xfs": ("-f",)}
#: blkid's exit status when it knows nothing on the device.
_NOTHING: Final = 2
#: fsck's exit status when errors were corrected, and when some were left.
_CORRECTED: Final = 1
_UNCORRECTED: Final = 4
#: Bytes at each end of a device that must be readable before it is formatted.
_ENDS: Final = 1 << 16


async def probe(device: str) -> str:
    """The kind of file system on *device*; empty when it is blank.

    :raises VolumeError: it cannot be told.
    """
    failed = f"failed to get disk format of disk {device}"
    try:
        done = await commands.run(
            "blkid", "-p", "-s", "TYPE", "-s", "PTTYPE", "-o", "export", device, seconds=LOOK_LIMIT
        )
    except FileNotFoundError:
        raise VolumeError(f"{failed}: there is no blkid on this node", left="nothing") from None
    if done.code == _NOTHING:
        return ""
    if done.code:
        raise VolumeError(f"{failed}: exit status {done.code}: {done.shown}", left="nothing")
    told = dict(line.partition("=")[::2] for line in done.output.splitlines() if line)
    return PARTITIONS if told.get("PTTYPE") else told.get("TYPE", "")


async def format_and_mount(
    device: str, target: str, kind: str, options: Sequence[str], *, looks: PatientThreads
) -> None:
    """Mount *device* at *target*, formatted as *kind* if it is blank and not to be mounted ``ro``.

    :raises MismatchError: it holds something else, and cannot be mounted.
    :raises VolumeError: a step failed; a time-out of the mount may leave it mounted.
    """
    kind = kind or DEFAULT
    if not _NAME.fullmatch(kind):
        raise VolumeError(f'"{kind}" is not the name of a file system', left="nothing")
    found = await probe(device)
    read_only = "ro" in options
    if not found:
        if read_only:
            raise VolumeError(
                f"cannot mount unformatted disk {device} as we are manipulating it in read-only mode",
                left="nothing",
            )
        await _format(device, target, kind, options, looks)
    elif found == PARTITIONS:
        text = f"{device} holds {found}: it is neither formatted nor mounted"
        raise errors.MismatchError(text, left="nothing")
    elif not read_only:
        await _check(device)
    try:
        await commands.mount(device, target, kind, [*options, "defaults"], seconds=MOUNT_LIMIT, scope=True)
    except VolumeError as error:
        if found in ("", kind):
            raise
        text = f"{error}\n{device} is formatted as {found}, not as {kind}"
        raise errors.MismatchError(text) from error


async def _format(device: str, target: str, kind: str, options: Sequence[str], looks: PatientThreads) -> None:
    try:
        await looks.run(device, lambda: _see_unused(device), LOOK_LIMIT)
    except TimeoutError:
        raise VolumeError(f"{device} does not answer, it is not formatted", left="nothing") from None
    except OSError as error:
        text = f"{device} is not formatted: {errors.reason(error)}"
        raise VolumeError(text, left="nothing") from error
    command = (f"mkfs.{kind}", *_FORMATTING.get(kind, ()), device)
    log.info("%s is blank: %s", device, " ".join(command))
    failed = f'format of disk "{device}" failed: type:("{kind}") target:("{target}") options:("{options}")'
    try:
        done = await commands.run(*command, seconds=WORK_LIMIT)
    except FileNotFoundError:
        raise VolumeError(f"{failed}: there is no {command[0]} on this node", left="nothing") from None
    if done.code:
        text = f"{failed} errcode:(exit status {done.code}) output:({done.shown})"
        raise VolumeError(text, left="nothing")


def _see_unused(device: str) -> None:
    """Raise an ``OSError`` when somebody uses the device or it cannot be read: blkid calls that blank."""
    descriptor = os.open(device, os.O_RDONLY | os.O_EXCL | os.O_CLOEXEC)
    try:
        end = os.lseek(descriptor, 0, os.SEEK_END)
        os.pread(descriptor, _ENDS, 0)
        os.pread(descriptor, _ENDS, max(0, end - _ENDS))
    finally:
        os.close(descriptor)


async def _check(device: str) -> None:
    try:
        done = await commands.run("fsck", "-a", device, seconds=WORK_LIMIT)
    except FileNotFoundError:
        log.warning("there is no fsck on this node: %s is mounted unchecked", device)
        return
    if done.code == _CORRECTED:
        log.info("fsck corrected errors on %s", device)
    elif done.code == _UNCORRECTED:
        text = f"'fsck' found errors on device {device} but could not correct them: {done.shown}"
        raise VolumeError(text, left="nothing")
    elif done.code:
        log.info("fsck of %s: %s", device, done.shown)


async def grow(device: str, target: str) -> None:
    """Let the file system on *device*, mounted at *target*, have all of the device.

    :raises ExpandError: it cannot grow.
    :raises VolumeError: what it is cannot be told.
    """
    found = await probe(device)
    commands_of = {
        "ext3": ("resize2fs", device),
        "ext4": ("resize2fs", device),
        "xfs": ("xfs_growfs", "-d", target),
        "btrfs": ("btrfs", "filesystem", "resize", "max", target),
    }
    if not found:
        # mkfs will take the whole device.
        return
    command = commands_of.get(found)
    if command is None:
        text = f"resize of format {found} is not supported for device {device} mounted at {target}"
        raise ExpandError(f"ResizeFS.Resize - {text}", "infeasible")
    try:
        done = await commands.run(*command, seconds=WORK_LIMIT)
    except FileNotFoundError:
        raise ExpandError(f"resize of device {device} failed: there is no {command[0]} here") from None
    if done.code:
        raise ExpandError(
            f"resize of device {device} failed: exit status {done.code}. {command[0]} output: {done.shown}"
        )
