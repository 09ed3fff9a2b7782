"""Exec plug-ins: what they are told, how long their answer stands, and how they fail."""

import asyncio
import sys
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from pykubelet.base.clock import ManualClock
from pykubelet.base.metrics import Metrics
from pykubelet.cluster.access import ExecConfig
from pykubelet.cluster.errors import Unreachable
from pykubelet.cluster.exec_plugin import ExecPlugin

V1 = "client.authentication.k8s.io/v1"


class Plugin:
    """A plug-in that prints what it is told to, and leaves what it was asked."""

    def __init__(self, folder: Path, script: str, *, timeout: float = 20.0, version: str = V1) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.metrics = Metrics()
        code = folder / "plugin.py"
        code.write_text(
            "import json, os, sys, time\n"
            f"open({str(folder / 'runs')!r}, 'a').write('x')\n"
            f"open({str(folder / 'told')!r}, 'w').write(os.environ['KUBERNETES_EXEC_INFO'])\n"
            "def answer(version=os.environ['VERSION'], **status):\n"
            "    print(json.dumps({'kind': 'ExecCredential', 'apiVersion': version, 'status': status}))\n"
            + script
        )
        config = ExecConfig(
            sys.executable,
            version,
            (str(code),),
            (("VERSION", version),),
            cluster_info={"server": "https://api", "certificate-authority-data": b"CA"},
        )
        self.plugin = ExecPlugin(config, self.clock, environ={}, metrics=self.metrics, timeout=timeout)

    @property
    def runs(self) -> int:
        return len((self.folder / "runs").read_text())


@pytest.mark.parametrize("version", [V1, "client.authentication.k8s.io/v1beta1"])
async def test_it_is_told_of_the_cluster_and_its_answer_stands_until_it_expires(
    tmp_path: Path, version: str
) -> None:
    made = Plugin(tmp_path, "answer(token='t', expirationTimestamp='2023-11-14T23:00:00Z')", version=version)
    first = await made.plugin.credential()
    assert first.token == "t"
    assert first.expires == datetime(2023, 11, 14, 23, tzinfo=UTC)
    assert "t'" not in repr(first).replace("tzinfo", "")
    assert await made.plugin.credential() is first
    assert msgspec.json.decode((tmp_path / "told").read_bytes()) == {
        "kind": "ExecCredential",
        "apiVersion": version,
        "spec": {
            "interactive": False,
            "cluster": {"server": "https://api", "certificate-authority-data": "Q0E="},
        },
    }
    made.clock.advance(3600)
    assert await made.plugin.credential() is not first
    assert made.runs == 2
    assert b'rest_client_exec_plugin_call_total{call_status="no_error",code="0"} 2' in made.metrics.render()


async def test_a_rejected_credential_is_replaced_once_for_all(tmp_path: Path) -> None:
    made = Plugin(tmp_path, "answer(token='t')")
    first = await made.plugin.credential()
    made.plugin.rejected(first)
    second, third = await asyncio.gather(made.plugin.credential(), made.plugin.credential())
    assert first is not second is third
    made.plugin.rejected(first)
    assert await made.plugin.credential() is second
    assert made.runs == 2


@pytest.mark.parametrize(
    ("script", "text"),
    [
        ("sys.exit(3)", "failed with exit code 3"),
        ("print('{')", "cannot be read"),
        ("answer()", "didn't return a token"),
        ("answer(clientKeyData='s3cr3t')", "only certificate or key"),
        ("answer('client.authentication.k8s.io/v1alpha1', token='s3cr3t')", "API version"),
        ("print(json.dumps({'kind': 'ExecCredential', 'apiVersion': os.environ['VERSION']}))", "status"),
        ("print('x' * (2 << 20))", "printed too much"),
    ],
)
async def test_how_it_fails(tmp_path: Path, script: str, text: str) -> None:
    made = Plugin(tmp_path, script)
    with pytest.raises(Unreachable) as failed:
        await made.plugin.credential()
    assert text in str(failed.value)
    assert "s3cr3t" not in str(failed.value)
    # It stands for a moment: many requests do not start many plug-ins.
    with pytest.raises(Unreachable):
        await made.plugin.credential()
    assert made.runs == 1
    made.clock.advance(3)
    with pytest.raises(Unreachable):
        await made.plugin.credential()
    assert made.runs == 2


async def test_it_may_not_take_for_ever(tmp_path: Path) -> None:
    made = Plugin(tmp_path, "time.sleep(600)", timeout=1.0)
    with pytest.raises(Unreachable, match="took longer than 1s"):
        await made.plugin.credential()


async def test_a_missing_command(caplog: pytest.LogCaptureFixture) -> None:
    config = ExecConfig("/nowhere/plugin", V1, install_hint="get it from somewhere")
    plugin = ExecPlugin(config, ManualClock(), environ={})
    with pytest.raises(Unreachable, match="/nowhere/plugin not found"):
        await plugin.credential()
    assert "get it from somewhere" in caplog.text
