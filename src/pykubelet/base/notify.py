"""Telling systemd that the daemon is ready and alive (sd_notify, WatchdogSec)."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)


def send(message: str, env: Mapping[str, str]) -> bool:
    """Send *message* to the socket that ``NOTIFY_SOCKET`` names; False if nobody listens there."""
    path = env.get("NOTIFY_SOCKET", "")
    if not path:
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.setblocking(False)
            sock.connect(address)
            sock.sendall(message.encode())
    except OSError as error:
        log.warning("systemd was not told %r: %s", message, error)
        return False
    return True


def watchdog_seconds(env: Mapping[str, str], pid: int) -> float | None:
    """The watchdog's period if systemd wants this process to report.

    :raises ValueError: ``WATCHDOG_USEC`` is no number, or not more than a second.
    """
    text = env.get("WATCHDOG_USEC", "")
    if not text or env.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    if not text.isdecimal():
        raise ValueError(f"WATCHDOG_USEC: {text!r} is not a number of microseconds")
    seconds = int(text) / 1e6
    if seconds <= 1:
        raise ValueError(f"WATCHDOG_USEC: {seconds}s is too short, more than 1s is needed")
    return seconds


async def watchdog(seconds: float, problems: Callable[[], str]) -> None:
    """Report every half period for ever, unless *problems* names one: then systemd restarts us."""
    while True:
        problem = problems()
        if problem:
            log.error("the watchdog is not told that all is well: %s", problem)
        else:
            send("WATCHDOG=1", os.environ)
        await asyncio.sleep(seconds / 2)
