"""Termination messages: from the file, from the log, and never from elsewhere."""

import os

import pytest

from pykubelet.containers.termination_message import enrich
from pykubelet.cri.types import ContainerState, ContainerStatus, MountStatus


def status(
    host, *, code=1, policy="File", message="", log_path="", state=ContainerState.EXITED, reason="Error"
):
    notes = {
        "io.kubernetes.container.terminationMessagePath": "/dev/termination-log",
        "io.kubernetes.container.terminationMessagePolicy": policy,
    }
    mounts = (MountStatus("/dev/termination-log", str(host), False),)
    return ContainerStatus(
        "id", "c", 0, state, 0, 0, 0, code, "", "", "", reason, message, {}, notes, mounts, str(log_path)
    )


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "message"
    path.write_text("")
    return path


@pytest.fixture
def log(tmp_path):
    path = tmp_path / "pods" / "ns_p_u" / "c" / "0.log"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"".join(b"2016-10-06T00:17:09Z stderr F line %d\n" % i for i in range(100)))
    return path


async def test_the_files_end(file):
    file.write_text("x" * 5000 + "end")
    assert (await enrich(status(file))).message == "x" * 4093 + "end"
    file.write_text("why")
    assert (await enrich(status(file, message="OOM"))).message == "OOM: why"
    assert (await enrich(status(file, state=ContainerState.RUNNING))).message == ""


async def test_the_log_where_the_file_is_empty(file, log):
    made = await enrich(status(file, policy="FallbackToLogsOnError", log_path=log))
    assert made.message == "".join(f"line {i}\n" for i in range(20, 100))
    log.write_bytes(b"2016-10-06T00:17:09Z stderr F " + b"y" * 3000 + b"\n")
    made = await enrich(status(file, policy="FallbackToLogsOnError", log_path=log))
    assert made.message == "y" * 2047 + "\n"


@pytest.mark.parametrize("more", [{"code": 0}, {"reason": "ContainerCannotRun"}, {"policy": "File"}])
async def test_when_the_log_does_not_count(file, log, more):
    more = {"policy": "FallbackToLogsOnError"} | more
    assert (await enrich(status(file, log_path=log, **more))).message == ""


async def test_nothing_but_a_regular_file_is_read(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("secret")
    link = tmp_path / "link"
    link.symlink_to(secret)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (link, pipe, tmp_path):
        message = (await enrich(status(path))).message
        assert message.startswith(f"Error on reading termination log {path}: ")
        assert "secret" not in message.partition(": ")[2]
    assert (await enrich(status(tmp_path / "missing"))).message == ""
