"""Ephemeral containers, as ``kubectl debug`` adds them to a pod that runs."""

import asyncio
import ssl

import aiohttp
import pytest
import pytest_asyncio
from tests.apiserver.cluster import a_cluster
from tests.integration.joined import Joined, is_ready, joined_node
from tests.integration.killed_node import container
from tests.integration.node import pod
from tests.integration.ports import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def joined(containerd, tmp_path_factory):
    """A node of a cluster whose port anybody may ask."""
    config = {
        "enableServer": True,
        "address": "127.0.0.1",
        "port": free_port(),
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
    }
    base = tmp_path_factory.mktemp("debug")
    async with a_cluster() as cluster, joined_node(cluster, base, containerd, **config) as made:
        yield made


def shown(found, name, kind="state"):
    """How an ephemeral container is, as the API server shows it."""
    statuses = found["status"].get("ephemeralContainerStatuses") or []
    return next((s[kind] for s in statuses if s["name"] == name), {})


async def add(joined: Joined, name: str, debug: dict) -> None:
    path = joined.cluster.path("pods", name, "ephemeralcontainers")
    await joined.cluster.patch(path, {"spec": {"ephemeralContainers": [debug]}})


def lax_tls() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


async def type_into(joined: Joined, name: str, text: str, until: bytes) -> bytes:
    """Attach to the ephemeral container's terminal and type; what came until *until* was seen."""
    port = joined.node.kubelet.ground.loaded.config.port
    url = f"https://127.0.0.1:{port}/attach/{joined.cluster.namespace}/{name}/dbg?input=1&output=1&tty=1"
    said = b""
    async with (
        asyncio.timeout(20),
        aiohttp.ClientSession() as session,
        session.ws_connect(url, protocols=("v5.channel.k8s.io",), ssl=lax_tls()) as terminal,
    ):
        await terminal.send_bytes(b"\x00" + text.encode())
        async for message in terminal:
            said += message.data[1:]
            if until in said:
                break
    return said


async def test_a_debugger_joins_a_running_container(joined):
    await joined.create(pod("bugged", container("app"), container("other")))
    [before] = await joined.ready("bugged")
    dbg = container("dbg", targetContainerName="app", stdin=True, tty=True)
    await add(joined, "bugged", {**dbg, "command": ["sh"]})
    found = await joined.until("bugged", lambda pod: shown(pod, "dbg").get("running"))
    assert is_ready(found)
    assert [c["restartCount"] for c in found["status"]["containerStatuses"]] == [0, 0]
    assert found["status"]["containerStatuses"] == before["status"]["containerStatuses"]
    # It sees the processes of its target, and no others.
    dbg_id = shown(found, "dbg", "containerID").partition("://")[2]
    seen = await joined.node.cri.exec_sync(dbg_id, ["readlink", "/proc/self/ns/pid"], 10)
    assert seen.stdout.decode().strip() == await joined.exec(found, "readlink /proc/self/ns/pid")
    assert seen.stdout.decode().strip() != await joined.exec(found, "readlink /proc/self/ns/pid", "other")
    said = await type_into(joined, "bugged", "tr '\\0' ' ' < /proc/1/cmdline; echo $((6 * 7))\n", b"42\r\n")
    assert b"trap" in said

    # It ends for good, and the pod with its other containers goes on.
    await type_into(joined, "bugged", "echo bye; exit 3\n", b"bye\r\n")
    found = await joined.until("bugged", lambda pod: shown(pod, "dbg").get("terminated"))
    assert shown(found, "dbg")["terminated"]["exitCode"] == 3
    await joined.patch("bugged", {"metadata": {"annotations": {"look": "again"}}})
    # One whose target is not there waits, and says why; a third runs by itself.
    await add(joined, "bugged", container("lost", targetContainerName="nobody"))
    await add(joined, "bugged", container("alone"))
    found = await joined.until(
        "bugged", lambda pod: shown(pod, "lost").get("waiting") and shown(pod, "alone").get("running")
    )
    found = await joined.until("bugged", lambda pod: shown(pod, "lost")["waiting"].get("message"))
    assert shown(found, "lost")["waiting"] == {
        "reason": "CreateContainerConfigError",
        "message": "unable to find target container nobody",
    }
    assert shown(found, "dbg", "restartCount") == 0
    assert shown(found, "dbg")["terminated"]["exitCode"] == 3
    assert is_ready(found)
    assert found["status"]["phase"] == "Running"
    await joined.delete("bugged")
    await joined.gone("bugged")
