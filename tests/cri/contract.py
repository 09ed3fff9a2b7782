"""What every runtime behind the door must do; run on the in-memory one and on containerd.

The fixture ``lab`` gives a :class:`Lab`: the runtime, an image that is there, and
ways to make containers that sleep, end or cannot start.
"""

import asyncio
import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from pykubelet.cri.door import Runtime
from pykubelet.cri.errors import Code, CriError
from pykubelet.cri.types import ContainerState, SandboxState
from pykubelet.rpc import cri_v1

_numbers = itertools.count(time.time_ns())


@dataclass
class Lab:
    """A runtime and what the contract needs beside it."""

    runtime: Runtime
    image: str
    cgroup_parent: str = ""
    log_directory: str = ""
    uid: str = field(default_factory=lambda: f"uid-{next(_numbers)}")

    def sandbox_config(self, attempt: int = 0) -> cri_v1.PodSandboxConfig:
        config = cri_v1.PodSandboxConfig(
            metadata=cri_v1.PodSandboxMetadata(name="pod", namespace="ns", uid=self.uid, attempt=attempt),
            hostname="pod",
            log_directory=self.log_directory,
            labels={"io.kubernetes.pod.uid": self.uid, "tier": "web"},
            annotations={"note": "x"},
        )
        config.linux.cgroup_parent = self.cgroup_parent
        return config

    def container_config(self, *command: str, name: str = "main", attempt: int = 0) -> cri_v1.ContainerConfig:
        return cri_v1.ContainerConfig(
            metadata=cri_v1.ContainerMetadata(name=name, attempt=attempt),
            image=cri_v1.ImageSpec(image=self.image, user_specified_image=self.image),
            command=command,
            labels={"io.kubernetes.pod.uid": self.uid, "io.kubernetes.container.name": name},
            annotations={"io.kubernetes.container.hash": "abc", "io.kubernetes.container.restartCount": "3"},
            log_path=f"{name}-{attempt}.log",
        )

    async def sandbox(self) -> str:
        return await self.runtime.run_sandbox(self.sandbox_config())

    async def container(self, sandbox_id: str, *command: str, name: str = "main", start: bool = True) -> str:
        config = self.container_config(*command, name=name)
        made = await self.runtime.create_container(sandbox_id, config, self.sandbox_config())
        if start:
            await self.runtime.start_container(made)
        return made

    async def until(self, container_id: str, state: ContainerState) -> None:
        for _ in range(500):
            if (await self.runtime.container_status(container_id)).state is state:
                return
            await asyncio.sleep(0.02)
        raise AssertionError(f"{container_id} is not {state}")


async def refused(call: Callable[[], object], code: Code | None = None) -> CriError:
    """The error that *call* raises."""
    with pytest.raises(CriError) as caught:
        await call()  # type: ignore[misc]
    assert code is None or caught.value.code is code
    assert str(caught.value).startswith(f"rpc error: code = {caught.value.code.name} desc = ")
    return caught.value


