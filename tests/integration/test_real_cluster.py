"""What only a real API server can show: what a node may read, and kubectl's streams through the server.

Run with ``PYKUBELET_TEST_KUBECONFIG`` (an admin's); the API server must be reached at an address of this
machine, which becomes the node's, and ``kubectl`` must be on the PATH.
"""

import asyncio
import contextlib
import fcntl
import os
import pty
import random
import shutil
import signal
import struct
import termios
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import pytest_asyncio
from tests.apiserver import kubeconfig
from tests.apiserver.client import MERGE, Client, Refusal
from tests.apiserver.cluster import VARIABLE, a_cluster
from tests.integration.joined import joined_node
from tests.integration.killed_node import container
from tests.integration.node import pod
from tests.integration.ports import free_port

from pykubelet.api.codec import convert
from pykubelet.api.core import Pod
from pykubelet.api.node import Node
from pykubelet.base.clock import SystemClock
from pykubelet.base.errors import ExpandError, VolumeError
from pykubelet.base.journal import NullJournal
from pykubelet.cluster.attachments import NodeAttachments
from pykubelet.cluster.claims import ClaimReader
from pykubelet.cluster.client import ApiClient
from pykubelet.cluster.credentials import FileCredentials
from pykubelet.cluster.csi_node import CsiNodePublisher
from pykubelet.cluster.errors import ClusterError
from pykubelet.cluster.kubeconfig import load
from pykubelet.wiring.claimed_volumes import ClusterClaims

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(
        VARIABLE not in os.environ, reason=f"needs a real API server: {VARIABLE} names an admin's kubeconfig"
    ),
]
WEB = "echo hello > /tmp/index.html; httpd -p 8080 -h /tmp; exec cat"
#: More than any window of a protocol on the way.
BIG = 5 << 20


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def own(containerd, tmp_path_factory):
    """A node with its own credentials that serves the API server."""
    base = tmp_path_factory.mktemp("own")
    async with a_cluster() as cluster:
        ip = urlsplit(cluster.credentials.server).hostname
        (base / "ca.crt").write_bytes(cluster.credentials.ca)
        config = {
            "flags": [f"--node-ip={ip}"],
            "enableServer": True,
            "address": ip,
            "port": free_port(ip),
            "authentication": {
                "anonymous": {"enabled": False},
                "webhook": {"enabled": True},
                "x509": {"clientCAFile": str(base / "ca.crt")},
            },
            "authorization": {"mode": "Webhook"},
        }
        async with joined_node(cluster, base, containerd, own_credentials=True, **config) as joined:
            yield joined


class Kubectl:
    """kubectl with an admin's kubeconfig, in the test's namespace."""

    def __init__(self, joined, websockets):
        self._prefix = ["kubectl", "-n", joined.cluster.namespace]
        self._env = {
            **os.environ,
            "KUBECONFIG": os.environ[VARIABLE],
            "KUBECTL_REMOTE_COMMAND_WEBSOCKETS": websockets,
            "KUBECTL_PORT_FORWARD_WEBSOCKETS": websockets,
        }

    async def start(self, *arguments, **files):
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), asyncio.subprocess.PIPE)
        return await asyncio.create_subprocess_exec(
            *self._prefix, *arguments, env=self._env, **{**pipes, **files}
        )

    async def run(self, *arguments, given=b""):
        """Exit code and output."""
        process = await self.start(*arguments)
        async with asyncio.timeout(30):
            out, err = await process.communicate(given)
        return process.returncode, out if process.returncode == 0 else out + err


@pytest.fixture(params=["true", "false"], ids=["websocket", "spdy"])
def kubectl(request, own):
    assert shutil.which("kubectl"), "kubectl is not on the PATH"
    return Kubectl(own, request.param)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def web(own):
    """A pod that serves, echoes, and has a shell."""
    await own.create(pod("web", container("app", WEB, stdin=True)))
    [ready] = await own.ready("web")
    return ready


# --- what a node may read -----------------------------------------------------


