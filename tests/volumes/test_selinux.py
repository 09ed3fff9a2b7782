import pytest

from pykubelet.api.core import (
    Container,
    Pod,
    PodSecurityContext,
    PodSpec,
    SecurityContext,
    SELinuxOptions,
)
from pykubelet.api.storage import PersistentVolume, PersistentVolumeSpec
from pykubelet.api.volumes import VolumeDevice, VolumeMount
from pykubelet.linux.selinux import SELinux
from pykubelet.volumes import selinux
from pykubelet.volumes.selinux import LabelError

FEDORA = SELinux("system_u:system_r:container_t:s0", "system_u:object_r:container_file_t:s0")
#: A policy without categories.
PLAIN = SELinux("system_u:system_r:c_t", "system_u:object_r:f_t")


def options(level="", user="", role="", type_=""):
    return SELinuxOptions(user=user, role=role, type=type_, level=level)


@pytest.mark.parametrize(
    ("host", "asked", "label"),
    [
        (FEDORA, options(), ""),
        (FEDORA, options("s0:c1,c2"), "system_u:object_r:container_file_t:s0:c1,c2"),
        # Files keep the host's role and type, whatever the process has.
        (
            FEDORA,
            options("s0:c1,c2", "staff_u", "staff_r", "spc_t"),
            "staff_u:object_r:container_file_t:s0:c1,c2",
        ),
        (FEDORA, options("s0"), "system_u:object_r:container_file_t:s0"),
        # The runtime will choose categories of its own.
        (FEDORA, options(type_="spc_t"), ""),
        (FEDORA, options(user="staff_u"), ""),
        (PLAIN, options(type_="x_t"), "system_u:object_r:f_t"),
        (PLAIN, options(user="staff_u"), "staff_u:object_r:f_t"),
        (PLAIN, options("s1"), "system_u:object_r:f_t:s1"),
        (SELinux("u:r:p_t", "u:r:f_t:s0-s0:c0.c1023"), options(user="v"), "v:r:f_t:s0-s0:c0.c1023"),
        # A policy that knows nothing of containers.
        (SELinux(), options("s0:c1,c2"), ""),
        (SELinux("", "u:object_r:f_t:s0"), options("s0:c1,c2"), "u:object_r:f_t:s0"),
        (SELinux("u:r:t:s0", ""), options("s0:c1,c2"), ""),
    ],
)
def test_labels_of_files(host, asked, label):
    assert selinux.file_label(host, asked) == label


@pytest.mark.parametrize("host", [SELinux("broken", "u:r:t"), SELinux("u:r:t", "u:t")])
def test_a_policy_that_cannot_be_read(host):
    said = (
        'failed to construct SELinux label from context "&SELinuxOptions{User:u,Role:,Type:,Level:s0,}": '
        "invalid Label"
    )
    with pytest.raises(LabelError) as caught:
        selinux.file_label(host, options("s0", "u"))
    assert str(caught.value) == said


def box(level=None, *volumes, devices=()):
    context = SecurityContext(seLinuxOptions=options(level)) if level is not None else None
    return Container(
        name="box",
        securityContext=context,
        volumeMounts=[VolumeMount(name=name) for name in volumes],
        volumeDevices=[VolumeDevice(name=name) for name in devices],
    )


def pod(*containers, level=None, policy=None, init=()):
    shared = options(level) if level is not None else None
    context = PodSecurityContext(seLinuxOptions=shared, seLinuxChangePolicy=policy)
    return Pod(spec=PodSpec(securityContext=context, containers=list(containers), initContainers=list(init)))


A, B = (f"system_u:object_r:container_file_t:s0:{level}" for level in ("a", "b"))


@pytest.mark.parametrize(
    ("asking", "labels"),
    [
        (pod(box(None, "data")), set()),
        (pod(box(None, "data"), level="s0:a"), {A}),
        (pod(box("s0:b", "data"), level="s0:a"), {B}),
        (pod(box("s0:b", "data"), box(None, "data"), level="s0:a"), {A, B}),
        # Who asks for nothing is left to the others; who does not mount it does not count.
        (pod(box("s0:b", "data"), box(None, "data")), {B}),
        (pod(box("s0:b", "data"), box("s0:a", "other")), {B}),
        (pod(box("s0:b", "data"), init=[box("s0:a", "data")]), {A, B}),
        (pod(box("s0:b", "again")), {B}),
        (pod(box("", "data"), level="s0:a"), {""}),
        (pod(box("s0:b", devices=["data"])), set()),
        (Pod(spec=PodSpec(containers=[box(None, "data")])), set()),
    ],
)
def test_labels_that_a_pod_needs(asking, labels):
    assert selinux.labels_of(FEDORA, asking, ("data", "again")) == labels


def test_who_opts_out():
    assert selinux.recursive(pod(policy="Recursive"))
    assert not any(
        selinux.recursive(each) for each in (pod(policy="MountOption"), pod(), Pod(spec=PodSpec()))
    )


def pv_of(*modes):
    return PersistentVolume(spec=PersistentVolumeSpec(accessModes=list(modes)))


@pytest.mark.parametrize(
    ("modes", "called", "mounted"),
    [
        (["ReadWriteOncePod"], "RWOP", True),
        (["ReadWriteOnce"], "RWO", False),
        (["ReadWriteOnce", "ReadWriteOncePod"], "RWO", False),
        (["ReadOnlyMany", "ReadWriteOnce"], "ROX", False),
        (["ReadWriteOncePod", "ReadOnlyMany", "ReadWriteMany"], "RWX", False),
        ([], "", False),
    ],
)
def test_access_modes(modes, called, mounted):
    pv = pv_of(*modes)
    assert selinux.access_mode(pv) == called
    assert selinux.mountable(pv, every_mode=False) is mounted
    assert selinux.mountable(pv, every_mode=True)


def test_a_pods_own_volume_is_mounted_with_none():
    assert selinux.access_mode(None) == "inline"
    assert not selinux.mountable(None, every_mode=True)


def test_the_option():
    label = "system_u:object_r:data:s0:c1,c2"
    assert selinux.with_label(["ro"], label) == ("ro", f'context="{label}"')
    assert selinux.with_label(["ro"], "") == ("ro",)
