"""The mount and open calls of Linux that Python does not have, typed, with errors that name the path.

Every failed call raises the ``OSError`` subclass of its errno with the path concerned.
The descriptors returned are close-on-exec and belong to the caller. All calls block.
"""

import ctypes
import functools
import os
from typing import Final

AT_FDCWD: Final = -100

MS_RDONLY: Final = 0x1
MS_NOSUID: Final = 0x2
MS_NODEV: Final = 0x4
MS_NOEXEC: Final = 0x8
MS_REMOUNT: Final = 0x20
MS_NOATIME: Final = 0x400
MS_NODIRATIME: Final = 0x800
MS_BIND: Final = 0x1000
MS_REC: Final = 0x4000
MS_PRIVATE: Final = 1 << 18
MS_SHARED: Final = 1 << 20
MS_RELATIME: Final = 1 << 21

MNT_DETACH: Final = 0x2
UMOUNT_NOFOLLOW: Final = 0x8

RESOLVE_NO_XDEV: Final = 0x01
RESOLVE_NO_MAGICLINKS: Final = 0x02
RESOLVE_NO_SYMLINKS: Final = 0x04
RESOLVE_BENEATH: Final = 0x08

TMPFS_MAGIC: Final = 0x01021994
HUGETLBFS_MAGIC: Final = 0x958458F6

# One number on every architecture that Linux added since 2019 shares.
_SYS_OPENAT2: Final = 437

#: Room for struct statfs on every architecture; f_type is its first word.
_STATFS_SIZE: Final = 256


class _OpenHow(ctypes.Structure):
    _fields_ = (("flags", ctypes.c_uint64), ("mode", ctypes.c_uint64), ("resolve", ctypes.c_uint64))


@functools.cache
def _libc() -> ctypes.CDLL:
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mount.argtypes = (
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.c_char_p,
        ctypes.c_ulong,
        ctypes.c_char_p,
    )
    libc.umount2.argtypes = (ctypes.c_char_p, ctypes.c_int)
    libc.statfs.argtypes = (ctypes.c_char_p, ctypes.c_void_p)
    libc.syscall.restype = ctypes.c_long
    return libc


def _checked(result: int, path: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), path)
    return result


def _syscall(path: str, number: int, *arguments: object) -> int:
    return _checked(_libc().syscall(ctypes.c_long(number), *arguments), path)


def mount(source: str, target: str, fstype: str, flags: int, data: str = "") -> None:
    """Call ``mount``: *fstype* and *data* may be empty.

    :raises OSError: the kernel refused.
    """
    result = _libc().mount(
        os.fsencode(source),
        os.fsencode(target),
        fstype.encode() or None,
        flags,
        data.encode() or None,
    )
    _checked(result, target)


def umount2(target: str, flags: int = 0) -> None:
    """Call ``umount2``.

    :raises OSError: not a mount point (``EINVAL``), in use (``EBUSY``), or otherwise refused.
    """
    _checked(_libc().umount2(os.fsencode(target), flags), target)


def openat2(directory: int, path: str, flags: int, *, mode: int = 0, resolve: int = 0) -> int:
    """Call ``openat2``: open *path* below *directory* under the rules of *resolve*.

    :raises OSError: refused; ``EXDEV`` or ``ELOOP`` where a rule is broken, ``EAGAIN`` when the
        tree changed meanwhile, ``ENOSYS`` before Linux 5.6.
    """
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    return _syscall(
        path,
        _SYS_OPENAT2,
        ctypes.c_int(directory),
        ctypes.c_char_p(os.fsencode(path)),
        ctypes.byref(how),
        ctypes.c_size_t(ctypes.sizeof(how)),
    )


def filesystem_type(path: str) -> int:
    """The magic number of the file system that *path* is on (statfs(2)'s f_type).

    :raises OSError: the path cannot be looked at.
    """
    buffer = ctypes.create_string_buffer(_STATFS_SIZE)
    _checked(_libc().statfs(os.fsencode(path), buffer), path)
    # Signed on some architectures; every magic number fits 32 bits.
    return ctypes.c_ulong.from_buffer(buffer).value & 0xFFFFFFFF
