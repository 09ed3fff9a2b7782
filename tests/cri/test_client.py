"""The client against a server that answers what no real runtime does on demand."""

import asyncio

import pytest
from tests.cri.contract import refused
from tests.criproxy.fake import FakeRuntime

from pykubelet.base.clock import SystemClock
from pykubelet.base.metrics import Metrics
from pykubelet.cri import v1alpha2
from pykubelet.cri.client import CriClient
from pykubelet.cri.errors import Code, CriError
from pykubelet.rpc import cri_v1


@pytest.fixture
def endpoint(tmp_path_factory):
    return f"unix://{tmp_path_factory.mktemp('s')}/s"


@pytest.fixture
async def client(endpoint):
    made = CriClient(endpoint, clock=SystemClock(), request_timeout=5)
    yield made
    await made.close()


async def test_nobody_listens(client, endpoint):
    error = await refused(client.version, Code.Unavailable)
    path = endpoint.removeprefix("unix://")
    assert str(error) == (
        'rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: '
        f'dial unix {path}: connect: no such file or directory"'
    )


async def test_found_again_after_it_was_away(client, endpoint):
    await refused(client.version, Code.Unavailable)
    version = cri_v1.VersionResponse(
        version="0.1.0", runtime_name="fake", runtime_version="1", runtime_api_version="v1"
    )
    for _ in range(2):
        async with FakeRuntime(endpoint, {"Version": version}), asyncio.timeout(3):
            while True:
                try:
                    assert (await client.version()).runtime_name == "fake"
                    break
                except CriError as error:
                    assert error.unavailable
                    await asyncio.sleep(0.02)
        await refused(client.version, Code.Unavailable)


async def test_event_stream(client, endpoint):
    sandbox = cri_v1.PodSandboxStatus(metadata=cri_v1.PodSandboxMetadata(uid="u"))
    event = cri_v1.ContainerEventResponse(
        container_id="c",
        container_event_type=cri_v1.CONTAINER_STOPPED_EVENT,
        created_at=7,
        pod_sandbox_status=sandbox,
    )
    async with FakeRuntime(endpoint, {"GetContainerEvents": [event, event]}):
        seen = [each async for each in client.container_events()]
    assert [(e.container_id, e.type, e.created_at, e.pod_uid) for e in seen] == [
        ("c", "CONTAINER_STOPPED_EVENT", 7, "u")
    ] * 2


async def test_event_stream_cut_and_closed(client, endpoint):
    event = cri_v1.ContainerEventResponse(container_id="c")
    fake = FakeRuntime(endpoint, {"GetContainerEvents": [event, None]})
    async with fake:
        events = client.container_events()
        assert (await anext(events)).container_id == "c"
        waiting = asyncio.gather(anext(events), return_exceptions=True)
        await asyncio.sleep(0)
    assert isinstance((await waiting)[0], CriError)
    async with fake, asyncio.timeout(3):
        while True:
            events = client.container_events()
            try:
                await anext(events)
                break
            except CriError:
                await asyncio.sleep(0.02)
        waiting = asyncio.gather(anext(events), return_exceptions=True)
        await asyncio.sleep(0)
        await client.close()
        (error,) = await waiting
        assert isinstance(error, CriError) and error.code is Code.Canceled
        assert (await refused(client.version)).message == "grpc: the client connection is closing"


async def test_stream_is_cancelled_with_its_task(client, endpoint):
    async with FakeRuntime(endpoint, {"GetContainerEvents": [None]}):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(anext(client.container_events()), 0.2)


