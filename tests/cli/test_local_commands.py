"""The commands that speak to the daemon, against a pretended node behind the real admin socket."""

import asyncio
import importlib
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from tests.server.conftest import FakeNode, StreamingServer, admin, make_pod, node, short_path, streaming

from pykubelet.base import spdy
from pykubelet.cli import port_forward
from pykubelet.cli.admin_client import find_socket, path_of
from pykubelet.cli.port_forward import Mapping
from pykubelet.cli.remote_command import PROTOCOLS, RemoteCommand, Wanted, exit_code
from pykubelet.server import ApiError

__all__ = ["admin", "node", "short_path", "streaming"]

COMMANDS = (
    "apply",
    "delete",
    "get",
    "describe",
    "logs",
    "explain",
    "exec",
    "attach",
    "port_forward",
    "check",
)


async def call(name: str, *arguments: str) -> Result:
    command = importlib.import_module(f"pykubelet.cli.{name}").command
    return await asyncio.to_thread(lambda: CliRunner().invoke(command, list(arguments)))


async def test_get_pods(admin: Path, node: FakeNode) -> None:
    node.known.append(make_pod("db-node1", "other"))
    socket = f"--socket={admin}"
    result = await call("get", "pods", socket)
    lines = [line.split() for line in result.output.splitlines()]
    assert lines[0] == ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]
    assert lines[1][:4] == ["web-node1", "1/1", "Running", "0"]
    assert len(lines) == 2
    every = await call("get", "pods", "-A", "-o", "wide", socket)
    assert "NAMESPACE" in every.output and "READINESS GATES" in every.output and "db-node1" in every.output
    assert (await call("get", "pods", "-o", "name", socket)).output == "pod/web-node1\n"
    assert json.loads((await call("get", "pod", "web", "-o", "json", socket)).output)["kind"] == "Pod"
    assert "kind: List" in (await call("get", "pods", "-o", "yaml", socket)).output
    none = await call("get", "pods", "-n", "empty", socket)
    assert none.output == "No resources found in empty namespace.\n"
    missing = await call("get", "pods", "nothing", socket)
    assert missing.exit_code == 1 and 'pods "nothing" not found' in missing.output


async def test_a_short_name_must_be_unambiguous(admin: Path, node: FakeNode) -> None:
    assert (await call("describe", "pod", "web", f"--socket={admin}")).exit_code == 0
    twin = make_pod("web-node1")
    node.known = [twin, make_pod("web")]
    result = await call("describe", "pod", "web", f"--socket={admin}")
    assert "Name:             web\n" in result.output


async def test_describe(admin: Path) -> None:
    output = (await call("describe", "pod", "web", f"--socket={admin}")).output
    assert output.startswith("Name:             web-node1\nNamespace:        default\n")
    for words in ("Image:          busybox", "State:          Running", "Ready:          True", "(x2 over"):
        assert words in output
    assert "Events:\n  Type" in output


async def test_logs(admin: Path, node: FakeNode, capfd: pytest.CaptureFixture[str]) -> None:
    node.blocks = [b"one\n", b"two\n"]
    result = await call("logs", "web", "--tail=2", "--since=1m", "-p", "--timestamps", f"--socket={admin}")
    assert result.exit_code == 0, result.output
    assert capfd.readouterr().out == "one\ntwo\n"
    asked = node.asked[-1]
    assert (asked.tail_lines, asked.previous, asked.timestamps, asked.since > 0) == (2, True, True, True)
    node.log_error = ApiError(
        400, 'container "main" in pod "web-node1" is waiting to start: ContainerCreating'
    )
    result = await call("logs", "web", f"--socket={admin}")
    assert result.exit_code == 1 and "is waiting to start: ContainerCreating" in result.output
    wrong = await call("logs", "web", "-c", "none", f"--socket={admin}")
    assert "container none not found in pod web-node1; it has: main" in wrong.output


async def test_explain(admin: Path) -> None:
    told = (await call("explain", "pod", "web", f"--socket={admin}")).output
    assert told.splitlines() == [
        "it began",
        "now: volume data (claim shop/data, persistent volume pv-1): attaching for 61s, "
        "waits for the controller, attach failed 2 times, the last error is: no, next try in 4s",
        "now: volume code: 0 B of 2.0 KiB are free (measured 0s ago)",
        "now [app]: pulling img for 12s, 1.0 of 2.0 MiB so far",
    ]
    assert (await call("explain", "pod", "gone", f"--socket={admin}")).output == "it began\n"
    assert (await call("explain", "node", f"--socket={admin}")).output == "the daemon is up\n"
    missing = await call("explain", "pod", "never", f"--socket={admin}")
    assert missing.exit_code == 1 and "not found" in missing.output


