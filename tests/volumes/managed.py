"""A volume manager and what surrounds it, for tests."""

import asyncio

from pykubelet.api.core import Container, Pod, PodSpec
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.volumes import (
    ConfigMapVolumeSource,
    CSIVolumeSource,
    EmptyDirVolumeSource,
    HostPathVolumeSource,
    PersistentVolumeClaimVolumeSource,
    SecretVolumeSource,
    Volume,
    VolumeMount,
)
from pykubelet.base.clock import LoopClock
from pykubelet.base.layout import Layout
from pykubelet.linux import mountinfo
from pykubelet.volumes import VolumeManager

_FIELDS = {
    ConfigMapVolumeSource: "configMap",
    CSIVolumeSource: "csi",
    HostPathVolumeSource: "hostPath",
    PersistentVolumeClaimVolumeSource: "persistentVolumeClaim",
    SecretVolumeSource: "secret",
}


def pod_of(uid="uid-1", *volumes, medium="", **sources):
    made = [Volume(name=name, emptyDir=EmptyDirVolumeSource(medium=medium)) for name in volumes]
    made += [_volume(name, source) for name, source in sources.items()]
    mounted = [VolumeMount(name=volume.name, mountPath=f"/{volume.name}") for volume in made]
    return Pod(
        metadata=ObjectMeta(name="web", namespace="shop", uid=uid),
        spec=PodSpec(volumes=made, containers=[Container(name="box", volumeMounts=mounted)]),
    )


def _volume(name, source):
    return Volume(name=name, **{_FIELDS[type(source)]: source})


class Story:
    """Journal and events, kept."""

    def __init__(self):
        self.decisions, self.events, self.causes, self.texts = [], [], [], []
        #: Events about other objects than pods: (object, kind, reason, message).
        self.elsewhere = []

    def record(self, decision, text, *, pod=None, container="", cause="", **facts):
        self.decisions.append((decision, facts.get("volume")))
        self.causes.append((decision, cause))
        self.texts.append((decision, text))

    def pod_event(self, pod, kind, reason, message, *, field_path=""):
        self.events.append((pod.name, kind, reason, message))

    def node_event(self, kind, reason, message):
        raise AssertionError("volumes say nothing about the node")

    def object_event(self, about, kind, reason, message):
        self.elsewhere.append((str(about), kind, reason, message))


class Node:
    """The manager and what surrounds it."""

    def __init__(self, root):
        self.layout = Layout(root=root)
        self.pods, self.over, self.ending = [], set(), set()
        self.ready = True
        self.asked = 0
        self.story = Story()
        self.manager = None

    def desired(self):
        self.asked += 1
        return self.pods

    async def start(self, **options):
        named = lambda uid: any(pod.metadata.uid == uid for pod in self.pods)  # noqa: E731
        self.manager = VolumeManager(
            self.layout,
            LoopClock(),
            self.story,
            self.story,
            desired_pods=self.desired,
            may_remove=lambda uid: uid in self.over or not named(uid),
            sources_ready=lambda: self.ready,
            node_allocatable_memory=lambda: 1 << 20,
            ending=lambda uid: uid in self.ending,
            **options,
        )
        await self.manager.start()
        return self.manager


async def inline(work):
    return work()


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


def mapped(uid="uid-1", name="settings"):
    """A pod with a config map's volume."""
    return pod_of(uid, conf=ConfigMapVolumeSource(name=name, defaultMode=0o644))


async def points(node):
    """What is mounted below the node's pods."""
    table = await asyncio.to_thread(mountinfo.read)
    return [mount.mount_point for mount in mountinfo.mounts_below(table, str(node.layout.pods))]


class Objects:
    """Config maps and secrets of a cluster."""

    def __init__(self):
        self.maps, self.secrets = {}, {}

    async def config_map(self, namespace, name):
        return self.maps.get(name)

    async def secret(self, namespace, name):
        return self.secrets.get(name)