async def test_answers_that_lack_something(client, endpoint):
    answers = {
        "Version": cri_v1.VersionResponse(runtime_name="x"),
        "Status": cri_v1.StatusResponse(),
        "PodSandboxStatus": cri_v1.PodSandboxStatusResponse(),
        "ContainerStatus": cri_v1.ContainerStatusResponse(),
        "RunPodSandbox": cri_v1.RunPodSandboxResponse(),
        "CreateContainer": cri_v1.CreateContainerResponse(),
        "Exec": cri_v1.ExecResponse(),
        "PullImage": cri_v1.PullImageResponse(),
        "ImageStatus": cri_v1.ImageStatusResponse(image=cri_v1.Image(id="x")),
    }
    sandbox = cri_v1.PodSandboxConfig()
    async with FakeRuntime(endpoint, answers):
        for call, text in (
            (client.version, "not all fields are set in VersionResponse (missing Version, "),
            (client.status, "RuntimeReady or NetworkReady condition are not set"),
            (lambda: client.sandbox_status("x"), "pod sandbox status is nil"),
            (lambda: client.container_status("x"), "container status is nil"),
            (lambda: client.run_sandbox(sandbox), "PodSandboxId is not set for sandbox "),
            (
                lambda: client.create_container("x", cri_v1.ContainerConfig(), sandbox),
                "ContainerId is not set for container ",
            ),
            (lambda: client.exec("x", ["sh"]), "URL is not set"),
            (lambda: client.pull_image("i"), 'imageRef of image "i" is not set'),
            (lambda: client.image_status("i"), 'Id or size of image "i" is not set'),
        ):
            assert (await refused(call)).message.startswith(text)


async def test_large_and_broken_answers(client, endpoint):
    many = [cri_v1.Container(id=f"{number:0100}") for number in range(50_000)]
    answers = {
        "ListContainers": cri_v1.ListContainersResponse(containers=many),
        "ListPodSandbox": cri_v1.ListPodSandboxResponse(items=[{"id": "x" * (17 * 1024 * 1024)}]),
        "ListImages": b"\xff\xff",
    }
    async with FakeRuntime(endpoint, answers):
        assert len(await client.list_containers()) == len(many)
        error = await refused(client.list_sandboxes, Code.ResourceExhausted)
        assert error.message.startswith("grpc: received message larger than max (")
        await refused(client.list_images, Code.Internal)


async def test_runtime_config(client, endpoint):
    for driver, name in ((cri_v1.SYSTEMD, "systemd"), (cri_v1.CGROUPFS, "cgroupfs")):
        linux = cri_v1.LinuxRuntimeConfiguration(cgroup_driver=driver)
        async with FakeRuntime(endpoint, {"RuntimeConfig": cri_v1.RuntimeConfigResponse(linux=linux)}):
            probe = CriClient(endpoint, clock=SystemClock())
            assert await probe.runtime_config() == name
            await probe.close()


async def test_metrics(endpoint):
    metrics = Metrics()
    client = CriClient(endpoint, clock=SystemClock(), metrics=metrics)
    await refused(client.version)
    async with FakeRuntime(endpoint, {"ListImages": cri_v1.ListImagesResponse()}):
        await client.close()
        client = CriClient(endpoint, clock=SystemClock(), metrics=metrics)
        await client.list_images()
        await client.close()
    lines = metrics.render().decode().splitlines()
    assert 'kubelet_runtime_operations_total{operation_type="version"} 1.0' in lines
    assert 'kubelet_runtime_operations_errors_total{operation_type="version"} 1.0' in lines
    assert 'kubelet_runtime_operations_duration_seconds_count{operation_type="list_images"} 1.0' in lines
    assert not [line for line in lines if "list_images" in line and "errors" in line]


def test_v1alpha2_requests_have_the_older_profile_strings():
    config = cri_v1.ContainerConfig()
    config.linux.security_context.seccomp.profile_type = cri_v1.SecurityProfile.RuntimeDefault
    config.linux.security_context.apparmor.profile_type = cri_v1.SecurityProfile.Localhost
    config.linux.security_context.apparmor.localhost_ref = "mine"
    sandbox = cri_v1.PodSandboxConfig()
    sandbox.linux.security_context.seccomp.profile_type = cri_v1.SecurityProfile.Unconfined
    request = cri_v1.CreateContainerRequest(config=config, sandbox_config=sandbox)
    before = request.SerializeToString(deterministic=True)
    sent = v1alpha2.request(request)
    context = sent.config.linux.security_context
    assert (context.seccomp_profile_path, context.apparmor_profile) == ("runtime/default", "localhost/mine")
    assert sent.sandbox_config.linux.security_context.seccomp_profile_path == "unconfined"
    assert request.SerializeToString(deterministic=True) == before
    version = cri_v1.VersionRequest()
    assert v1alpha2.request(version) is version


@pytest.mark.parametrize("endpoint", ["tcp://1.2.3.4:5", "npipe://x", "unix://relative", "relative", ""])
def test_endpoints_that_are_none(endpoint):
    with pytest.raises(ValueError, match="endpoint"):
        CriClient(endpoint, clock=SystemClock())
