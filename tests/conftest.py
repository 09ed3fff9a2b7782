"""Fixtures for every test: no blocking call of ours on the event loop, and hypothesis' profiles."""

import asyncio
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from blockbuster import BlockBuster
from hypothesis import HealthCheck, settings

from pykubelet.base.apart import Apart
from pykubelet.linux import mountinfo, mounts, syscalls
from pykubelet.node.host import Host, look
from pykubelet.volumes.patient_threads import PatientThreads

settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile(
    "ci", max_examples=100, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


def pytest_configure() -> None:
    """Prepare what outlives single tests."""
    # grpc ends its poller, blocking, whenever its last channel is collected: in a test at random.
    # Held once here, it stays as it does in a daemon, whose channel to the runtime lives on.
    asyncio.run(_hold_grpc())
    # Let nobody make an event loop by merely asking for one: it would never be closed.
    asyncio.set_event_loop(None)


async def _hold_grpc() -> None:
    grpc.aio.init_grpc_aio()


@pytest.fixture(scope="session")
def _blockbuster() -> BlockBuster:
    # The launcher of `up` blocks by design; a test that calls it knows.
    return BlockBuster(scanned_modules=["pykubelet"], excluded_modules=["pykubelet.cli.up"])


@pytest.fixture(autouse=True)
def blockbuster(_blockbuster: BlockBuster) -> Iterator[BlockBuster]:
    """Fails a test in which code of this package blocks the running event loop."""
    _blockbuster.activate()
    yield _blockbuster
    _blockbuster.deactivate()


@pytest.fixture
def one_thread(monkeypatch: pytest.MonkeyPatch, blockbuster: BlockBuster) -> None:
    """Blocking work is done at once, on the loop: virtual time does not wait for threads."""
    blockbuster.deactivate()

    def inline(
        loop: asyncio.AbstractEventLoop, executor: object, function: Callable[..., Any], *arguments: object
    ) -> asyncio.Future[Any]:
        future = loop.create_future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    async def at_once(apart: Apart, work: Callable[[], Any], *, seconds: float | None = None) -> Any:
        return work()

    async def looked(threads: PatientThreads, target: object, work: Callable[[], Any], limit: float) -> Any:
        return work()

    monkeypatch.setattr(asyncio.BaseEventLoop, "run_in_executor", inline)
    monkeypatch.setattr(Apart, "run", at_once)
    monkeypatch.setattr(PatientThreads, "run", looked)


@pytest.fixture(scope="session")
def host(tmp_path_factory: pytest.TempPathFactory) -> Host:
    """This machine, as a node of the name ``n``."""
    return look("n", "", tmp_path_factory.mktemp("look"))


@pytest.fixture
def mount_area(tmp_path: Path) -> Iterator[Path]:
    """A directory on a private tmpfs of its own: whatever a test mounts there ends with it."""
    area = Path(os.path.realpath(tmp_path)) / "area"
    area.mkdir()
    syscalls.mount("tmpfs", str(area), "tmpfs", 0, "size=64m")
    try:
        mounts.make_private(str(area))
        yield area
    finally:
        while mountinfo.is_mount_point(mountinfo.read(), str(area)):
            syscalls.umount2(str(area), syscalls.MNT_DETACH)
