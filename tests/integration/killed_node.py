"""The daemon as a process that a test may kill, and the pods that such a test gives it."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml
from tests.listing import listed, target

from pykubelet.base.layout import RUN_DIR_VARIABLE
from pykubelet.cli.up.containerd import PrivateContainerd
from pykubelet.cli.up.daemonconfig import free_port
from pykubelet.cli.up.images import BUSYBOX
from pykubelet.cli.up.leftovers import mounts_below, unmount_below
from pykubelet.cri.errors import CriError
from pykubelet.cri.types import ContainerState
from pykubelet.resources.names import uid_of

#: Ends at once on SIGTERM, and costs nothing while it runs.
FOREVER = "trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done"


def container(name, script=FOREVER, **fields):
    """A container that runs *script*."""
    command = ["sh", "-c", script]
    return {"name": name, "image": BUSYBOX, "imagePullPolicy": "Never", "command": command, **fields}


def pod(name, *containers, **spec):
    """A manifest."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "dnsPolicy": "Default",
            "terminationGracePeriodSeconds": 3,
            "containers": list(containers),
            **spec,
        },
    }


def exec_hook(script):
    """A lifecycle handler that runs *script* inside."""
    return {"exec": {"command": ["sh", "-c", script]}}


@dataclass(frozen=True)
class Instance:
    """One container as the runtime shows it."""

    pod: str
    uid: str
    name: str
    id: str
    state: ContainerState
    started_at: int
    restart_count: int


