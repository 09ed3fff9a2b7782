"""Every call of CRI × everything that can go wrong with it: the pod converges, the others never notice.

One node a kind of fault. Each call gets a pod that is being made and one that is being
ended while just their calls go wrong, so that the whole column is tried at once.
"""

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
from tests.criproxy.proxy import FAULTS, CriProxy, Fault, methods
from tests.integration.killed_node import FOREVER, container, exec_hook
from tests.integration.node import pod, running_node

from pykubelet.rpc import cri_v1

#: Calls that are made for one pod.
OF_POD = (
    "RunPodSandbox",
    "StopPodSandbox",
    "RemovePodSandbox",
    "PodSandboxStatus",
    "ListPodSandbox",
    "CreateContainer",
    "StartContainer",
    "StopContainer",
    "RemoveContainer",
    "ListContainers",
    "ContainerStatus",
    "ExecSync",
    "PullImage",
    "ImageStatus",
)
#: Those of them that only a pod's beginning needs, and those that only its end needs.
BEGINNING = {"RunPodSandbox", "CreateContainer", "StartContainer", "PullImage", "ImageStatus"}
END = {"StopContainer", "StopPodSandbox", "RemoveContainer", "RemovePodSandbox"}
#: Calls that are made for the whole node.
OF_NODE = ("Version", "Status", "RuntimeConfig", "ListPodSandbox", "ListContainers", "GetContainerEvents")
#: Calls that pods' lives do not need: streams for users, figures, and what later parts will use.
OF_NO_POD = {
    "Attach",
    "Exec",
    "PortForward",
    "ReopenContainerLog",
    "CheckpointContainer",
    "UpdateRuntimeConfig",
    "UpdateContainerResources",
    "UpdatePodSandboxResources",
    "ContainerStats",
    "ListContainerStats",
    "PodSandboxStats",
    "ListPodSandboxStats",
    "ListMetricDescriptors",
    "ListPodSandboxMetrics",
    "ImageFsInfo",
    "ListImages",
    "StreamPodSandboxes",
    "StreamContainers",
    "StreamImages",
    "StreamContainerStats",
    "StreamPodSandboxStats",
    "StreamPodSandboxMetrics",
    "RemoveImage",
}
#: Seconds that the faults stay, and within which everything converges afterwards.
FAULTY, CONVERGE = 1.5, 45.0
NOWHERE = "127.0.0.1:1/nothing:v1"


def test_every_call_has_its_place():
    assert {*OF_POD, *OF_NODE} | OF_NO_POD == set(methods())


class WatchingProxy(CriProxy):
    """A proxy that knows for which pod a call is made."""

    def __init__(self, endpoint: str, upstream: str) -> None:
        super().__init__(endpoint, upstream)
        #: Pod name by the ID of a sandbox or container, and by the pod's UID.
        self.owners: dict[str, str] = {}

    async def unary(self, api, method, request, context):
        answer = await super().unary(api, method, request, context)
        self._learn(method, request, answer)
        return answer

    def _learn(self, method, request, answer):
        if method == "RunPodSandbox":
            meta = cri_v1.RunPodSandboxRequest.FromString(request).config.metadata
            self.owners[meta.uid] = meta.name
            self.owners[cri_v1.RunPodSandboxResponse.FromString(answer).pod_sandbox_id] = meta.name
        elif method == "CreateContainer":
            made = cri_v1.CreateContainerResponse.FromString(answer).container_id
            self.owners[made] = self.owner(method, request)
        elif method in {"ListPodSandbox", "ListContainers"}:
            kind = getattr(cri_v1, f"{method}Response").FromString(answer)
            for item in kind.items if method == "ListPodSandbox" else kind.containers:
                self.owners[item.id] = item.labels["io.kubernetes.pod.name"]

    def owner(self, method: str, request: bytes) -> str:
        """Name of the pod that a call is made for; empty for the node's own."""
        message = getattr(cri_v1, f"{method}Request").FromString(request)
        if method == "RunPodSandbox":
            self.owners[message.config.metadata.uid] = message.config.metadata.name
            return message.config.metadata.name
        if method in {"CreateContainer", "PullImage"}:
            return message.sandbox_config.metadata.name
        if method == "ImageStatus":
            return message.image.annotations.get("cell", "")
        if method in {"ListPodSandbox", "ListContainers"}:
            uid = message.filter.label_selector.get("io.kubernetes.pod.uid", "")
            return self.owners.get(uid, uid)
        names = ("container_id", "pod_sandbox_id")
        return self.owners.get(next((getattr(message, n) for n in names if hasattr(message, n)), ""), "")


@dataclass(frozen=True)
class Cell:
    """One call that goes wrong, for one pod that starts and one that ends."""

    method: str

    @property
    def new(self) -> str:
        return f"new-{self.method.lower()}"

    @property
    def old(self) -> str:
        return f"old-{self.method.lower()}"

    def manifest(self, name: str):
        """A pod that needs the call at its beginning and its end."""
        hooks = {}
        if self.method == "ExecSync":
            hooks = {"postStart": exec_hook("true"), "preStop": exec_hook("true")}
        image = {"image": NOWHERE, "imagePullPolicy": "IfNotPresent"} if self.method == "PullImage" else {}
        made = pod(name, container("app", FOREVER, lifecycle=hooks, **image))
        made["metadata"]["annotations"] = {"cell": f"{name}-n1"}
        return made


