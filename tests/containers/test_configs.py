"""Sandbox and container configurations, mounts, hosts and hostnames: the pure parts."""

import json

import pytest

from pykubelet.api.core import (
    Container,
    ContainerPort,
    ExecAction,
    HostAlias,
    Lifecycle,
    LifecycleHandler,
    PodSecurityContext,
    ResourceRequirements,
    Sysctl,
)
from pykubelet.api.mounted import MountedVolume
from pykubelet.api.quantity import Quantity
from pykubelet.api.volumes import VolumeDevice, VolumeMount
from pykubelet.containers.container_config import ContainerParts, container_annotations, container_config
from pykubelet.containers.dns import Resolver
from pykubelet.containers.doors import Contribution, HostDevice
from pykubelet.containers.hostname import hostname_and_domain, kernel_hostname
from pykubelet.containers.hosts import host_network_hosts, pod_hosts
from pykubelet.containers.mounts import block_devices, plan_mounts, wants_hosts_file
from pykubelet.containers.sandbox_config import normalize_sysctl, port_mappings, sandbox_config
from pykubelet.containers.security import SecurityFacts
from pykubelet.containers.settings import ContainerSettings
from pykubelet.rpc import cri_v1


def test_hosts_of_a_pod():
    text = pod_hosts(
        ["10.0.0.1", "fd00::1"], "web", "sub.ns.svc.x", [HostAlias(ip="1.2.3.4", hostnames=["a", "b"])]
    )
    assert text.decode() == (
        "# Kubernetes-managed hosts file.\n"
        "127.0.0.1\tlocalhost\n"
        "::1\tlocalhost ip6-localhost ip6-loopback\n"
        "fe00::0\tip6-localnet\n"
        "fe00::0\tip6-mcastprefix\n"
        "fe00::1\tip6-allnodes\n"
        "fe00::2\tip6-allrouters\n"
        "10.0.0.1\tweb.sub.ns.svc.x\tweb\n"
        "fd00::1\tweb.sub.ns.svc.x\tweb\n"
        "\n# Entries added by HostAliases.\n1.2.3.4\ta\tb\n"
    )


def test_hosts_on_the_hosts_network():
    assert host_network_hosts(b"1 me\n", []) == b"# Kubernetes-managed hosts file (host network).\n1 me\n"


@pytest.mark.parametrize(
    ("spec", "wanted", "kernel"),
    [
        ({}, ("web", ""), "web"),
        ({"hostname": "h"}, ("h", ""), "h"),
        ({"subdomain": "s"}, ("web", "s.ns.svc.c"), "web"),
        ({"subdomain": "s", "setHostnameAsFQDN": True}, ("web", "s.ns.svc.c"), "web.s.ns.svc.c"),
        ({"hostnameOverride": "o.x", "subdomain": "s"}, ("o.x", ""), "o.x"),
        ({"hostnameOverride": "a" * 62 + ".bc"}, ("a" * 62, ""), "a" * 62),
    ],
)
def test_hostnames(make_pod, spec, wanted, kernel):
    pod = make_pod(**spec)
    assert hostname_and_domain(pod, "c") == wanted
    assert kernel_hostname(pod, "c") == kernel


def test_hostnames_that_are_none(make_pod):
    with pytest.raises(ValueError, match="is not a valid DNS label"):
        hostname_and_domain(make_pod(hostname="A_b"), "c")
    with pytest.raises(ValueError, match=r"too long \(64 characters is the max, 7\d characters requested\)"):
        kernel_hostname(make_pod(subdomain="s" * 60, setHostnameAsFQDN=True), "c")
    with pytest.raises(ValueError, match='pod HostnameOverride "A_b" is not a valid DNS subdomain: '):
        hostname_and_domain(make_pod(hostnameOverride="A_b"), "c")


def test_without_its_gate_an_override_is_nothing(make_pod):
    pod = make_pod(hostnameOverride="o.x", subdomain="s")
    assert hostname_and_domain(pod, "c", override=False) == ("web", "s.ns.svc.c")
    assert kernel_hostname(pod, "c", override=False) == "web"


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("net.ipv4.x", "net.ipv4.x"),
        ("net/ipv4/x", "net.ipv4.x"),
        ("net/a.b/x", "net.a/b.x"),
        ("net.a/1.x", "net.a/1.x"),
    ],
)
def test_sysctl_names(name, wanted):
    assert normalize_sysctl(name) == wanted


