import errno
import os

import pytest

from pykubelet.linux import syscalls


def test_an_errno_is_its_exception(tmp_path):
    with pytest.raises(FileNotFoundError, match="missing"):
        syscalls.openat2(syscalls.AT_FDCWD, str(tmp_path / "missing"), os.O_PATH)
    with pytest.raises(OSError) as caught:
        syscalls.umount2(str(tmp_path))
    assert (caught.value.errno, caught.value.filename) == (errno.EINVAL, str(tmp_path))


def test_descriptors_are_not_inherited(tmp_path):
    descriptor = syscalls.openat2(syscalls.AT_FDCWD, str(tmp_path), os.O_RDONLY, resolve=0)
    try:
        assert not os.get_inheritable(descriptor)
    finally:
        os.close(descriptor)


def test_a_file_system_has_its_number():
    assert syscalls.filesystem_type("/proc") == 0x9FA0