class KilledNode:
    """The daemon with directories of its own at *base*, on the runtime at *endpoint*."""

    def __init__(
        self, base: Path, endpoint: str, cgroup_root: str, *, kubeconfig: Path | None = None, **config
    ) -> None:
        """*kubeconfig* makes it a node of a cluster."""
        self.base = base
        self._kubeconfig = kubeconfig
        self.root = base / "root"
        self.logs = base / "logs"
        self.manifests = base / "manifests"
        self.cgroup_root = cgroup_root
        self.manifests.mkdir()
        self.daemon_log = base / "daemon.log"
        self._config = base / "config.json"
        self._process: subprocess.Popen[bytes] | None = None
        self._config.write_text(
            json.dumps(
                {
                    "apiVersion": "kubelet.config.k8s.io/v1beta1",
                    "kind": "KubeletConfiguration",
                    # However full this machine is, its images stay for the other tests.
                    "imageGCHighThresholdPercent": 100,
                    "address": "127.0.0.1",
                    "port": free_port(21250),
                    "healthzPort": free_port(21248),
                    "authentication": {"anonymous": {"enabled": False}, "webhook": {"enabled": False}},
                    "authorization": {"mode": "AlwaysAllow"},
                    "containerRuntimeEndpoint": endpoint,
                    "staticPodPath": str(self.manifests),
                    "podLogsDir": str(self.logs),
                    "cgroupRoot": cgroup_root,
                    "failCgroupV1": False,
                    "failSwapOn": False,
                    **config,
                }
            )
        )

    # --- the process ----------------------------------------------------------

    @property
    def alive(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        assert not self.alive
        arguments = [f"--config={self._config}", f"--root-dir={self.root}", f"--cert-dir={self.base / 'pki'}"]
        if self._kubeconfig is not None:
            arguments.append(f"--kubeconfig={self._kubeconfig}")
        with self.daemon_log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "pykubelet", "run", "--hostname-override=node", *arguments],
                stdout=log,
                stderr=log,
                env={**os.environ, RUN_DIR_VARIABLE: str(self.base / "run")},
                start_new_session=True,
            )

    def kill(self) -> None:
        """SIGKILL, right now; the end is waited for in :meth:`reap`."""
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)

    def reap(self) -> int:
        assert self._process is not None
        code = self._process.wait(20)
        self._process = None
        return code

    def last_words(self) -> str:
        """The end of the daemon's log."""
        return "\n".join(self.daemon_log.read_text(errors="replace").splitlines()[-20:])

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self.reap()

    def mounts(self) -> list[str]:
        """What is mounted below the root directory, which is a mount itself."""
        return [point for point in mounts_below([self.root]) if point != str(self.root)]

    def clean_up(self) -> None:
        """End the process if it runs, and take the mounts away (the root directory stays shared)."""
        if self.alive:
            self.kill()
            self.reap()
        unmount_below([self.root])

    # --- what it is told ------------------------------------------------------

    def want(self, manifest) -> None:
        """Put a manifest where the daemon looks, in one step."""
        name = f"{manifest['metadata']['name']}.yaml"
        hidden = self.manifests / f".{name}"
        hidden.write_text(yaml.safe_dump(manifest))
        hidden.rename(self.manifests / name)

    def forget(self, name: str) -> None:
        (self.manifests / f"{name}.yaml").unlink()

    # --- what it leaves -------------------------------------------------------

    def statuses(self) -> Iterator[tuple[str, dict]]:
        """UID and status of each pod that has a checkpoint."""
        for file in (self.root / "pod-statuses").glob("*.json"):
            try:
                yield file.stem, json.loads(file.read_bytes())
            except FileNotFoundError:
                continue

    def pod_directories(self) -> set[str]:
        """UIDs of all pods that have a directory."""
        directory = self.root / "pods"
        return set(os.listdir(directory)) if directory.exists() else set()

    def log_directories(self) -> set[str]:
        """UIDs of all pods that have a log directory."""
        return {name.rpartition("_")[2] for name in os.listdir(self.logs)} if self.logs.exists() else set()

    def log_links(self) -> set[Path]:
        """The flat links that lead to logs of this node."""
        links = listed("/var/log/containers")
        return {link for link in links if target(link).startswith(f"{self.logs}/")}

    def cgroups(self) -> set[str]:
        """UIDs of all pods that have a cgroup in any hierarchy."""
        found: set[str] = set()
        for top in Path("/sys/fs/cgroup").iterdir():
            pods = top / self.cgroup_root.lstrip("/") / "kubepods"
            for level in (pods, pods / "burstable", pods / "besteffort"):
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    found |= {uid for name in os.listdir(level) if (uid := uid_of(name)) is not None}
        return found

    def temporary_files(self) -> list[Path]:
        """Hidden files outside volumes: leftovers of writes that were cut."""
        found: list[Path] = []
        # Unlike a glob, this does not mind what is removed meanwhile.
        for top, directories, files in os.walk(self.root):
            if "volumes" in directories:
                directories.remove("volumes")
            found += [Path(top) / name for name in files if name.startswith(".")]
        return found


async def instances(runtime) -> list[Instance]:
    """Every container of every pod."""
    found = []
    for each in await runtime.list_containers():
        try:
            status = await runtime.container_status(each.id)
        except CriError as error:
            assert error.not_found, error
            continue
        found.append(
            Instance(
                status.labels["io.kubernetes.pod.name"],
                status.labels["io.kubernetes.pod.uid"],
                status.name,
                status.id,
                status.state,
                status.started_at,
                status.restart_count,
            )
        )
    return found


async def free_lost_tasks(runtime, containerd) -> None:
    """Do what an operator does about containerd's issue 11037, which no CRI call can mend.

    When the client of StartContainer is gone between the making of a task and the question for
    its pid, CRI forgets the task: the container has exited and cannot be removed, since its task
    is there. Only containers that say so of themselves are touched.
    """
    if not isinstance(containerd, PrivateContainerd):
        return
    for each in await runtime.list_containers():
        if each.state is not ContainerState.EXITED:
            continue
        try:
            status = await runtime.container_status(each.id)
        except CriError as error:
            assert error.not_found, error
            continue
        if "failed to get task pid: context canceled" in status.message:
            tasks = await asyncio.to_thread(containerd.ctr, "tasks", "ls", "--quiet")
            if each.id in tasks.split():
                print(f"containerd lost the task of {each.id}")
                await asyncio.to_thread(containerd.ctr, "tasks", "rm", "--force", each.id)
