"""Watching through a server that fails in every way the double knows, over real connections."""

import asyncio
import random
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import pytest
from tests.apiserver import ApiServer, Cut, Expire, Malformed, Refuse
from tests.apiserver.resources import PODS

from pykubelet.api.core import Pod
from pykubelet.base.clock import SystemClock
from pykubelet.cluster import paths
from pykubelet.cluster.client import ApiClient
from pykubelet.cluster.credentials import FileCredentials
from pykubelet.cluster.kubeconfig import load
from pykubelet.cluster.reflector import Reflector


class HastyRandom(random.Random):
    """Waits are as short as jitter lets them be."""

    def random(self) -> float:
        return 0.0


@asynccontextmanager
async def watching(
    server: ApiServer, folder: Path, by: Literal["token", "certificate"] = "token"
) -> AsyncGenerator[Reflector[Pod], None]:
    path = server.write_kubeconfig(folder / "kubeconfig", by=by)
    credentials = FileCredentials(await asyncio.to_thread(load, path), SystemClock(), environ={})
    await credentials.start()
    client = ApiClient(credentials, user_agent="kubelet/v1.36.2 (linux/amd64) kubernetes/0000000")
    reflector = Reflector(
        client, paths.pods(""), Pod, SystemClock(), HastyRandom(), query={"fieldSelector": "spec.nodeName=n"}
    )
    await reflector.start()
    try:
        yield reflector
    finally:
        await reflector.stop()
        await client.close()
        await credentials.stop()


async def agree(server: ApiServer, reflector: Reflector[Pod]) -> None:
    def same() -> bool:
        there = {
            (pod["metadata"]["uid"], pod["metadata"]["resourceVersion"])
            for pod in server.list(PODS)
            if pod["spec"].get("nodeName") == "n"
        }
        here = {(pod.metadata.uid, pod.metadata.resourceVersion) for pod in reflector.items.values()}
        return there == here and reflector.synced.is_set()

    async with asyncio.timeout(20):
        while not same():
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("by", ["token", "certificate"])
@pytest.mark.parametrize("watch_list", ["on", "refused", "error"])
async def test_it_follows(tmp_path: Path, by: Any, watch_list: Any) -> None:
    async with ApiServer(tls=True, watch_list=watch_list) as server:
        server.create_pod("one", node="n")
        server.create_pod("elsewhere", node="m")
        async with watching(server, tmp_path, by) as reflector:
            await agree(server, reflector)
            assert len(reflector.items) == 1
            server.create_pod("two", node="n")
            await agree(server, reflector)
            server.delete(PODS, "default", "one", grace=0)
            await agree(server, reflector)
            assert len(reflector.items) == 1


@pytest.mark.parametrize(
    "fault", [Cut(), Malformed(), Expire(), Expire(as_event=False), Refuse(503), Refuse(500), Refuse(429, 1)]
)
async def test_it_converges_after(tmp_path: Path, fault: Any) -> None:
    async with ApiServer() as server:
        server.create_pod("one", node="n")
        async with watching(server, tmp_path) as reflector:
            await agree(server, reflector)
            with server.faults.during(fault):
                server.create_pod("two", node="n")
                server.delete(PODS, "default", "one", grace=0)
                await server.drop_connections()
                await asyncio.sleep(0.2)
                server.compact()
            await agree(server, reflector)


async def test_nothing_is_lost_while_the_server_is_down(tmp_path: Path) -> None:
    async with ApiServer() as server:
        server.create_pod("one", node="n")
        async with watching(server, tmp_path) as reflector:
            await agree(server, reflector)
            await server.down()
            await asyncio.sleep(0.5)
            assert len(reflector.items) == 1
            server.create_pod("two", node="n")
            await server.up()
            await agree(server, reflector)
