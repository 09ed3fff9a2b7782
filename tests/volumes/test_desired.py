import pytest

from pykubelet.api.core import Container, EphemeralContainer, Pod, PodSpec
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.storage import PersistentVolume, PersistentVolumeSpec
from pykubelet.api.volumes import (
    ConfigMapVolumeSource,
    CSIVolumeSource,
    EmptyDirVolumeSource,
    HostPathVolumeSource,
    PersistentVolumeClaimVolumeSource,
    Volume,
    VolumeDevice,
    VolumeMount,
)
from pykubelet.volumes.desired import joined, volumes_of
from pykubelet.volumes.plugin import Device
from pykubelet.volumes.spec import VolumeSpec
from pykubelet.volumes.state import Resolved

PLUGINS = {"emptyDir": "kubernetes.io/empty-dir", "hostPath": "kubernetes.io/host-path"}
CSI = "kubernetes.io/csi"


def empty(name):
    return Volume(name=name, emptyDir=EmptyDirVolumeSource())


def box(name, *volumes, devices=(), kind=Container):
    return kind(
        name=name,
        volumeMounts=[VolumeMount(name=volume, mountPath=f"/{volume}") for volume in volumes],
        volumeDevices=[VolumeDevice(name=volume, devicePath=f"/dev/{volume}") for volume in devices],
    )


def pod_of(volumes, **lists):
    return Pod(metadata=ObjectMeta(name="p", namespace="n", uid="u"), spec=PodSpec(volumes=volumes, **lists))


def test_only_volumes_that_containers_name_count():
    pod = pod_of(
        [empty("init"), empty("main"), empty("debug"), empty("unused"), empty("twice")],
        initContainers=[box("i", "init", "twice")],
        containers=[box("c", "main", "twice", "twice")],
        ephemeralContainers=[box("e", "debug", kind=EphemeralContainer)],
    )
    asked = volumes_of(pod, PLUGINS)
    assert asked.names == ("debug", "init", "main", "twice")
    assert list(asked.volumes) == list(asked.names)
    assert asked.problems == {}
    assert asked.volumes["main"].key.unique_name == "kubernetes.io/empty-dir/u-main"


def test_each_problem_is_told():
    pod = pod_of(
        [
            Volume(name="config", configMap=ConfigMapVolumeSource(name="c")),
            Volume(name="none"),
            Volume(name="two", emptyDir=EmptyDirVolumeSource(), hostPath=HostPathVolumeSource(path="/")),
            empty("raw"),
            Volume(name="unused", configMap=ConfigMapVolumeSource(name="c")),
        ],
        containers=[box("c", "config", "none", "two", "missing", devices=["raw"])],
    )
    asked = volumes_of(pod, PLUGINS)
    assert asked.volumes == {}
    assert asked.problems == {
        "config": 'volume "config" of type configMap is not supported yet by this kubelet',
        "missing": 'volume "missing" is not in the pod\'s spec',
        "none": 'volume "none" names no source',
        "raw": "volume raw has volumeMode Filesystem, but is specified in volumeDevices",
        "two": 'volume "two" names several sources: emptyDir, hostPath',
    }


def claimed(name, pv, handle="h", *, read_only=False):
    """What is behind a claim that is bound to a CSI volume."""
    claim = PersistentVolumeClaimVolumeSource(claimName=name, readOnly=read_only)
    found = PersistentVolume(metadata=ObjectMeta(name=pv))
    spec = VolumeSpec(Volume(name=name, persistentVolumeClaim=claim), found)
    return Resolved(spec, CSI, Device(f"{CSI}/d^{handle}", pv, False))


def own(name):
    """What a pod asks a CSI driver for by itself."""
    return Resolved(VolumeSpec(Volume(name=name, csi=CSIVolumeSource(driver="d"))), CSI)


def test_claims_of_one_volume_are_joined():
    found = {"a": claimed("a", "pv-1", read_only=True), "b": claimed("b", "pv-1"), "c": own("c")}
    wanted, problems = joined(pod_of([]), [], found)
    assert problems == {}
    assert {key.name: each.names for key, each in wanted.items()} == {"pv-1": ("a", "b"), "c": ("c",)}
    assert [each.resolved.spec.read_only for each in wanted.values()] == [False, False]


@pytest.mark.parametrize(
    ("found", "clashing"),
    [
        ({"a": claimed("a", "x"), "x": own("x")}, ["a", "x"]),
        ({"a": claimed("a", "x"), "b": claimed("b", "x"), "x": own("x")}, ["a", "b", "x"]),
        ({"x": own("x"), "y": claimed("y", "x"), "z": claimed("z", "x")}, ["x", "y", "z"]),
        # It was made anew between two looks.
        ({"a": claimed("a", "x"), "b": claimed("b", "x", "other")}, ["a", "b"]),
    ],
)
def test_volumes_that_would_have_one_directory_are_refused(found, clashing):
    found = {**found, "good": claimed("good", "good")}
    wanted, problems = joined(pod_of([]), [], found)
    assert [key.name for key in wanted] == ["good"]
    assert sorted(problems) == clashing
    [text] = set(problems.values())
    assert text.startswith(
        f"volumes [{' '.join(clashing)}] are not the same but have the same directory kubernetes.io~csi/x: "
    )


def test_a_path_of_the_node_and_a_persistent_one_of_the_same_name():
    pod = pod_of(
        [Volume(name="x", hostPath=HostPathVolumeSource(path="/a"))], containers=[box("c", "x", "y")]
    )
    pv = PersistentVolume(
        metadata=ObjectMeta(name="x"), spec=PersistentVolumeSpec(hostPath=HostPathVolumeSource(path="/b"))
    )
    claim = PersistentVolumeClaimVolumeSource(claimName="y")
    behind = Resolved(VolumeSpec(Volume(name="y", persistentVolumeClaim=claim), pv), PLUGINS["hostPath"])
    wanted, problems = joined(pod, volumes_of(pod, PLUGINS).volumes.values(), {"y": behind})
    assert (wanted, sorted(problems)) == ({}, ["x", "y"])
