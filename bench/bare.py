"""The same pod without a kubelet: the CRI calls that it takes, and nothing else."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from bench.lab import COMMAND
from pykubelet.base.clock import SystemClock
from pykubelet.cli.up.containerd import PrivateContainerd
from pykubelet.cli.up.images import BUSYBOX
from pykubelet.cri.client import CriClient
from pykubelet.cri.types import ContainerState
from pykubelet.rpc import cri_v1

UID = "io.kubernetes.pod.uid"


def client(containerd: PrivateContainerd) -> CriClient:
    """A client of our own."""
    return CriClient(containerd.endpoint, clock=SystemClock())


def _namespaces() -> cri_v1.NamespaceOption:
    return cri_v1.NamespaceOption(network=cri_v1.POD, pid=cri_v1.CONTAINER, ipc=cri_v1.POD)


def sandbox(name: str, logs: Path, cgroup_parent: str) -> cri_v1.PodSandboxConfig:
    """What a kubelet would ask for."""
    labels = {"io.kubernetes.pod.name": name, "io.kubernetes.pod.namespace": "bench", UID: f"uid-{name}"}
    directory = logs / name
    directory.mkdir(parents=True, exist_ok=True)
    security = cri_v1.LinuxSandboxSecurityContext(
        namespace_options=_namespaces(),
        seccomp=cri_v1.SecurityProfile(profile_type=cri_v1.SecurityProfile.RuntimeDefault),
    )
    return cri_v1.PodSandboxConfig(
        metadata=cri_v1.PodSandboxMetadata(name=name, namespace="bench", uid=f"uid-{name}"),
        hostname=name,
        log_directory=str(directory),
        dns_config=cri_v1.DNSConfig(servers=["127.0.0.1"]),
        labels=labels,
        linux=cri_v1.LinuxPodSandboxConfig(cgroup_parent=cgroup_parent, security_context=security),
    )


def container(config: cri_v1.PodSandboxConfig) -> cri_v1.ContainerConfig:
    """What a kubelet would ask for."""
    directory = Path(config.log_directory)
    hosts, message = directory / "etc-hosts", directory / "termination-log"
    hosts.write_text("127.0.0.1 localhost\n")
    message.touch()
    return cri_v1.ContainerConfig(
        metadata=cri_v1.ContainerMetadata(name="main"),
        image=cri_v1.ImageSpec(image=BUSYBOX),
        command=COMMAND,
        mounts=[
            cri_v1.Mount(container_path="/etc/hosts", host_path=str(hosts)),
            cri_v1.Mount(container_path="/dev/termination-log", host_path=str(message)),
        ],
        labels={**config.labels, "io.kubernetes.container.name": "main"},
        log_path="main/0.log",
        linux=cri_v1.LinuxContainerConfig(
            resources=cri_v1.LinuxContainerResources(cpu_shares=2, cpu_period=100_000, oom_score_adj=1000),
            security_context=cri_v1.LinuxContainerSecurityContext(
                namespace_options=_namespaces(),
                masked_paths=["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
                readonly_paths=["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
            ),
        ),
    )


async def run_pod(runtime: CriClient, name: str, logs: Path, cgroup_parent: str) -> float:
    """Make and start the pod; seconds until the runtime says its container began."""
    config = sandbox(name, logs, cgroup_parent)
    main = container(config)
    before = time.time_ns()
    made = await runtime.run_sandbox(config)
    container_id = await runtime.create_container(made, main, config)
    await runtime.start_container(container_id)
    return ((await runtime.container_status(container_id)).started_at - before) / 1e9


async def started_at(
    runtime: CriClient, pods: set[str], timeout: float, check: Callable[[], None]
) -> dict[str, int]:
    """When each of the named pods' containers began (wall clock, ns); waits until all run.

    *check* raises when waiting is of no use.
    """
    found: dict[str, int] = {}
    async with asyncio.timeout(timeout):
        while True:
            for listed in await runtime.list_containers(state=ContainerState.RUNNING):
                name = listed.labels.get("io.kubernetes.pod.name", "")
                if name in pods and name not in found:
                    found[name] = (await runtime.container_status(listed.id)).started_at
            if found.keys() >= pods:
                return found
            check()
            await asyncio.sleep(0.25)
