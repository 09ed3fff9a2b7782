"""Trees as hosts have them; the kernel that runs these tests most likely has no SELinux."""

import os

import pytest

from pykubelet.linux import selinux
from pykubelet.linux.selinux import SELinux

MOUNT = "40 20 0:19 / /sys/fs/selinux {mount} shared:9 - selinuxfs selinuxfs {fs}\n"
OTHERS = "20 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw,seclabel\n"
FEDORA = """\
process = "system_u:system_r:container_t:s0"
content = "system_u:object_r:virt_var_lib_t:s0"
; a comment
# another = one
file = "system_u:object_r:container_file_t:s0"
nothing

ro_file="system_u:object_r:container_ro_file_t:s0"
"""
CONTAINERS = SELinux("system_u:system_r:container_t:s0", "system_u:object_r:container_file_t:s0")
CONFIG = 'SELINUX=enforcing\n# SELINUXTYPE=mls\nSELINUXTYPE="targeted"\n'


class Host:
    def __init__(self, root):
        self.root = root
        self.put("proc/self/mountinfo", OTHERS + MOUNT.format(mount="rw,noexec", fs="rw"))
        self.put("proc/thread-self/attr/current", "system_u:system_r:kubelet_t:s0\0")

    def put(self, path, text):
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    def read(self):
        return selinux.read(self.root)


@pytest.fixture
def host(tmp_path):
    return Host(tmp_path)


@pytest.mark.parametrize(
    ("table", "label", "on"),
    [
        (MOUNT.format(mount="rw", fs="rw"), "unconfined_u:unconfined_r:unconfined_t:s0\0", True),
        (MOUNT.format(mount="rw", fs="rw").replace("/sys/fs/selinux", "/selinux"), "", True),
        # No policy is loaded.
        (MOUNT.format(mount="rw", fs="rw"), "kernel\0", False),
        # A container that must not see it.
        (MOUNT.format(mount="ro", fs="rw"), "system_u:system_r:t:s0\0", False),
        (MOUNT.format(mount="rw", fs="ro"), "system_u:system_r:t:s0\0", False),
        (MOUNT.format(mount="ro", fs="rw") + MOUNT.format(mount="rw", fs="rw"), "u:r:t:s0\0", True),
        (OTHERS, "unconfined\0", False),
        ("", "", False),
    ],
)
def test_whether_it_is_on(host, table, label, on):
    host.put("proc/self/mountinfo", table)
    host.put("proc/thread-self/attr/current", label)
    assert (host.read() is not None) is on


def test_a_host_without_it(tmp_path):
    assert selinux.read(tmp_path) is None


def test_a_label_that_cannot_be_read_is_none_of_a_kernel_without_policy(host):
    (host.root / "proc/thread-self/attr/current").unlink()
    assert host.read() == SELinux()


@pytest.mark.parametrize(
    ("files", "found"),
    [
        ({}, SELinux()),
        ({"etc/selinux/targeted/contexts/lxc_contexts": FEDORA}, CONTAINERS),
        ({"etc/selinux/mls/contexts/lxc_contexts": FEDORA}, SELinux()),
        ({"usr/share/containers/selinux/contexts": 'process = "a:b:c"\n'}, SELinux("a:b:c", "")),
        (
            {
                "usr/share/containers/selinux/contexts": FEDORA,
                "etc/selinux/targeted/contexts/lxc_contexts": 'process = "a:b:c"\nfile = "d:e:f"\n',
            },
            CONTAINERS,
        ),
        ({"etc/selinux/targeted/contexts/lxc_contexts/file": ""}, SELinux()),
    ],
)
def test_labels_of_containers(host, files, found):
    host.put("etc/selinux/config", CONFIG)
    for path, text in files.items():
        host.put(path, text)
    assert host.read() == found


def test_a_host_without_configuration(host):
    host.put("etc/selinux/contexts/lxc_contexts", FEDORA)
    # As go-selinux: the policy's name is empty.
    assert host.read() == CONTAINERS


def test_a_file_gets_a_label(tmp_path, monkeypatch):
    told = []
    monkeypatch.setattr(os, "setxattr", lambda *args: told.append(args))
    selinux.set_file_label(tmp_path, "u:r:t:s0")
    assert told == [(tmp_path, "security.selinux", b"u:r:t:s0\0")]
