"""All images of a container: its own and those of its image volumes."""

import pytest

from pykubelet.api.core import Container, LocalObjectReference
from pykubelet.api.volumes import ImageVolumeSource, Volume, VolumeMount
from pykubelet.base.clock import LoopClock
from pykubelet.base.errors import StartError
from pykubelet.base.metrics import Metrics
from pykubelet.containers.credentials import Credentials
from pykubelet.containers.doors import NoPullSecrets
from pykubelet.containers.pod_images import PodImages
from pykubelet.containers.settings import ContainerSettings
from pykubelet.cri.memory import MemoryRuntime
from pykubelet.rpc import cri_v1

pytestmark = pytest.mark.looptime(start=0)
SANDBOX, PATH = cri_v1.PodSandboxConfig(), "spec.containers{app}"


class Runtime(MemoryRuntime):
    """Remembers for which handler it was asked."""

    def __init__(self):
        super().__init__(LoopClock(), registry=["img", "data:v1"])
        self.handlers = set()

    async def image_status(self, image, **more):
        self.handlers.add(more.get("runtime_handler", ""))
        return await super().image_status(image, **more)

    async def pull_image(self, image, *arguments, **more):
        self.handlers.add(more["runtime_handler"])
        return await super().pull_image(image, *arguments, **more)


@pytest.fixture
def metrics():
    return Metrics()


@pytest.fixture
def runtime():
    return Runtime()


@pytest.fixture
def images(runtime, told, layout, metrics):
    clock = LoopClock()
    layout.root.mkdir()
    credentials = Credentials(layout.root, clock, told, NoPullSecrets())
    return PodImages(runtime, clock, told, told, ContainerSettings(), metrics, credentials, None)


def app(*volumes):
    mounts = [VolumeMount(name=name, mountPath=f"/{name}") for name in volumes]
    return Container(name="app", image="img", imagePullPolicy="IfNotPresent", volumeMounts=mounts)


def image_volume(name, reference):
    return Volume(name=name, image=ImageVolumeSource(reference=reference, pullPolicy="IfNotPresent"))


async def test_what_a_container_mounts_is_pulled_too(images, runtime, told, make_pod, metrics):
    container = app("data")
    pod = make_pod(
        container,
        volumes=[image_volume("data", "data:v1"), image_volume("other", "none")],
        annotations={"a": "b"},
        imagePullSecrets=[LocalObjectReference(name="s")],
    )
    found = await images.ensure(pod, container, PATH, SANDBOX, "")
    assert found.own.ref == (await runtime.image_status("img")).id
    spec = found.volumes["data"]
    assert (spec.image, spec.user_specified_image) == ((await runtime.image_status("data:v1")).id, "data:v1")
    assert (dict(spec.annotations), spec.runtime_handler) == ({"a": "b"}, "")
    assert [(event[1], event[3]) for event in told.events] == [
        ("FailedToRetrieveImagePullSecret", ""),
        ("Pulling", ""),
        ("Pulled", ""),
        ("Pulling", PATH),
        ("Pulled", PATH),
    ]
    images.created(found, container, "")
    images.created(found, container, "ImageVolumeMountFailed: no")
    text = metrics.render().decode()
    assert "kubelet_image_volume_requested_total 2" in text
    assert "kubelet_image_volume_mounted_succeed_total 1" in text
    assert "kubelet_image_volume_mounted_errors_total 1" in text
    assert images.under_way() == []


async def test_a_volume_without_its_image_holds_the_container_up(images, runtime, make_pod):
    container = app("data")
    pod = make_pod(container, volumes=[image_volume("data", "none")])
    with pytest.raises(StartError) as caught:
        await images.ensure(pod, container, PATH, SANDBOX, "")
    assert caught.value.reason == "ErrImagePull"
    assert await runtime.image_status("img") is None


async def test_the_runtime_is_told_for_which_handler(images, runtime, make_pod, metrics):
    container = app()
    found = await images.ensure(make_pod(container), container, PATH, SANDBOX, "kata")
    assert runtime.handlers == {"kata"}
    images.created(found, container, "")
    assert "image_volume" not in metrics.render().decode()
