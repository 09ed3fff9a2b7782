"""``pykubelet run`` as its user meets it: what it refuses, and what it says instead of starting."""

import asyncio
import json
import logging
import os
import subprocess
import sys

import pytest
from tests.memory_node import write_config

from pykubelet import KUBELET_VERSION
from pykubelet.base.layout import RUN_DIR_VARIABLE, Layout
from pykubelet.cli import daemon
from pykubelet.cli.logformat import JSONFormatter, KlogFormatter
from pykubelet.cli.run import run
from pykubelet.wiring.startup import StartError

RUN = "import sys; from pykubelet.cli.run import run; sys.exit(run(sys.argv[1:]))"
KIND = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"

#: A node without a cluster.
ALONE = (
    "failSwapOn: false\nfailCgroupV1: false\nauthentication: {webhook: {enabled: false}}\n"
    "authorization: {mode: AlwaysAllow}\n"
)


def config(tmp_path, text) -> list[str]:
    file = tmp_path / "config.yaml"
    file.write_text(KIND + text)
    return ["--config", str(file), "--root-dir", str(tmp_path / "root")]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("maxPods: many\n", "maxPods"),
        ("maxPods: -5\n", "maxPods"),
        ("healthzPort: 70000\n", "healthzPort"),
        ("syncFrequency: soon\n", "syncFrequency"),
        ("featureGates: {NoSuchGate: true}\n", "NoSuchGate"),
        ("kubeReserved: {cpu: much}\n", "kubeReserved"),
        ("{", "config"),
    ],
)
def test_a_bad_configuration_is_one_line_that_names_it(tmp_path, capsys, text, named) -> None:
    assert run(config(tmp_path, text)) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert named in err
    assert err.startswith("pykubelet ")
    assert err.count("\n") == 1
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--no-such-flag"], "no-such-flag"),
        (["--max-pods=many"], "max-pods"),
        (["--config=/no/such/file"], "/no/such/file"),
        (["surplus"], "surplus"),
    ],
)
def test_a_bad_flag_is_one_line_that_names_it(capsys, arguments, named) -> None:
    assert run(arguments) == 1
    err = capsys.readouterr().err
    assert named in err
    assert err.count("\n") == 1


def test_a_directory_for_the_configuration_names_the_flag_that_was_meant(tmp_path, capsys) -> None:
    assert run(["--config", str(tmp_path)]) == 1
    err = capsys.readouterr().err
    assert "--pod-manifest-path" in err
    assert err.count("\n") == 1


def test_the_version(capsys) -> None:
    assert run(["--version"]) == 0
    assert KUBELET_VERSION in capsys.readouterr().out


def test_help_is_grouped_and_no_wider_than_the_terminal(capsys, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    assert "--config" in text
    assert "--max-pods" in text
    assert "pykubelet run" in text


@pytest.mark.parametrize(
    ("text", "flags", "named"),
    [
        ("failSwapOn: false\nfailCgroupV1: false\n", ["--node-ip=192.0.2.77"], "192.0.2.77"),
        ("failSwapOn: false\nfailCgroupV1: false\ncgroupDriver: systemd\n", [], "cgroupDriver"),
        (ALONE, ["--container-runtime=docker"], "install Docker"),
    ],
)
def test_a_host_that_does_not_fit_is_one_line_and_nothing_is_started(tmp_path, text, flags, named) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pykubelet", "run", *config(tmp_path, text), *flags],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert named in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "root").exists()


def record(level=logging.INFO, error=None) -> logging.LogRecord:
    made = logging.LogRecord("pykubelet.x", level, "/src/pods/worker.py", 12, "pod %s", ("web",), None)
    made.created, made.process = 1_700_000_000.25, 42
    if error is not None:
        made.exc_info = (type(error), error, None)
    return made


@pytest.mark.parametrize(
    ("level", "letter"),
    [
        (logging.DEBUG, "I"),
        (logging.INFO, "I"),
        (logging.WARNING, "W"),
        (logging.ERROR, "E"),
        (logging.CRITICAL, "F"),
    ],
)
def test_text_lines_have_klogs_form(level, letter) -> None:
    line = KlogFormatter().format(record(level))
    assert line[0] == letter
    assert line[1:].split()[1].endswith(".250000")
    assert line.endswith("     42 worker.py:12] pod web")


def test_a_text_line_with_an_error_shows_where_it_came_from() -> None:
    assert KlogFormatter().format(record(logging.ERROR, ValueError("ouch"))).endswith("\nValueError: ouch")


def test_json_lines_have_the_kubelets_fields() -> None:
    assert json.loads(JSONFormatter().format(record())) == {
        "ts": 1_700_000_000_250.0,
        "caller": "worker.py:12",
        "v": 0,
        "msg": "pod web",
    }
    failed = json.loads(JSONFormatter().format(record(logging.ERROR, ValueError("ouch"))))
    assert failed["err"] == "ouch"
    assert "v" not in failed


async def test_a_bootstrap_that_waits_ends_when_the_daemon_is_to_end(monkeypatch) -> None:
    waits = asyncio.Event()

    async def forever(*_):
        waits.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(daemon, "make_kubelet", forever)
    stop = asyncio.Event()
    made = asyncio.create_task(daemon._made(None, None, None, stop))  # noqa: TID251
    await waits.wait()
    stop.set()
    async with asyncio.timeout(5):
        assert await made is None


async def test_why_there_is_no_way_to_the_cluster_is_told(monkeypatch, caplog) -> None:
    async def refused(*_):
        raise StartError("no way")

    monkeypatch.setattr(daemon, "make_kubelet", refused)
    with pytest.raises(StartError, match="no way"):
        await daemon._made(None, None, None, asyncio.Event())
    assert not caplog.records


def test_a_client_certificate_that_cannot_be_used_is_one_line(mount_area) -> None:
    layout = Layout(root=mount_area / "root", pod_logs=mount_area / "logs", run=mount_area / "run")
    file = write_config(mount_area / "config.json", mount_area, layout)
    kubeconfig = mount_area / "kubeconfig"
    kubeconfig.write_text(
        json.dumps(
            {
                "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
                "users": [{"name": "u", "user": {"client-certificate": "gone", "client-key": "gone"}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
        )
    )
    arguments = [f"--config={file}", f"--kubeconfig={kubeconfig}", f"--root-dir={layout.root}"]
    ended = subprocess.run(
        [sys.executable, "-c", RUN, *arguments, "--hostname-override=n"],
        capture_output=True, text=True, check=False, timeout=50,
        env={**os.environ, RUN_DIR_VARIABLE: str(layout.run)},
    )  # fmt: skip
    assert ended.returncode == 1
    last = ended.stderr.splitlines()[-1]
    assert last.startswith("pykubelet ") and "unable to read the client certificate" in last
    assert "Traceback" not in ended.stderr