async def test_without_a_daemon_it_is_said(tmp_path: Path) -> None:
    result = await call("get", "pods", f"--socket={tmp_path}/none.sock")
    assert result.exit_code == 1
    assert f"no daemon answers at {tmp_path}/none.sock" in result.output


def test_where_the_socket_is_looked_for() -> None:
    assert find_socket("/a", {"PYKUBELET_SOCKET": "/b"}) == Path("/a")
    assert find_socket("", {"PYKUBELET_SOCKET": "/b", "PYKUBELET_RUN_DIR": "/c"}) == Path("/b")
    assert find_socket("", {"PYKUBELET_RUN_DIR": "/c"}) == Path("/c/admin.sock")


def test_paths_are_quoted() -> None:
    assert path_of("exec", "a/b", command=["x y", "&"], tty="") == "/exec/a%2Fb?command=x+y&command=%26"


# --- streams ------------------------------------------------------------------


async def serve_command(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A runtime that runs ``cat``: input goes back on output until it ends; exit code 3."""
    connection = spdy.Connection(client=False)
    streams: dict[str, int] = {}

    def finish() -> None:
        for kind in ("stdout", "stderr"):
            if kind in streams:
                connection.send_data(streams[kind], b"", fin=True)
        told = {"status": "Failure", "reason": "NonZeroExitCode", "details": {
            "causes": [{"reason": "ExitCode", "message": "3"}]}}  # fmt: skip
        connection.send_data(streams["error"], json.dumps(told).encode(), fin=True)

    while data := await reader.read(1 << 16):
        for event in connection.receive(data):
            match event:
                case spdy.StreamOpened(number, headers):
                    streams[headers["streamtype"]] = number
                    connection.reply(number)
                    if headers["streamtype"] == "stderr" and "stdin" not in streams:
                        connection.send_data(streams["stdout"], b"said")
                        connection.send_data(number, b"complained")
                        finish()
                case spdy.DataReceived(number, text, fin) if number == streams.get("stdin"):
                    connection.send_data(streams["stdout"], text)
                    if fin:
                        finish()
                case _:
                    pass
        writer.write(connection.to_send())
        await writer.drain()


async def test_exec_gives_output_errors_and_the_exit_code(
    admin: Path, node: FakeNode, streaming: StreamingServer
) -> None:
    node.url, streaming.behave = streaming.url, serve_command
    written: list[tuple[int, bytes]] = []
    wanted = Wanted(stdin=False, tty=False)
    path = path_of("exec", "default", "web-node1", "main", command=["x"], **wanted.query())
    remote = RemoteCommand(admin, path, wanted, write=lambda fd, data: written.append((fd, data)))
    assert await remote.run() == 3
    assert written == [(1, b"said"), (2, b"complained")]


async def test_input_that_ends_ends_the_command(
    admin: Path, node: FakeNode, streaming: StreamingServer
) -> None:
    """``head -c 1M /dev/urandom | pykubelet exec -i POD -- cat``, in a process of its own."""
    node.url, streaming.behave = streaming.url, serve_command
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "pykubelet", "exec", f"--socket={admin}", "-i", "web", "--", "cat", "-",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    sent = bytes(range(256)) * 4096
    output, errors = await process.communicate(sent)
    assert (process.returncode, errors) == (3, b"")
    assert output == sent
    assert node.asked[-1][1] == ("cat", "-")


async def test_exec_that_is_refused(admin: Path, node: FakeNode) -> None:
    node.stream_error = ApiError(500, 'container not found ("main")')
    result = await call("exec", f"--socket={admin}", "web", "--", "true")
    assert (result.exit_code, result.output) == (1, 'Error: container not found ("main")\n')
    assert (await call("exec", f"--socket={admin}", "web")).exit_code == 2


async def test_exec_options_on_both_sides_of_the_name(admin: Path, node: FakeNode) -> None:
    node.stream_error = ApiError(500, "stop here")
    for arguments in (
        ("-i", "web", "-c", "main", "--", "sh", "-c", "x"),
        ("-i", "-c", "main", "web", "sh", "-c", "x"),
    ):
        await call("exec", f"--socket={admin}", *arguments)
        container, command, streams = node.asked.pop()
        assert (container, command, streams.stdin) == ("main", ("sh", "-c", "x"), True)


@pytest.mark.parametrize(
    ("status", "code"),
    [(b"", 0), (b'{"status":"Success"}', 0)],
)
def test_exit_codes(status: bytes, code: int) -> None:
    assert exit_code(status, PROTOCOLS[0]) == code


@pytest.mark.parametrize(
    "status", [b'{"status":"Failure","message":"no such file"}', b"no such file", b"[1] no such file"]
)
def test_failures_are_told(status: bytes) -> None:
    with pytest.raises(Exception, match="no such file"):
        exit_code(status, PROTOCOLS[0])


async def serve_port(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A pod whose port answers in capitals."""
    connection = spdy.Connection(client=False)
    data_stream = 0
    while data := await reader.read(1 << 16):
        for event in connection.receive(data):
            match event:
                case spdy.StreamOpened(number, headers):
                    connection.reply(number)
                    assert headers["port"] == "80"
                    if headers["streamtype"] == "data":
                        data_stream = number
                case spdy.DataReceived(number, text, fin) if number == data_stream:
                    connection.send_data(number, text.upper(), fin=fin)
                case _:
                    pass
        writer.write(connection.to_send())
        await writer.drain()


async def test_port_forward(
    admin: Path, node: FakeNode, streaming: StreamingServer, capsys: pytest.CaptureFixture[str]
) -> None:
    node.url, streaming.behave = streaming.url, serve_port
    path = path_of("portForward", "default", "web-node1")
    forwarding = asyncio.get_running_loop().create_task(
        port_forward.forward(admin, path, [Mapping(0, 80)], "127.0.0.1")
    )
    try:
        async with asyncio.timeout(10):
            while "->" not in (shown := capsys.readouterr().out):
                await asyncio.sleep(0.005)
            port = int(shown.split(":")[1].split(" ")[0])
            for _ in range(2):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(b"x" * (1 << 20))
                writer.write_eof()
                assert await reader.read(-1) == b"X" * (1 << 20)
                writer.close()
    finally:
        forwarding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await forwarding


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("80", Mapping(80, 80)),
        ("8080:80", Mapping(8080, 80)),
        (":80", Mapping(0, 80)),
        ("0:80", Mapping(0, 80)),
    ],
)
def test_port_mappings(text: str, expected: Mapping) -> None:
    assert port_forward.parse_mapping(text) == expected


