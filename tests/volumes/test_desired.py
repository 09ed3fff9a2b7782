from pykubelet.api.core import Container, EphemeralContainer, Pod, PodSpec
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.volumes import (
    ConfigMapVolumeSource,
    EmptyDirVolumeSource,
    HostPathVolumeSource,
    Volume,
    VolumeDevice,
    VolumeMount,
)
from pykubelet.volumes.desired import volumes_of

PLUGINS = {"emptyDir": "kubernetes.io/empty-dir", "hostPath": "kubernetes.io/host-path"}


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