CELLS = [Cell(method) for method in OF_POD]
STARTING = [cell for cell in CELLS if cell.method not in END]
ENDING = [cell for cell in CELLS if cell.method not in BEGINNING]


def steady_pod():
    """A pod that just runs; were its probes' calls to fail it would be seen."""
    probe = {"exec": {"command": ["true"]}, "periodSeconds": 1, "timeoutSeconds": 2}
    return pod("steady", container("app", livenessProbe=probe, readinessProbe=probe))


@asynccontextmanager
async def node_behind_proxy(short_dir, containerd):
    """A node whose calls go through the proxy, with a short time limit for each."""
    endpoint = f"unix://{short_dir / 'proxy.sock'}"
    async with (
        WatchingProxy(endpoint, containerd.endpoint) as proxy,
        running_node(short_dir / "node", containerd, endpoint=endpoint, runtimeRequestTimeout="3s") as node,
    ):
        try:
            yield proxy, node
        finally:
            proxy.clear()


def started(node, cell) -> bool:
    """Whether the pod of *cell* is as it should be in the end."""
    if cell.method == "PullImage":
        waiting = node.waiting(cell.new)
        return waiting is not None and waiting.reason in {"ErrImagePull", "ImagePullBackOff"}
    return node.ready(cell.new)


def left_of(node, names) -> list[str]:
    return [name for name in names if node.pod(name) is not None]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_calls_for_one_pod(fault: Fault, containerd, no_leaks, short_dir):
    async with node_behind_proxy(short_dir, containerd) as (proxy, node):
        node.apply(steady_pod())
        for cell in ENDING:
            node.apply(cell.manifest(cell.old))
        olds = [cell.old for cell in ENDING]
        await node.until(lambda: node.ready("steady", *olds), CONVERGE)
        steady = node.container("steady")
        loop, rules = asyncio.get_running_loop(), []
        for cell in CELLS:
            rule = proxy.add(cell.method, fault)
            pods = {node.full(cell.new), node.full(cell.old)}
            rule.when = lambda request, m=cell.method, p=pods: proxy.owner(m, request) in p
            rules.append(rule)
        node.remove(*olds)
        for cell in STARTING:
            node.apply(cell.manifest(cell.new))
        await node.until(lambda: all(rule.hits for rule in rules), CONVERGE)
        await asyncio.sleep(FAULTY)
        assert node.container("steady") == steady, "the others never notice"
        hits = {cell.method: rule.hits for cell, rule in zip(CELLS, rules, strict=True)}
        proxy.clear()
        cleared = loop.time()
        await node.until(lambda: not left_of(node, olds), CONVERGE)
        await node.until(lambda: all(started(node, cell) for cell in STARTING), CONVERGE)
        print(f"{fault.name}: converged {loop.time() - cleared:.1f} s after the faults' end; hits {hits}")
        assert node.container("steady") == steady
        assert node.decisions("steady", "ContainerKill") == []


@pytest.mark.timeout(90)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.name)
async def test_calls_for_the_node(fault: Fault, containerd, no_leaks, short_dir):
    async with node_behind_proxy(short_dir, containerd) as (proxy, node):
        node.apply(steady_pod(), pod("old", container("app")))
        await node.until(lambda: node.ready("steady", "old"), CONVERGE)
        steady = node.container("steady")
        await node.stop()
        for method in OF_NODE:
            rule = proxy.add(method, fault)
            if method.startswith("List"):
                rule.when = lambda request, m=method: not proxy.owner(m, request)
        await node.start()
        node.remove("old")
        node.apply(pod("new", container("app")))
        await asyncio.sleep(FAULTY)
        proxy.clear()
        await node.until(lambda: node.ready("steady", "new") and node.pod("old") is None, CONVERGE)
        assert node.container("steady").containerID == steady.containerID
        assert node.restarts("steady") == 0
        await node.gone("old")


@pytest.mark.timeout(90)
async def test_runtime_that_speaks_only_v1alpha2(containerd, no_leaks, short_dir):
    async with node_behind_proxy(short_dir, containerd) as (proxy, node):
        proxy.apis = {"v1alpha2"}
        node.apply(
            steady_pod(),
            pod(
                "whole",
                container("app", lifecycle={"preStop": exec_hook("true")}),
                initContainers=[container("first", "true"), container("side", restartPolicy="Always")],
                volumes=[{"name": "ram", "emptyDir": {"medium": "Memory"}}],
            ),
            pod("job", container("app", "echo done >/dev/termination-log"), restartPolicy="Never"),
        )
        await node.until(lambda: node.ready("steady", "whole") and node.phase("job") == "Succeeded", CONVERGE)
        assert node.kubelet.runtime.runtime.api == "v1alpha2"
        assert node.terminated("job").message == "done\n"
        assert {call.api for call in proxy.calls if not call.fault} == {"v1alpha2"}
        await node.delete("whole", seconds=CONVERGE)
        # The runtime is replaced by a newer one that knows v1 only.
        proxy.apis = {"v1"}
        node.apply(pod("later", container("app")))
        await node.until(lambda: node.ready("later"), CONVERGE)
        assert node.kubelet.runtime.runtime.api == "v1"