def test_ports_are_told_once():
    ports = [
        ContainerPort(containerPort=80, protocol="TCP"),
        ContainerPort(containerPort=80, protocol="TCP"),
        ContainerPort(containerPort=80, protocol="UDP", hostPort=8080, hostIP="127.0.0.1"),
        ContainerPort(name="x", containerPort=1, protocol="SCTP"),
        ContainerPort(name="x", containerPort=2, protocol="SCTP"),
    ]
    made = port_mappings(Container(name="a", ports=ports))
    assert [(p.container_port, p.host_port, p.protocol, p.host_ip) for p in made] == [
        (80, 0, cri_v1.TCP, ""),
        (80, 8080, cri_v1.UDP, "127.0.0.1"),
        (1, 0, cri_v1.SCTP, ""),
    ]


def test_sandbox(make_pod, layout):
    cpu = {"cpu": Quantity.parse("500m")}
    pod = make_pod(
        Container(name="a", resources=ResourceRequirements(requests=cpu, limits=cpu)),
        hostNetwork=True,
        overhead={"cpu": Quantity.parse("250m"), "memory": Quantity.parse("1Mi")},
        securityContext=PodSecurityContext(sysctls=[Sysctl(name="net/ipv4/x", value="1")]),
    )
    made = sandbox_config(
        pod,
        3,
        resolver=Resolver(("1.1.1.1",), ("s",), ("o",)),
        cgroup_parent="/p",
        security=SecurityFacts(),
        settings=ContainerSettings(),
        layout=layout,
    )
    assert (made.metadata.attempt, made.hostname) == (3, "")
    assert made.log_directory == str(layout.pod_logs / "ns_web_uid-1")
    assert dict(made.linux.sysctls) == {"net.ipv4.x": "1"}
    assert (made.linux.resources.cpu_shares, made.linux.resources.cpu_quota) == (512, 50_000)
    assert (made.linux.overhead.cpu_quota, made.linux.overhead.memory_limit_in_bytes) == (25_000, 1 << 20)


def test_annotations(make_pod):
    container = Container(
        name="foo",
        image="bar",
        terminationMessagePath="/t",
        terminationMessagePolicy="File",
        ports=[ContainerPort(containerPort=80, protocol="TCP")],
        lifecycle=Lifecycle(preStop=LifecycleHandler(exec=ExecAction(command=["x"]))),
    )
    notes = container_annotations(make_pod(container, terminationGracePeriodSeconds=30), container, 2)
    assert json.loads(notes.pop("io.kubernetes.container.preStopHandler")) == {"exec": {"command": ["x"]}}
    assert json.loads(notes.pop("io.kubernetes.container.ports")) == [
        {"containerPort": 80, "protocol": "TCP"}
    ]
    assert notes == {
        "io.kubernetes.container.hash": "11a6d6d6",
        "io.kubernetes.container.restartCount": "2",
        "io.kubernetes.container.terminationMessagePath": "/t",
        "io.kubernetes.container.terminationMessagePolicy": "File",
        "io.kubernetes.pod.terminationGracePeriod": "30",
    }


def test_a_manager_adds_to_a_container(make_pod):
    container = Container(
        name="a",
        command=["$(DEV)", "$(X)", "$(NO)"],
        lifecycle=Lifecycle(stopSignal="SIGRTMIN+3"),
    )
    extra = Contribution(
        env=(("DEV", "d"), ("X", "theirs")),
        devices=(HostDevice("/dev/a", "/dev/b", "rw"),),
        cdi_devices=("v/c=d",),
        annotations={"io.kubernetes.container.hash": "no", "k": "v"},
        cpuset_cpus="1-2",
    )
    parts = ContainerParts(
        image_ref="sha256:1",
        restart_count=1,
        env={"X": "own"},
        mounts=[cri_v1.Mount(host_path="/h", container_path="/c")],
        devices=[],
        security=cri_v1.LinuxContainerSecurityContext(
            namespace_options=cri_v1.NamespaceOption(
                userns_options=cri_v1.UserNamespace(uids=[cri_v1.IDMapping(host_id=65536, length=65536)])
            )
        ),
        resources=cri_v1.LinuxContainerResources(cpu_shares=2),
        contributions=[extra],
        stop_signals=True,
    )
    made = container_config(make_pod(container), container, parts)
    assert list(made.command) == ["d", "own", "$(NO)"]
    assert {e.key: e.value for e in made.envs} == {"DEV": b"d", "X": b"own"}
    assert made.annotations["k"] == "v"
    assert made.annotations["io.kubernetes.container.hash"] != "no"
    assert made.linux.resources.cpuset_cpus == "1-2"
    assert made.devices[0].host_path == "/dev/a"
    assert made.CDI_devices[0].name == "v/c=d"
    assert made.stop_signal == cri_v1.SIGRTMINPLUS3
    assert made.mounts[0].uidMappings[0].host_id == 65536
    assert made.log_path == "a/1.log"


