"""Loop devices: holding a block device open for as long as somebody uses it. All calls block.

What a loop device is made of is read from sysfs, so that one that another process made, or
an earlier life of this one, is found as well.
"""

import contextlib
import errno
import fcntl
import os
from pathlib import Path
from typing import Final

_SYSFS: Final = Path("/sys/block")
_DEVICES: Final = "/dev"
_CONTROL: Final = "/dev/loop-control"

# linux/loop.h
_SET_FD: Final = 0x4C00
_CLEAR_FD: Final = 0x4C01
_GET_FREE: Final = 0x4C82

#: How often a free device is asked for again when somebody else was quicker.
_TRIES: Final = 16
#: What sysfs adds to the name of a file that is gone.
_DELETED: Final = " (deleted)"


def holders(path: str, sysfs: Path = _SYSFS) -> list[str]:
    """The loop devices whose backing file was opened as *path*.

    :raises OSError: sysfs cannot be read.
    """
    found = []
    for device in sorted(sysfs.glob("loop*")):
        try:
            backing = os.fsdecode((device / "loop/backing_file").read_bytes())
        except OSError:
            # Not bound to anything, or not any more.
            continue
        backing = backing.removesuffix("\n")
        if path in (backing, backing.removesuffix(_DELETED)):
            found.append(f"{_DEVICES}/{device.name}")
    return found


def hold(path: str) -> str:
    """Bind a loop device to *path* unless one is already; its name.

    :raises OSError: there is no loop device to be had, or *path* cannot be opened.
    """
    real = os.path.realpath(path)
    for device in holders(real):
        return device
    descriptor = _open(real)
    try:
        for _ in range(_TRIES):
            device = f"{_DEVICES}/loop{_free()}"
            if _set(device, descriptor):
                return device
    finally:
        os.close(descriptor)
    raise OSError(errno.EBUSY, "every free loop device was taken by others", path)


def release(path: str) -> bool:
    """Let go of *path*; False when no loop device held it.

    :raises OSError: refused.
    """
    found = holders(os.path.realpath(path))
    for device in found:
        loop = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
        try:
            # ENXIO: somebody else let go meanwhile.
            _ioctl(loop, _CLEAR_FD, 0, device, accept=errno.ENXIO)
        finally:
            os.close(loop)
    return bool(found)


def _open(path: str) -> int:
    with contextlib.suppress(OSError):
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _free() -> int:
    control = os.open(_CONTROL, os.O_RDWR | os.O_CLOEXEC)
    try:
        return _ioctl(control, _GET_FREE, 0, _CONTROL)
    finally:
        os.close(control)


def _set(device: str, descriptor: int) -> bool:
    """Whether *device* now holds what *descriptor* stands for."""
    writable = fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
    loop = os.open(device, (os.O_RDWR if writable else os.O_RDONLY) | os.O_CLOEXEC)
    try:
        return _ioctl(loop, _SET_FD, descriptor, device, accept=errno.EBUSY) == 0
    finally:
        os.close(loop)


def _ioctl(descriptor: int, request: int, argument: int, path: str, *, accept: int = 0) -> int:
    """The answer, or -1 for the error *accept*; other errors name the *path*."""
    try:
        return fcntl.ioctl(descriptor, request, argument)
    except OSError as error:
        if error.errno == accept:
            return -1
        raise OSError(error.errno, error.strerror, path) from error
