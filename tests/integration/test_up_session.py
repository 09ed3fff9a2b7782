"""``up``'s own course with a stand-in for the daemon: signals, a second start, and what is left."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from pykubelet.cli.up.containerd import PrivateContainerd
from pykubelet.cli.up.leftovers import end_process, processes, remove_tree
from pykubelet.cli.up.places import Places

STANDIN = Path(__file__).with_name("standin_daemon.py")

#: Runs the command with the stand-in where the daemon would be.
LAUNCH = """
import sys
from pykubelet.cli.up import daemon
real = daemon.daemon_arguments
daemon.daemon_arguments = lambda places, python: [str(python), {standin!r}, *real(places, python)[4:]]
from pykubelet.cli.up import session
session._GOOD_WHILE = {patience}
from pykubelet.cli.group import group
group.main(args=["up", *sys.argv[1:]], prog_name="pykubelet")
"""


class Up:
    def __init__(self, top: Path) -> None:
        self.places = Places(top)
        self.started: list[subprocess.Popen[str]] = []

    def start(self, *arguments: str, patience: float = 60) -> subprocess.Popen[str]:
        """Start it and wait until it has said what to try; *patience* is its idea of a good while."""
        code = LAUNCH.format(standin=str(STANDIN), patience=patience)
        command = [sys.executable, "-c", code, "--dir", str(self.places.top), *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        self.started.append(process)
        said = []
        for line in process.stdout:
            said.append(line)
            if line.startswith("Ctrl-C ends"):
                return process
        raise AssertionError("".join(said))

    def end(self, process: subprocess.Popen[str], signum: int) -> str:
        process.send_signal(signum)
        rest, _ = process.communicate(timeout=30)
        return rest

    def daemons(self) -> list[int]:
        return [pid for pid, arguments in processes() if f"--config={self.places.config}" in arguments]

    def containerd(self) -> PrivateContainerd:
        return PrivateContainerd(self.places.containerd, self.places.containerd_run, name="up")

    def close(self) -> None:
        for process in self.started:
            process.kill()
            process.communicate()
        for pid in self.daemons():
            end_process(pid, signal.SIGKILL, 5)
        self.containerd().destroy()
        remove_tree(self.places.run)


@pytest.fixture
def up(short_dir: Path) -> Iterator[Up]:
    up = Up(short_dir / "up")
    yield up
    up.close()


def test_interrupt_leaves_nothing(up: Up) -> None:
    process = up.start()
    assert len(up.daemons()) == 1
    assert sorted(path.name for path in up.places.active.iterdir())[0] == "sample-crasher.yaml"
    assert "Nothing is left running." in up.end(process, signal.SIGINT)
    assert process.returncode == 0
    assert up.daemons() == []
    assert up.containerd().pid is None
    assert not up.places.top.exists()
    assert not up.places.run.exists()


def test_the_users_manifests_stay_and_follow(up: Up, short_dir: Path) -> None:
    manifests = short_dir / "manifests"
    manifests.mkdir()
    (manifests / "mine.yaml").write_text("x")
    process = up.start("--manifests", str(manifests), "--no-samples")
    assert [path.name for path in up.places.active.iterdir()] == ["mine.yaml"]
    up.end(process, signal.SIGINT)
    assert (manifests / "mine.yaml").exists()


def test_term_leaves_the_runtime_and_a_killed_up_is_taken_over(up: Up) -> None:
    process = up.start()
    assert "go on running" in up.end(process, signal.SIGTERM)
    assert up.daemons() == []
    first = up.containerd().pid
    assert first is not None
    process = up.start()
    up.end(process, signal.SIGKILL)
    (orphan,) = up.daemons()
    process = up.start()
    assert up.containerd().pid == first
    (daemon,) = up.daemons()
    assert daemon != orphan
    assert "Nothing is left running." in up.end(process, signal.SIGINT)
    assert not up.places.top.exists()


def test_a_daemon_that_dies_after_a_good_while_is_started_again(up: Up) -> None:
    process = up.start(patience=0)
    (first,) = up.daemons()
    end_process(first, signal.SIGKILL, 5)
    for line in process.stdout:
        if "starting the daemon" in line:
            break
    (second,) = up.daemons()
    assert second != first
    assert "Nothing is left running." in up.end(process, signal.SIGINT)


def test_a_daemon_that_dies_at_once_ends_up_with_its_last_words(up: Up) -> None:
    process = up.start()
    (daemon,) = up.daemons()
    up.places.daemon_log.write_text("kaput\n")
    end_process(daemon, signal.SIGKILL, 5)
    rest, _ = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "the daemon ended by itself; its last words:\n  kaput" in rest
    assert up.containerd().pid is None