@pytest.mark.parametrize("text", ["", "x", "80:", "70000", "0", "1:2:3", "-1"])
def test_port_mappings_that_cannot_be(text: str) -> None:
    with pytest.raises(Exception, match=r"port|LOCAL"):
        port_forward.parse_mapping(text)


# --- check --------------------------------------------------------------------

GOOD = (
    "apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  containers: [{name: main, image: busybox}]\n"
)
CONFIG = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"


@pytest.mark.parametrize(
    ("manifest", "code", "words"),
    [
        (GOOD, 0, "is sound"),
        (GOOD + "  wrong: 1\n", 1, 'unknown field "spec.wrong"'),
        (GOOD.replace("name: main", "name: Main_"), 1, "spec.containers[0].name"),
        ("nonsense: [", 1, "couldn't parse as pod"),
    ],
)
async def test_check_manifests(tmp_path: Path, manifest: str, code: int, words: str) -> None:
    (tmp_path / "pod.yaml").write_text(manifest)
    for path in (tmp_path, tmp_path / "pod.yaml"):
        result = await call("check", str(path))
        assert result.exit_code == code, result.output
        assert words in result.output


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("maxPods: 10\n", 0, ""),
        ("maxPodz: 10\n", 1, "maxPodz"),
        ("maxPods: -1\n", 1, "maxPods"),
    ],
)
async def test_check_configuration(tmp_path: Path, text: str, code: int, words: str) -> None:
    config, manifest = tmp_path / "config.yaml", tmp_path / "pod.yaml"
    config.write_text(CONFIG + text)
    manifest.write_text(GOOD)
    result = await call("check", f"--config={config}", str(manifest))
    assert result.exit_code == code, result.output
    assert words in result.output


async def test_help_of_all() -> None:
    for name in COMMANDS:
        result: Any = await call(name, "--help")
        assert result.exit_code == 0 and "Usage:" in result.output
