"""``apply`` and ``delete`` against a real source behind a real admin socket."""

from pathlib import Path

import pytest
from tests.cli.test_local_commands import call
from tests.pods.sources.test_file import manifest
from tests.server.conftest import FakeNode, admin, node, short_path, streaming
from tests.server.test_manifests import pushed

from pykubelet.base.clock import SystemClock
from pykubelet.pods.sources import PushSource
from pykubelet.server import AdminServer

__all__ = ["admin", "node", "pushed", "short_path", "streaming"]


@pytest.fixture
async def socket(pushed: PushSource, short_path: Path):
    path = short_path / "run" / "admin.sock"
    server = AdminServer(path, FakeNode(), SystemClock(), idle=60.0, manifests=pushed)
    await server.start()
    yield f"--socket={path}"
    await server.stop()


async def test_files_are_pushed_and_deleted(socket: str, pushed: PushSource, tmp_path: Path) -> None:
    file = tmp_path / "Web.yaml"
    file.write_text(manifest(extra=", imagePullPolicie: Always"))
    first = await call("apply", "-f", str(file), socket)
    assert first.exit_code == 0, first.output
    assert first.stdout == "manifest/web created\n  pod/web-node1 in namespace default\n"
    assert "Warning: unknown field" in first.stderr
    assert "manifest/web configured" in (await call("apply", "-f", str(file), socket)).output
    file.write_text(manifest(image=""))
    bad = await call("apply", "-f", str(file), socket)
    assert bad.exit_code == 1 and "Error: manifest web: invalid pod: [spec.containers[0].image" in bad.output
    assert (await call("delete", "-f", str(file), socket)).output == "manifest/web deleted\n"
    gone = await call("delete", "web", socket)
    assert gone.exit_code == 1 and 'manifests "web" not found' in gone.output
    assert (await call("delete", socket)).exit_code == 2
    assert pushed.manifests() == []


async def test_a_daemon_that_takes_none_says_how_it_would(admin: Path, tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text(manifest())
    result = await call("apply", "-f", str(tmp_path / "web.yaml"), f"--socket={admin}")
    assert result.exit_code == 1 and "start it with --enable-manifest-push" in result.output