async def test_a_node_reads_what_its_pods_name_and_no_more(own):
    await own.put("secrets", "used", stringData={"key": "secret value"})
    await own.put("secrets", "other", stringData={"key": "not for this node"})
    await own.put("configmaps", "used", data={"key": "plain value"})
    volumes = [{"name": "s", "secret": {"secretName": "used"}}, {"name": "c", "configMap": {"name": "used"}}]
    mounts = [{"name": "s", "mountPath": "/s"}, {"name": "c", "mountPath": "/c"}]
    env = [{"name": "SECRET", "valueFrom": {"secretKeyRef": {"name": "used", "key": "key"}}}]
    await own.create(pod("reads", container("app", volumeMounts=mounts, env=env), volumes=volumes))
    [reads] = await own.ready("reads")
    assert await own.exec(reads, "echo $SECRET; cat /s/key /c/key") == "secret value\nsecret valueplain value"
    # A change arrives by the watch of the one object, which the node may have.
    await own.put("configmaps", "used", data={"key": "new value"})
    await own.says(reads, "cat /c/key", "new value")
    credentials = kubeconfig.read(own.node.base / "kubeconfig")
    async with Client(credentials.server, context=credentials.context()) as node:
        assert (await node.get(own.cluster.path("secrets", "used")))["metadata"]["name"] == "used"
        for path in (own.cluster.path("secrets", "other"), own.cluster.path("secrets")):
            with pytest.raises(Refusal) as refused:
                await node.get(path)
            assert refused.value.code == 403


async def test_a_nodes_own_objects(own):
    """NodeRestriction lets it write its Node, its lease, its pods' statuses, mirror pods and tokens."""
    node = await own.node_object()
    assert node["status"]["conditions"][-1]["status"] == "True"
    own.node.apply(pod("static", container("app")))
    mirror = f"static-{own.name}"
    await own.until(mirror, lambda p: p["status"].get("phase") == "Running", namespace="default")
    await own.node.delete("static")
    async with asyncio.timeout(20):
        while await own.pod(mirror, "default") is not None:
            await asyncio.sleep(0.1)
    await own.create(pod("account", container("app")), labels={"a": "b"})
    [account] = await own.ready("account")
    token = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    assert (await own.exec(account, f"cat {token}")).count(".") == 2
    await own.delete("account", 0)
    await own.gone("account")


# --- volumes ------------------------------------------------------------------


@contextlib.asynccontextmanager
async def as_node(own):
    """pykubelet's client with the node's own credentials."""
    kubeconfig_file = await asyncio.to_thread(load, own.node.base / "kubeconfig")
    credentials = FileCredentials(kubeconfig_file, SystemClock(), environ={})
    await credentials.start()
    client = ApiClient(credentials, user_agent="kubelet/test")
    try:
        yield client
    finally:
        await client.close()
        await credentials.stop()


async def test_a_node_tells_of_its_csi_drivers(own):
    path = f"/apis/storage.k8s.io/v1/csinodes/{own.name}"
    uid = (await own.node_object())["metadata"]["uid"]
    made = await own.cluster.get(path)
    assert [owner["uid"] for owner in made["metadata"]["ownerReferences"]] == [uid]
    zone = {"topology.contract.test/zone": "a"}
    async with as_node(own) as api:
        publisher = CsiNodePublisher(
            api, own.name, SystemClock(), random.Random(1), NullJournal(), on_change=lambda why: None
        )
        await publisher.start()
        publisher.node_seen(await api.get(f"/api/v1/nodes/{own.name}", Node))
        try:
            await publisher.install("contract.test", "id", 5, zone)
            await publisher.install("contract.test", "id", 6, zone)
            [driver] = (await own.cluster.get(path))["spec"]["drivers"]
            assert (driver["nodeID"], driver["allocatable"]) == ("id", {"count": 6})
            node = (await own.node_object())["metadata"]
            assert node["annotations"]["csi.volume.kubernetes.io/nodeid"] == '{"contract.test":"id"}'
            assert zone.items() <= node["labels"].items()
            await publisher.uninstall("contract.test")
            assert not (await own.cluster.get(path))["spec"]["drivers"]
            # One of an earlier Node is no obstacle.
            owner = {**made["metadata"]["ownerReferences"][0], "uid": "00000000-0000-0000-0000-000000000000"}
            await own.cluster.patch(path, {"metadata": {"ownerReferences": [owner]}}, MERGE)
            await publisher.install("contract.test", "id", 6, zone)
            [owner] = (await own.cluster.get(path))["metadata"]["ownerReferences"]
            assert owner["uid"] == uid
            await publisher.uninstall("contract.test")
        finally:
            await publisher.stop()


