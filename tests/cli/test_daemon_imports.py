"""What the daemon must not load: each costs start-up time and memory that it would hold for ever."""

import json
import subprocess
import sys

import pytest

#: The other commands' libraries, development tools, and parts of libraries that the daemon does without.
FORBIDDEN = {
    "attrs",
    "blockbuster",
    "click",
    "grpc_tools.protoc",
    "hypothesis",
    "mypy",
    "optparse",
    "pydoc",
    "pygments",
    "pytest",
    "rich",
    "setuptools",
    "sqlite3",
    "unittest",
    "xml.etree",
}
#: What nobody but tests and other commands uses of ours.
FORBIDDEN_OURS = ("pykubelet.cli.up", "pykubelet.cli.group", "pykubelet.cri.memory", "pykubelet.sim")


@pytest.fixture(scope="module")
def loaded() -> list[str]:
    """Modules in a process that has imported the daemon and nothing else."""
    code = "import sys, json, pykubelet.cli.daemon; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules: list[str] = json.loads(done.stdout)
    return modules


def test_libraries_that_it_does_without(loaded):
    assert sorted(FORBIDDEN & set(loaded)) == []


def test_rooms_that_it_does_without(loaded):
    assert [name for name in loaded if name.startswith(FORBIDDEN_OURS)] == []


def test_help_and_wrong_flags_load_no_daemon():
    code = (
        "import sys; from pykubelet.cli.run import run; "
        "assert (run(['--no-such-flag']), run(['--help'])) == (1, 0); "
        "assert not {'asyncio', 'aiohttp', 'grpc', 'pykubelet.kubelet'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_only_the_compiled_protobuf_runs():
    code = "from google.protobuf.internal import api_implementation as a; assert a.Type() == 'upb', a.Type()"
    subprocess.run([sys.executable, "-c", code], check=True)
