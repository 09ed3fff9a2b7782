"""The client on a real containerd, directly and through the proxy that makes calls go wrong."""

import asyncio

import pytest
from tests.cri.contract import Contract, Lab, refused
from tests.criproxy.matrix import fault_matrix
from tests.criproxy.proxy import CUT, ERROR, FAULTS, HANG, UNIMPLEMENTED, CriProxy, methods

from pykubelet.base.clock import SystemClock
from pykubelet.cli.up.images import BUSYBOX
from pykubelet.cri.client import CriClient
from pykubelet.cri.errors import Code, CriError
from pykubelet.cri.types import ContainerState
from pykubelet.rpc import cri_v1

#: Calls of CRI that the client has no use for.
UNUSED = {
    "StreamPodSandboxes",
    "StreamContainers",
    "StreamContainerStats",
    "StreamPodSandboxStats",
    "StreamPodSandboxMetrics",
    "StreamImages",
    "ListMetricDescriptors",
    "ListPodSandboxMetrics",
}


@pytest.fixture
async def proxy(containerd, short_dir):
    async with CriProxy(f"unix://{short_dir}/proxy", containerd.endpoint) as running:
        yield running


@pytest.fixture
async def client(proxy):
    made = CriClient(proxy.endpoint, clock=SystemClock(), request_timeout=10)
    yield made
    await made.close()


async def _clean(client: CriClient, uid: str) -> None:
    for sandbox in await client.list_sandboxes(labels={"io.kubernetes.pod.uid": uid}):
        await client.stop_sandbox(sandbox.id)
        await client.remove_sandbox(sandbox.id)


@pytest.fixture
async def lab(proxy, client, cgroup_parent, tmp_path):
    made = Lab(client, BUSYBOX, cgroup_parent, str(tmp_path))
    yield made
    proxy.clear()
    await _clean(client, made.uid)


def _calls(client: CriClient) -> dict[str, object]:
    """One call of each method, about things that are not there."""
    sandbox, config = cri_v1.PodSandboxConfig(), cri_v1.ContainerConfig()
    resources = cri_v1.LinuxContainerResources()
    return {
        "Version": client.version,
        "Status": client.status,
        "RuntimeConfig": client.runtime_config,
        "UpdateRuntimeConfig": lambda: client.update_runtime_config(""),
        "RunPodSandbox": lambda: client.run_sandbox(sandbox),
        "StopPodSandbox": lambda: client.stop_sandbox("nope"),
        "RemovePodSandbox": lambda: client.remove_sandbox("nope"),
        "PodSandboxStatus": lambda: client.sandbox_status("nope"),
        "ListPodSandbox": client.list_sandboxes,
        "UpdatePodSandboxResources": lambda: client.update_sandbox_resources("nope", None, resources),
        "CreateContainer": lambda: client.create_container("nope", config, sandbox),
        "StartContainer": lambda: client.start_container("nope"),
        "StopContainer": lambda: client.stop_container("nope", 2),
        "RemoveContainer": lambda: client.remove_container("nope"),
        "ListContainers": client.list_containers,
        "ContainerStatus": lambda: client.container_status("nope"),
        "UpdateContainerResources": lambda: client.update_container_resources("nope", resources),
        "ReopenContainerLog": lambda: client.reopen_container_log("nope"),
        "CheckpointContainer": lambda: client.checkpoint_container("nope", "/nope", 30),
        "ExecSync": lambda: client.exec_sync("nope", ["true"], 2),
        "Exec": lambda: client.exec("nope", ["true"]),
        "Attach": lambda: client.attach("nope"),
        "PortForward": lambda: client.port_forward("nope"),
        "ContainerStats": lambda: client.container_stats("nope"),
        "ListContainerStats": client.list_container_stats,
        "PodSandboxStats": lambda: client.sandbox_stats("nope"),
        "ListPodSandboxStats": client.list_sandbox_stats,
        "GetContainerEvents": lambda: anext(client.container_events()),
        "ListImages": client.list_images,
        "ImageStatus": lambda: client.image_status("nope"),
        "PullImage": lambda: client.pull_image("pykubelet.invalid/nope:1"),
        "RemoveImage": lambda: client.remove_image("nope"),
        "ImageFsInfo": client.image_fs_info,
    }


class TestV1alpha2(Contract):
    """A runtime that only speaks v1alpha2 keeps the whole contract too."""

    @pytest.fixture(autouse=True)
    def only_v1alpha2(self, proxy):
        proxy.apis = {"v1alpha2"}

    async def test_version_and_status(self, lab, proxy):
        assert (await lab.runtime.version()).api == "v1alpha2"
        await lab.runtime.status()
        assert [call.api for call in proxy.calls] == ["v1", "v1alpha2", "v1alpha2"]


async def test_runtime_that_is_replaced_by_a_newer_one(client, proxy):
    proxy.apis = {"v1alpha2"}
    assert (await client.version()).api == "v1alpha2"
    proxy.apis = {"v1"}
    assert (await client.version()).api == "v1"
    await client.list_images()
    assert (client.api, proxy.calls[-1].api) == ("v1", "v1")


async def test_runtime_that_speaks_neither(client, proxy):
    proxy.apis = set()
    error = await refused(client.version, Code.Unimplemented)
    assert error.message == "unknown service runtime.v1.RuntimeService"