class Contract:
    """Inherited by the tests of each runtime."""

    async def test_version_and_status(self, lab: Lab):
        version = await lab.runtime.version()
        assert version.runtime_name and version.runtime_version
        assert version.api == "v1"
        status = await lab.runtime.status()
        for kind in ("RuntimeReady", "NetworkReady"):
            condition = status.condition(kind)
            assert condition is not None and condition.status

    async def test_sandbox_life(self, lab: Lab):
        runtime = lab.runtime
        made = await lab.sandbox()
        status = await runtime.sandbox_status(made, verbose=True)
        assert (status.id, status.name, status.namespace, status.uid) == (made, "pod", "ns", lab.uid)
        assert status.state is SandboxState.READY
        assert len(status.ips) == 1 and not status.host_network
        assert status.labels["tier"] == "web" and status.annotations["note"] == "x"
        assert status.created_at > 0

        labels = {"io.kubernetes.pod.uid": lab.uid}
        assert [s.id for s in await runtime.list_sandboxes(labels=labels)] == [made]
        assert [s.id for s in await runtime.list_sandboxes(sandbox_id=made[:12])] == [made]
        assert await runtime.list_sandboxes(labels=labels, state=SandboxState.NOTREADY) == []
        assert await runtime.list_sandboxes(labels={"tier": "db", **labels}) == []

        error = await refused(lab.sandbox)
        assert f'is reserved for "{made}"' in error.message

        await runtime.stop_sandbox(made)
        status = await runtime.sandbox_status(made)
        assert status.state is SandboxState.NOTREADY and status.ips == ()
        await runtime.stop_sandbox(made)
        await runtime.remove_sandbox(made)
        await runtime.remove_sandbox(made)
        assert await runtime.list_sandboxes(labels=labels) == []
        assert (await refused(lambda: runtime.sandbox_status(made))).not_found

    async def test_container_runs_and_is_stopped(self, lab: Lab):
        runtime = lab.runtime
        sandbox = await lab.sandbox()
        made = await lab.container(sandbox, "sleep", "1000", start=False)
        status = await runtime.container_status(made)
        assert status.state is ContainerState.CREATED
        assert (status.started_at, status.finished_at) == (0, 0)
        await runtime.start_container(made)
        status = await runtime.container_status(made, verbose=True)
        assert status.state is ContainerState.RUNNING
        assert (status.name, status.attempt, status.sandbox_id) == ("main", 0, sandbox)
        assert (status.restart_count, status.hash) == (3, "abc")
        assert status.created_at <= status.started_at and status.finished_at == 0
        assert status.image_ref.startswith("sha256:")
        assert status.log_path == (f"{lab.log_directory}/main-0.log" if lab.log_directory else "")

        listed = await runtime.list_containers(labels={"io.kubernetes.pod.uid": lab.uid})
        assert [(c.id, c.sandbox_id, c.name) for c in listed] == [(made, sandbox, "main")]
        assert listed[0].pod_uid == lab.uid
        assert [c.id for c in await runtime.list_containers(sandbox_id=sandbox)] == [made]
        assert await runtime.list_containers(container_id=made, state=ContainerState.EXITED) == []

        error = await refused(lambda: runtime.start_container(made))
        assert "container is in CONTAINER_RUNNING state" in error.message
        await runtime.stop_container(made, 5)
        status = await runtime.container_status(made)
        assert (status.state, status.exit_code, status.reason) == (ContainerState.EXITED, 143, "Error")
        assert status.started_at <= status.finished_at
        await runtime.stop_container(made, 5)
        await runtime.remove_container(made)
        await runtime.remove_container(made)
        await runtime.stop_container(made, 5)
        assert (await refused(lambda: runtime.container_status(made))).not_found
        await runtime.remove_sandbox(sandbox)

    async def test_container_ends_by_itself(self, lab: Lab):
        sandbox = await lab.sandbox()
        good = await lab.container(sandbox, "true", name="good")
        bad = await lab.container(sandbox, "sh", "-c", "exit 3", name="bad")
        await lab.until(good, ContainerState.EXITED)
        await lab.until(bad, ContainerState.EXITED)
        ends = [await lab.runtime.container_status(each) for each in (good, bad)]
        assert [(e.exit_code, e.reason) for e in ends] == [(0, "Completed"), (3, "Error")]
        await lab.runtime.remove_sandbox(sandbox)
        assert await lab.runtime.list_containers(sandbox_id=sandbox) == []

    async def test_stop_ends_in_kill(self, lab: Lab):
        sandbox = await lab.sandbox()
        made = await lab.container(sandbox, "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
        await lab.runtime.stop_container(made, 1)
        assert (await lab.runtime.container_status(made)).exit_code == 137
        await lab.runtime.remove_sandbox(sandbox)

    async def test_shorter_grace_overtakes(self, lab: Lab):
        sandbox = await lab.sandbox()
        made = await lab.container(sandbox, "sh", "-c", "trap '' TERM; while :; do sleep 0.1; done")
        clock = asyncio.get_running_loop().time
        began = clock()
        await asyncio.gather(lab.runtime.stop_container(made, 30), lab.runtime.stop_container(made, 1))
        assert clock() - began < 5
        await lab.runtime.remove_sandbox(sandbox)

    async def test_command_that_does_not_exist(self, lab: Lab):
        sandbox = await lab.sandbox()
        made = await lab.container(sandbox, "/nonexistent", start=False)
        error = await refused(lambda: lab.runtime.start_container(made))
        status = await lab.runtime.container_status(made)
        assert status.state is ContainerState.EXITED
        assert (status.exit_code, status.reason, status.message) == (128, "StartError", error.message)
        await lab.runtime.remove_sandbox(sandbox)

    async def test_what_is_not_there(self, lab: Lab):
        runtime = lab.runtime
        for call in (
            lambda: runtime.start_container("nope"),
            lambda: runtime.container_status("nope"),
            lambda: runtime.sandbox_status("nope"),
            lambda: runtime.reopen_container_log("nope"),
            lambda: lab.container("nope", "true"),
            lambda: runtime.exec_sync("nope", ["true"]),
        ):
            assert (await refused(call)).not_found
        await runtime.stop_container("nope", 1)
        await runtime.stop_sandbox("nope")
        await runtime.remove_container("nope")
        await runtime.remove_sandbox("nope")
        await runtime.remove_image("nope")
        assert await runtime.image_status("nope") is None

    async def test_image_that_is_not_there(self, lab: Lab):
        sandbox = await lab.sandbox()
        config = lab.container_config("true")
        config.image.image = "nope:1"
        await refused(
            lambda: lab.runtime.create_container(sandbox, config, lab.sandbox_config()), Code.NotFound
        )
        await refused(lambda: lab.runtime.pull_image("nope.invalid/x:1"))
        await lab.runtime.remove_sandbox(sandbox)

    async def test_images(self, lab: Lab):
        image = await lab.runtime.image_status(lab.image)
        assert image is not None and image.size > 0 and image.id.startswith("sha256:")
        assert await lab.runtime.image_status(image.id) == image
        assert image in await lab.runtime.list_images()
        systems, _ = await lab.runtime.image_fs_info()
        assert systems[0].mountpoint and systems[0].timestamp > 0

    async def test_exec_sync(self, lab: Lab):
        sandbox = await lab.sandbox()
        made = await lab.container(sandbox, "sleep", "1000")
        result = await lab.runtime.exec_sync(made, ["sh", "-c", "echo out; echo err >&2; exit 7"], 5)
        assert (result.stdout, result.stderr, result.exit_code) == (b"out\n", b"err\n", 7)
        with pytest.raises(CriError) as caught:
            await lab.runtime.exec_sync(made, ["sleep", "60"], 1)
        assert caught.value.timeout
        assert str(caught.value) == 'command timed out: "sleep 60" timed out after 1s'
        for url in (
            await lab.runtime.exec(made, ["sh"]),
            await lab.runtime.attach(made),
            await lab.runtime.port_forward(sandbox, [80]),
        ):
            assert url.startswith("http://127.0.0.1:")
        await lab.runtime.stop_container(made, 1)
        error = await refused(lambda: lab.runtime.exec_sync(made, ["true"]))
        assert "container is in CONTAINER_EXITED state" in error.message
        await lab.runtime.remove_sandbox(sandbox)

    async def test_resources_stats_and_logs(self, lab: Lab):
        sandbox = await lab.sandbox()
        made = await lab.container(sandbox, "sleep", "1000")
        await lab.runtime.update_container_resources(
            made, cri_v1.LinuxContainerResources(memory_limit_in_bytes=64 * 1024 * 1024)
        )
        resources = (await lab.runtime.container_status(made)).resources
        assert resources is None or resources.memory_limit_in_bytes == 64 * 1024 * 1024
        await lab.runtime.reopen_container_log(made)
        (stats,) = await lab.runtime.list_container_stats(sandbox_id=sandbox)
        assert stats == await lab.runtime.container_stats(made) or stats.id == made
        assert stats.memory is not None and stats.memory.working_set_bytes
        (pod,) = await lab.runtime.list_sandbox_stats(labels={"io.kubernetes.pod.uid": lab.uid})
        assert (pod.id, pod.uid, [c.id for c in pod.containers]) == (sandbox, lab.uid, [made])
        await lab.runtime.remove_sandbox(sandbox)

    async def test_removal_by_force(self, lab: Lab):
        sandbox = await lab.sandbox()
        first = await lab.container(sandbox, "sleep", "1000", name="first")
        second = await lab.container(sandbox, "sleep", "1000", name="second")
        await lab.runtime.remove_container(first)
        assert [c.id for c in await lab.runtime.list_containers(sandbox_id=sandbox)] == [second]
        await lab.runtime.stop_sandbox(sandbox)
        assert (await lab.runtime.container_status(second)).state is ContainerState.EXITED
        await refused(lambda: lab.container(sandbox, "true", name="third"))
        await lab.runtime.remove_sandbox(sandbox)
        assert (await refused(lambda: lab.runtime.container_status(second))).not_found