VOLUMES = {
    "v": MountedVolume("v", "/h", selinux_relabel=True),
    "img": MountedVolume("img", image="sha256:1", read_only=True),
    "dev": MountedVolume("dev", device_path="/dev/x", read_only=True),
}


def plan(*mounts, supported=False, env=None):
    return plan_mounts(
        Container(name="c", volumeMounts=list(mounts)),
        VOLUMES,
        env or {},
        recursive_supported=supported,
        selinux=True,
    )


def test_mounts():
    first, second = plan(
        VolumeMount(name="v", mountPath="a", subPathExpr="$(X)", mountPropagation="Bidirectional"),
        VolumeMount(name="v", mountPath="/b", readOnly=True, recursiveReadOnly="IfPossible"),
        supported=True,
        env={"X": "sub"},
    )
    assert (first.container_path, first.subpath, first.selinux_relabel) == ("/a", "sub", True)
    assert first.message("/h/sub").propagation == cri_v1.PROPAGATION_BIDIRECTIONAL
    assert (second.recursive_read_only, second.selinux_relabel) == (True, True)
    # Each part once.
    parts = [
        VolumeMount(name="v", mountPath=f"/{at}", subPath=part) for at, part in enumerate(["a", "b", "a"])
    ]
    assert [each.selinux_relabel for each in plan(*parts)] == [True, True, False]
    (image,) = plan(VolumeMount(name="img", mountPath="/i", subPath="d"))
    message = image.message("", cri_v1.ImageSpec(image="sha256:1"))
    assert (message.image.image, message.image_sub_path, message.readonly) == ("sha256:1", "d", True)


@pytest.mark.parametrize(
    ("mount", "text"),
    [
        ({"name": "no"}, 'cannot find volume "no" to mount into container "c"'),
        ({"subPath": "/x"}, "error SubPath `/x` must not be an absolute path"),
        ({"subPath": "a/../x"}, "unable to provision SubPath `a/../x`: must not contain '..'"),
        ({"subPathExpr": "$(X)"}, "missing value for X"),
        ({"mountPropagation": "Odd"}, 'invalid MountPropagation mode: "Odd"'),
        ({"recursiveReadOnly": "Enabled"}, "but it is not read-only"),
        ({"recursiveReadOnly": "Enabled", "readOnly": True}, "but it is not supported by the runtime"),
        (
            {"recursiveReadOnly": "IfPossible", "readOnly": True, "mountPropagation": "HostToContainer"},
            'not compatible with propagation "HostToContainer"',
        ),
    ],
)
def test_mounts_that_cannot_be(mount, text):
    with pytest.raises(ValueError) as caught:
        plan(VolumeMount(**{"name": "v", "mountPath": "/m"} | mount))
    assert text in str(caught.value)


def test_hosts_file_only_where_nothing_else_is():
    own = Container(name="c", volumeMounts=[VolumeMount(name="v", mountPath="/etc/hosts")])
    plain = Container(name="c")
    assert wants_hosts_file(plain, host_network=False, has_ips=True)
    assert wants_hosts_file(plain, host_network=True, has_ips=False)
    assert not wants_hosts_file(plain, host_network=False, has_ips=False)
    assert not wants_hosts_file(own, host_network=True, has_ips=True)


def test_block_devices():
    container = Container(name="c", volumeDevices=[VolumeDevice(name="dev", devicePath="/dev/y")])
    assert block_devices(container, VOLUMES) == [HostDevice("/dev/x", "/dev/y", "r")]
    with pytest.raises(ValueError, match="must be an absolute path"):
        block_devices(Container(name="c", volumeDevices=[VolumeDevice(name="dev", devicePath="y")]), VOLUMES)