async def test_deadlines(client, proxy):
    rule = proxy.add("*", ERROR)
    calls = _calls(client)
    calls["ExecSync without limit"] = lambda: client.exec_sync("nope", ["true"])
    for call in calls.values():
        await refused(call)
    proxy.remove(rule)
    seen: dict[str, list[float | None]] = {}
    for call in proxy.calls:
        seen.setdefault(call.method, []).append(call.deadline and round(call.deadline))
    others = {
        "RunPodSandbox": [20],
        "StopContainer": [12],
        "ExecSync": [12, None],
        "CheckpointContainer": [30],
        "PullImage": [None],
        "GetContainerEvents": [None],
    }
    assert seen == {method: others.get(method, [10]) for method in methods() if method not in UNUSED}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_every_call_survives_every_fault(proxy, fault):
    client = CriClient(proxy.endpoint, clock=SystemClock(), request_timeout=0.5)
    await client.version()
    proxy.add("*", fault)

    async def ended(method: str, call: object) -> object:
        try:
            # Calls without a deadline of their own are their callers' to give up.
            return await asyncio.wait_for(call(), 3)
        except (CriError, TimeoutError) as error:
            return error

    calls = {name: call for name, call in _calls(client).items() if name != "CheckpointContainer"}
    results = dict(
        zip(calls, await asyncio.gather(*(ended(name, call) for name, call in calls.items())), strict=True)
    )
    proxy.clear()
    expected = {"error": Code.Internal, "unimplemented": Code.Unimplemented, "hang": Code.DeadlineExceeded}
    for method, result in results.items():
        if fault.name in expected and method not in {"PullImage", "GetContainerEvents"}:
            assert isinstance(result, CriError), (method, result)
            assert result.code is expected[fault.name], (method, result)
        if fault.name == "hang" and isinstance(result, CriError) and method != "ExecSync":
            assert result.message == "context deadline exceeded"
    await client.version()
    assert await client.list_images()
    assert (client.slots.held, client.slots.waiting) == (0, 0)
    await client.close()


def test_matrix_is_the_whole_service(client):
    assert set(_calls(client)) | UNUSED == set(methods())
    matrix = fault_matrix()
    assert len(matrix) == len(methods()) * len(FAULTS)
    assert len({parameter.id for parameter in matrix}) == len(matrix)
    assert [p.id for p in fault_matrix([CUT], only=["Version"])] == ["Version-cut"]


async def test_answer_that_is_lost(lab, proxy):
    proxy.add("RunPodSandbox", CUT, times=1)
    assert (await refused(lab.sandbox)).unavailable
    (left,) = await lab.runtime.list_sandboxes(labels={"io.kubernetes.pod.uid": lab.uid})
    assert f'is reserved for "{left.id}"' in (await refused(lab.sandbox)).message


async def test_stops_hold_no_slot(lab, proxy):
    stop = proxy.add("StopContainer", HANG)
    sandbox = await lab.sandbox()
    made = await lab.container(sandbox, "sleep", "1000")
    stops = asyncio.gather(*(lab.runtime.stop_container(made, 1) for _ in range(12)))
    other = await lab.container(sandbox, "sleep", "1000", name="other")
    assert (await lab.runtime.container_status(other)).state is ContainerState.RUNNING
    proxy.remove(stop)
    await stops


async def test_runtime_without_events(client, proxy):
    """As containerd 1.6 is; 2.x has them."""
    proxy.add("GetContainerEvents", UNIMPLEMENTED)
    with pytest.raises(CriError) as caught:
        await anext(client.container_events())
    proxy.clear()
    assert caught.value.unimplemented


async def test_events_that_are_cut(client, proxy):
    proxy.add("GetContainerEvents", CUT, times=1)
    with pytest.raises(CriError) as caught:
        await anext(client.container_events())
    assert caught.value.unavailable


async def test_one_method_that_is_missing_is_no_other_api(client, proxy):
    await client.version()
    proxy.add("Status", UNIMPLEMENTED)
    assert (await refused(client.status)).unimplemented
    assert client.api == "v1"
    assert {call.api for call in proxy.calls} == {"v1"}


async def test_containers_run_on_while_containerd_restarts(containerd, cgroup_parent, tmp_path):
    client = CriClient(containerd.endpoint, clock=SystemClock())
    lab = Lab(client, BUSYBOX, cgroup_parent, str(tmp_path))
    try:
        sandbox = await lab.sandbox()
        made = await lab.container(sandbox, "sleep", "1000")
        before = await client.container_status(made, verbose=True)
        assert before.pid > 0
        await asyncio.to_thread(containerd.stop)
        texts = {(await refused(client.version, Code.Unavailable)).message for _ in range(3)}
        dial = f'"transport: Error while dialing: dial unix {containerd.socket}: connect: '
        assert any(dial in text for text in texts)
        assert all(dial in text or text == "error reading from server: EOF" for text in texts)
        await asyncio.to_thread(containerd.start)
        async with asyncio.timeout(10):
            while True:
                try:
                    after = await client.container_status(made, verbose=True)
                    break
                except CriError as error:
                    assert error.unavailable or error.not_found
                    await asyncio.sleep(0.05)
        assert (after.pid, after.started_at) == (before.pid, before.started_at)
        assert after.state is ContainerState.RUNNING
        assert (await client.exec_sync(made, ["echo", "still"], 5)).stdout == b"still\n"
    finally:
        if containerd.pid is None:
            await asyncio.to_thread(containerd.start)
        await _clean(client, lab.uid)
        await client.close()
