"""What the contract's tests share: objects to make, and events to wait for."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from typing import Any

from tests.apiserver.cluster import Cluster
from tests.apiserver.resources import Object

#: A node that exists nowhere: nobody runs what is bound to it.
NOWHERE = "contract-nowhere"
SETTLE = 5.0


def pod(name: str = "", node: str = NOWHERE, **spec: Any) -> Object:
    metadata = {"name": name} if name else {"generateName": "made-"}
    wanted: Object = {
        "schedulerName": "nobody",
        "containers": [{"name": "main", "image": "registry.k8s.io/pause:3.10"}],
        **spec,
    }
    if node:
        wanted["nodeName"] = node
    return {"metadata": metadata, "spec": wanted}


async def make_pod(cluster: Cluster, name: str = "one", **more: Any) -> Object:
    return await cluster.create(cluster.path("pods"), pod(name, **more))


async def make_node(cluster: Cluster, **more: Any) -> Object:
    name = f"contract-{secrets.token_hex(4)}"
    cluster.later(f"/api/v1/nodes/{name}")
    return await cluster.create("/api/v1/nodes", {"metadata": {"name": name}, **more})


def version(obj: Object) -> str:
    return str(obj["metadata"]["resourceVersion"])


async def following(events: AsyncIterator[Object], *, bookmarks: bool = False) -> Object:
    """The next event."""
    async with asyncio.timeout(SETTLE):
        while True:
            event = await anext(events)
            if bookmarks or event["type"] != "BOOKMARK":
                return event


async def silence(events: AsyncIterator[Object]) -> bool:
    """Whether nothing comes for a moment."""
    try:
        async with asyncio.timeout(0.3):
            await anext(events)
    except TimeoutError:
        return True
    return False


def by(items: list[Object], key: str) -> dict[str, Object]:
    return {item[key]: item for item in items}
