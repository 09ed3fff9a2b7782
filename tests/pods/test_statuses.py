"""Statuses without an API server: kept, told, and over a restart."""

import asyncio

from pykubelet.api.core import ContainerState, ContainerStateRunning, ContainerStatus, Pod, PodStatus
from pykubelet.api.meta import ObjectMeta
from pykubelet.pods.statuses import LocalStatuses


def pod(uid="u1") -> Pod:
    return Pod(metadata=ObjectMeta(name="p", namespace="ns", uid=uid))


def status(phase="Running", message="") -> PodStatus:
    web = ContainerStatus(name="web", state=ContainerState(running=ContainerStateRunning()), ready=True)
    return PodStatus(phase=phase, message=message, containerStatuses=[web])


async def test_only_a_change_is_told_and_written(tmp_path) -> None:
    told = []
    statuses = LocalStatuses(tmp_path / "s", lambda pod, old, new: told.append((old, new)))
    await statuses.start()
    statuses.set(pod(), status())
    statuses.set(pod(), status())
    statuses.set(pod(), status(message="m"))
    assert told == [(None, status()), (status(), status(message="m"))]
    assert statuses.get("u1") == status(message="m")
    await statuses.stop()
    assert [path.name for path in (tmp_path / "s").iterdir()] == ["u1.json"]


async def test_a_restart_remembers_what_was_reported(tmp_path) -> None:
    first = LocalStatuses(tmp_path / "s")
    await first.start()
    for uid in ("u1", "u2", "u3"):
        first.set(pod(uid), status(message=uid))
    await asyncio.sleep(0.05)
    # No orderly stop: what was written until now must do.
    second = LocalStatuses(tmp_path / "s")
    await second.start()
    assert second.get("u2") == status(message="u2")
    second.remove("u2")
    second.keep_only({"u1"})
    await second.stop()
    assert set(second.all()) == {"u1"}
    third = LocalStatuses(tmp_path / "s")
    await third.start()
    assert set(third.all()) == {"u1"}
    await third.stop()
    await first.stop()


async def test_a_file_that_cannot_be_read_is_left_out(tmp_path, caplog) -> None:
    (tmp_path / "u1.json").write_text("{")
    (tmp_path / "u2.json").write_bytes(b" " * ((1 << 20) + 1))
    (tmp_path / "u3.json").write_text('{"phase": "Running"}')
    (tmp_path / ".u3.json.0123abcd").write_text("half")
    statuses = LocalStatuses(tmp_path)
    await statuses.start()
    assert set(statuses.all()) == {"u3"}
    assert caplog.text.count("cannot be read and is left out") == 2
    assert not (tmp_path / ".u3.json.0123abcd").exists()
    await statuses.stop()


async def test_a_disk_that_refuses_costs_only_the_file(tmp_path, caplog) -> None:
    (tmp_path / "s").write_text("a file where the directory should be")
    statuses = LocalStatuses(tmp_path / "s")
    await statuses.start()
    statuses.set(pod(), status())
    await statuses.stop()
    assert "cannot be written" in caplog.text
    assert statuses.get("u1") is not None


async def test_what_never_ended_gets_an_end_with_its_pod(tmp_path) -> None:
    statuses = LocalStatuses(tmp_path)
    statuses.terminate(pod())
    assert statuses.get("u1") is None
    statuses.set(pod(), status())
    statuses.terminate(pod())
    ended = statuses.get("u1")
    assert ended.phase == "Failed"
    assert ended.containerStatuses[0].state.terminated.reason == "ContainerStatusUnknown"
    assert ended.containerStatuses[0].state.terminated.exitCode == 137
