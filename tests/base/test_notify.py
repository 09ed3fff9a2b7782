"""What systemd is told, and when the watchdog is kept from it."""

import asyncio
import socket

import pytest

from pykubelet.base import notify


@pytest.mark.parametrize("abstract", [False, True])
def test_a_message_reaches_the_socket_that_systemd_names(tmp_path, abstract) -> None:
    name = f"@{tmp_path.name}-{id(tmp_path)}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name[1:] if abstract else name)
        assert notify.send("READY=1", {"NOTIFY_SOCKET": name})
        assert listener.recv(100) == b"READY=1"


def test_without_a_listener_nothing_breaks(tmp_path) -> None:
    assert not notify.send("READY=1", {})
    assert not notify.send("READY=1", {"NOTIFY_SOCKET": str(tmp_path / "gone")})


@pytest.mark.parametrize(
    ("env", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": ""}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
    ],
)
def test_the_watchdogs_period(env, seconds) -> None:
    assert notify.watchdog_seconds(env, 7) == seconds


@pytest.mark.parametrize("text", ["soon", "-1", "1000000", "0"])
def test_a_period_that_cannot_be_kept_is_an_error(text) -> None:
    with pytest.raises(ValueError, match="WATCHDOG_USEC"):
        notify.watchdog_seconds({"WATCHDOG_USEC": text}, 7)


@pytest.mark.looptime
async def test_the_watchdog_is_told_twice_a_period_unless_something_is_wrong(monkeypatch) -> None:
    told, problem = [], [""]
    monkeypatch.setattr(notify, "send", lambda message, env: told.append(message))
    task = asyncio.get_running_loop().create_task(notify.watchdog(10, lambda: problem[0]))
    await asyncio.sleep(22)
    assert told == ["WATCHDOG=1"] * 5
    problem[0] = "the sync loop hangs"
    await asyncio.sleep(30)
    assert len(told) == 5
    problem[0] = ""
    await asyncio.sleep(5)
    assert len(told) == 6
    task.cancel()