async def claimed(own, name):
    """A claim that is bound to a volume."""
    volume = f"{own.cluster.namespace}-{name}"
    common = {"accessModes": ["ReadWriteOnce"], "storageClassName": ""}
    own.cluster.later(f"/api/v1/persistentvolumes/{volume}")
    source = {"driver": "contract.test", "volumeHandle": volume}
    reference = {"namespace": own.cluster.namespace, "name": name}
    spec = {**common, "capacity": {"storage": "2Gi"}, "csi": source, "claimRef": reference}
    await own.cluster.create("/api/v1/persistentvolumes", {"metadata": {"name": volume}, "spec": spec})
    spec = {**common, "resources": {"requests": {"storage": "1Gi"}}, "volumeName": volume}
    await own.cluster.create(
        own.cluster.path("persistentvolumeclaims"), {"metadata": {"name": name}, "spec": spec}
    )
    path = own.cluster.path("persistentvolumeclaims", name)
    await own.cluster.until(path, lambda claim: claim["status"].get("phase") == "Bound")
    return path


async def test_a_node_follows_its_pods_claims_and_tells_them_how_they_grow(own):
    path, other = await claimed(own, "used"), await claimed(own, "other")
    mounts = [{"name": "v", "mountPath": "/v"}]
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "used"}}]
    made = await own.create(pod("claims", container("app", volumeMounts=mounts), volumes=volumes))
    user = convert(made, Pod)
    async with as_node(own) as api:
        reader = ClaimReader(api)
        claims = ClusterClaims(reader, SystemClock(), NullJournal())
        async with asyncio.timeout(20):
            while True:
                # The authorizer hears of the pod a little later.
                with contextlib.suppress(VolumeError):
                    spec = await claims.resolve(user, user.spec.volumes[0])
                    break
                await asyncio.sleep(0.1)
        assert spec.pv.spec.csi.driver == "contract.test"
        with pytest.raises(ClusterError, match="no relationship found"):
            await reader.claim(own.cluster.namespace, other.rpartition("/")[2])
        status = {
            "capacity": {"storage": "1Gi"},
            "allocatedResources": {"storage": "2Gi"},
            "allocatedResourceStatuses": {"storage": "NodeResizePending"},
            "conditions": [{"type": "FileSystemResizePending", "status": "True"}],
        }
        await own.cluster.patch(f"{path}/status", {"status": status})
        planned = await claims.expanding(spec)
        assert (planned.act, str(planned.size)) == ("expand", "2Gi")
        told = (await own.cluster.get(path))["status"]
        assert told["allocatedResourceStatuses"] == {"storage": "NodeResizeInProgress"}
        await claims.expanded(planned, ExpandError("no", left="nothing"))
        told = (await own.cluster.get(path))["status"]
        assert {each["type"] for each in told["conditions"]} == {"FileSystemResizePending", "NodeResizeError"}
        await claims.expanded(await claims.expanding(spec), None)
        told = (await own.cluster.get(path))["status"]
        assert told["capacity"] == {"storage": "2Gi"}
        assert "allocatedResourceStatuses" not in told
        assert "conditions" not in told
        await reader.stop()
    await own.delete("claims", 0)
    await own.gone("claims")


async def test_a_nodes_status_lists_the_volumes_in_use(own):
    reports = []
    async with as_node(own) as api:
        attachments = NodeAttachments(
            api, own.name, lambda: None, report=reports.append, on_change=lambda: None
        )
        attachments.use(["kubernetes.io/csi/contract.test^b", "kubernetes.io/csi/contract.test^a"])
        path = f"/api/v1/nodes/{own.name}/status"
        body = {"status": {"volumesInUse": list(attachments.to_write())}}
        attachments.written(await api.patch(path, body, Node))
        assert attachments.told("kubernetes.io/csi/contract.test^a")
        assert await attachments.attached() == {}
        assert reports == ["the volumes in use changed"]


