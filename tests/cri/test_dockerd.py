"""Docker through cri-dockerd: which way is taken, and the life of one that we start."""

import asyncio
import logging
import os
import shlex
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from tests.cri import standin_dockerd
from tests.pods.sources.test_http import Told
from tests.server.conftest import short_path

from pykubelet.cri import dockerd
from pykubelet.cri.dockerd import CriDockerd, DockerError, Way, choose, find, listens

__all__ = ["short_path"]

OWN = Path("/run/pykubelet/cri-dockerd.sock")


def test_one_that_serves_is_used_else_the_installed_one_is_started():
    serving = Path("/run/cri-dockerd.sock")
    assert choose(serving, "/usr/bin/cri-dockerd", OWN) == Way("unix:///run/cri-dockerd.sock")
    assert choose(None, "/usr/bin/cri-dockerd", OWN) == Way(f"unix://{OWN}", "/usr/bin/cri-dockerd")
    # Ours, of a daemon that was killed: as long as it can be replaced it is.
    assert choose(OWN, "/usr/bin/cri-dockerd", OWN) == Way(f"unix://{OWN}", "/usr/bin/cri-dockerd")
    assert choose(OWN, None, OWN) == Way(f"unix://{OWN}")
    with pytest.raises(DockerError, match="install Docker"):
        choose(None, None, OWN)


def test_a_socket_counts_only_if_somebody_listens(short_path):
    dead, alive = short_path / "dead.sock", short_path / "alive.sock"
    with socket.socket(socket.AF_UNIX) as left, socket.socket(socket.AF_UNIX) as listening:
        left.bind(str(dead))
        listening.bind(str(alive))
        listening.listen()
        sockets = (short_path / "none.sock", dead, alive)
        assert find(short_path, sockets=sockets, which=lambda name: None) == Way(f"unix://{alive}")
        own = Way(f"unix://{short_path}/cri-dockerd.sock", "/x")
        assert find(short_path, sockets=sockets[:2], which=lambda name: "/x") == own
    with pytest.raises(DockerError):
        find(short_path, sockets=(), which=lambda name: None)


def stand_in(directory: Path) -> Path:
    """A program ``cri-dockerd`` in *directory*."""
    program = directory / "cri-dockerd"
    command = shlex.join([sys.executable, standin_dockerd.__file__])
    program.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    program.chmod(0o755)
    return program


async def pids(told: Told, number: int) -> list[int]:
    async with asyncio.timeout(20):
        while len(told.of("CriDockerdStarted")) < number:
            await asyncio.sleep(0.02)
    return [int(text.split()[-1]) for text, _ in told.of("CriDockerdStarted")]


async def test_it_is_started_logged_kept_alive_and_ended(short_path, monkeypatch, caplog):
    monkeypatch.setattr(dockerd, "_WAITS", (0.05, 0.1))
    caplog.set_level(logging.INFO, "pykubelet")
    told = Told()
    way = Way(f"unix://{short_path}/cri-dockerd.sock", str(stand_in(short_path)))
    docker = CriDockerd(way, told)
    await docker.start()
    try:
        (first,) = await pids(told, 1)
        async with asyncio.timeout(20):
            while "cri-dockerd: serving unix://" not in caplog.text or "xxx" not in caplog.text:
                await asyncio.sleep(0.02)
        assert max(len(line) for line in caplog.text.splitlines()) < 5000
        os.kill(first, signal.SIGKILL)
        _, second = await pids(told, 2)
        assert told.of("CriDockerdEnded")[0][0] == "cri-dockerd ended with code -9"
    finally:
        await docker.stop()
    for pid in (first, second):
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    await docker.stop()


async def test_one_that_a_killed_daemon_left_is_replaced(short_path):
    told, program, own = Told(), stand_in(short_path), short_path / "cri-dockerd.sock"
    left = subprocess.Popen([program, "--container-runtime-endpoint", f"unix://{own}"])
    try:
        async with asyncio.timeout(20):
            while not await asyncio.to_thread(listens, own):
                await asyncio.sleep(0.02)
        way = await asyncio.to_thread(find, short_path, sockets=(), which=lambda name: str(program))
        docker = CriDockerd(way, told)
        await docker.start()
        try:
            (new,) = await pids(told, 1)
            assert new != left.pid
            assert await asyncio.to_thread(left.wait, 20) == -signal.SIGTERM
        finally:
            await docker.stop()
    finally:
        left.kill()
        left.wait()


async def test_one_that_cannot_be_started_is_told_and_tried_again(short_path, monkeypatch, caplog):
    monkeypatch.setattr(dockerd, "_WAITS", (0.05, 0.1))
    told = Told()
    docker = CriDockerd(Way(f"unix://{short_path}/s.sock", str(short_path / "none")), told)
    await docker.start()
    async with asyncio.timeout(20):
        while len(told.of("CriDockerdEnded")) < 2:
            await asyncio.sleep(0.02)
    await docker.stop()
    assert "cannot be started: No such file or directory" in caplog.text
