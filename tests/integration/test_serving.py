"""The command line and the kubelet's port on a real node: logs, exec, port-forward."""

import asyncio
import fcntl
import json
import os
import struct
import sys
import termios
import time

import pytest
import pytest_asyncio
from tests.integration.command import call, start
from tests.integration.killed_node import container
from tests.integration.node import pod, running_node

pytestmark = pytest.mark.asyncio(loop_scope="module")

WEB = "echo hello > /tmp/index.html; echo started; echo grumble >&2; exec httpd -f -p 8080 -h /tmp"
TALKER = "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.1; done"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(containerd, tmp_path_factory):
    async with running_node(tmp_path_factory.mktemp("serving"), containerd, "srv") as made:
        made.apply(pod("web", container("app", WEB)), pod("talker", container("app", TALKER)))
        await made.until(lambda: made.ready("web", "talker"))
        yield made


async def test_get_and_describe(node):
    code, output, _ = await call(node, "get", "pods")
    assert code == 0
    assert [line.split()[:4] for line in output.decode().splitlines()[1:]] == [
        ["talker-srv", "1/1", "Running", "0"],
        ["web-srv", "1/1", "Running", "0"],
    ]
    code, output, _ = await call(node, "describe", "pod", "web")
    assert code == 0 and b"Started" in output


async def test_exec_ends_with_its_input(node):
    assert await call(node, "exec", "-i", "web", "--", "cat", stdin=b"x") == (0, b"x", "")
    blob = os.urandom(1 << 20)
    assert await call(node, "exec", "-i", "web", "--", "cat", stdin=blob) == (0, blob, "")


async def test_exec_keeps_streams_apart_and_tells_the_exit_code(node):
    script = "echo out; echo err >&2; exit 7"
    assert await call(node, "exec", "web", "--", "sh", "-c", script) == (7, b"out\n", "err\n")
    code, _, errors = await call(node, "exec", "web", "--", "no-such-command")
    assert code == 1 and "executable file not found" in errors


async def test_exec_on_a_terminal_knows_its_size(node):
    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
    before = termios.tcgetattr(theirs)
    # The size follows the start: the command asks until it is there.
    script = "tty; until stty size | grep -q 77; do sleep 0.05; done; stty size; read x; echo got $x; exit 5"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pykubelet", "exec", "-it", "web", "--", "sh", "-c", script,
        env={**os.environ, "PYKUBELET_SOCKET": str(node.layout.admin_socket)},
        stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    seen = b""
    try:
        async with asyncio.timeout(30):
            while b"got" not in seen:
                if b"33 77" in seen:
                    os.write(ours, b"typed\r")
                seen += await asyncio.to_thread(os.read, ours, 4096)
            assert await process.wait() == 5
    finally:
        after = termios.tcgetattr(theirs)
        os.close(ours)
        os.close(theirs)
    assert b"/dev/pts/" in seen and b"got typed" in seen
    assert after == before


async def test_attach_joins_what_is_written(node):
    process = await start(node, "attach", "talker")
    async with asyncio.timeout(20):
        lines = [await process.stdout.readline() for _ in range(3)]
    process.terminate()
    await process.communicate()
    assert all(line.startswith(b"line ") for line in lines[1:])


async def test_logs(node):
    code, output, errors = await call(node, "logs", "web")
    assert (code, sorted(output.split()), errors) == (0, [b"grumble", b"started"], "")
    code, _, errors = await call(node, "logs", "--previous", "web")
    assert code == 1
    assert errors == 'Error: previous terminated container "app" in pod "web-srv" not found\n'
    process = await start(node, "logs", "-f", "--tail=1", "talker")
    async with asyncio.timeout(20):
        lines = [await process.stdout.readline() for _ in range(5)]
    process.terminate()
    await process.communicate()
    first = int(lines[0].split()[1])
    assert lines == [b"line %d\n" % number for number in range(first, first + 5)]


async def test_port_forward(node):
    process = await start(node, "port-forward", "web", ":8080")
    try:
        async with asyncio.timeout(20):
            line = await process.stdout.readline()
            port = int(line.split(b":")[1].split(b" ")[0])
            for _ in range(2):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"GET / HTTP/1.0\r\n\r\n")
                assert (await reader.read()).endswith(b"hello\n")
                writer.close()
    finally:
        process.terminate()
        await process.communicate()


async def test_no_stream_is_left(node):
    ends = time.monotonic() + 10
    while node.kubelet.admin._upgrades.open and time.monotonic() < ends:
        await asyncio.sleep(0.02)
    assert node.kubelet.admin._upgrades.open == 0


async def test_explain(node):
    code, output, _ = await call(node, "explain", "pod", "web")
    assert code == 0 and b"ContainerStarted" in output
    code, output, _ = await call(node, "get", "pod", "web", "-o", "json")
    assert json.loads(output)["status"]["phase"] == "Running"