# --- streams ------------------------------------------------------------------


async def test_exec_keeps_every_byte_and_the_exit_code(kubectl, web):
    data = os.urandom(BIG)
    assert await kubectl.run("exec", "-i", "web", "--", "cat", given=data) == (0, data)
    code, _ = await kubectl.run("exec", "web", "--", "sh", "-c", "exit 7")
    assert code == 7
    code, out = await kubectl.run("exec", "web", "--", "sh", "-c", "echo out; echo err >&2")
    assert (code, out) == (0, b"out\n")


async def test_a_terminal_is_told_its_size(kubectl, web):
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
        script = "while sleep 0.1; do stty size; done"
        process = await kubectl.start(
            "exec", "-it", "web", "--", "sh", "-c", script, stdin=theirs, stdout=theirs, stderr=theirs
        )
        await shown(ours, b"33 77")
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 44, 88, 0, 0))
        process.send_signal(signal.SIGWINCH)
        await shown(ours, b"44 88")
        os.write(ours, b"\x03")
        async with asyncio.timeout(20):
            await process.wait()
    finally:
        os.close(ours)
        os.close(theirs)


async def shown(terminal, text):
    """Wait until the terminal shows *text*."""
    seen = b""
    os.set_blocking(terminal, False)
    async with asyncio.timeout(20):
        while text not in seen:
            with contextlib.suppress(BlockingIOError):
                seen += os.read(terminal, 65536)
            await asyncio.sleep(0.02)


async def test_attach_reaches_the_main_process(kubectl, web):
    process = await kubectl.start("attach", "-i", "web")
    try:
        process.stdin.write(b"over there\n")
        await process.stdin.drain()
        async with asyncio.timeout(20):
            assert await process.stdout.readline() == b"over there\n"
    finally:
        process.kill()
        await process.wait()
    async with asyncio.timeout(20):
        while b"over there" not in (await kubectl.run("logs", "web"))[1]:
            await asyncio.sleep(0.1)


async def test_logs_follow_until_the_container_ends(kubectl, own):
    name = f"talks-{kubectl._env['KUBECTL_REMOTE_COMMAND_WEBSOCKETS']}"
    script = "for i in $(seq 20); do echo line $i; sleep 0.1; done"
    await own.create(pod(name, container("app", script), restartPolicy="Never"))
    await own.until(name, lambda p: p["status"].get("phase") in {"Running", "Succeeded"})
    lines = b"".join(b"line %d\n" % i for i in range(1, 21))
    assert await kubectl.run("logs", "-f", name) == (0, lines)
    assert await kubectl.run("logs", "--tail=2", name) == (0, b"line 19\nline 20\n")
    code, stamped = await kubectl.run("logs", "--timestamps", name)
    assert code == 0
    assert all(line.split(b" ")[0].endswith(b"Z") for line in stamped.splitlines())


async def test_files_are_copied_both_ways(kubectl, web, tmp_path):
    there, back = tmp_path / "there", tmp_path / "back"
    there.write_bytes(os.urandom(BIG))
    assert (await kubectl.run("cp", str(there), "web:/tmp/there"))[0] == 0
    assert (await kubectl.run("cp", "web:/tmp/there", str(back)))[0] == 0
    assert Path(back).read_bytes() == there.read_bytes()


async def test_a_port_is_forwarded_again_and_again(kubectl, web):
    port = free_port("127.0.0.1")
    process = await kubectl.start("port-forward", "web", f"{port}:8080")
    try:
        async with asyncio.timeout(20):
            assert b"Forwarding" in await process.stdout.readline()
            for _ in range(5):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET / HTTP/1.0\r\n\r\n")
                assert (await reader.read()).endswith(b"hello\n")
                writer.close()
    finally:
        process.terminate()
        await process.wait()


async def test_the_nodes_endpoints_are_proxied(own, kubectl):
    path = f"{own.node_path}/proxy"
    assert await kubectl.run("get", "--raw", f"{path}/healthz") == (0, b"ok")
    code, pods = await kubectl.run("get", "--raw", f"{path}/pods")
    assert code == 0
    assert b'"PodList"' in pods
