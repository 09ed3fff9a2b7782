"""``/checkpoint``: an image of a running container (gate ``ContainerCheckpoint``)."""

import re
from collections.abc import Mapping

import msgspec
from aiohttp import web

from pykubelet.api.podinfo import find_container

from .doors import ApiError, Checkpoints, NodeApi
from .listener import json_bytes
from .requests import query_of
from .routes import Handler


def checkpoint(node: NodeApi, checkpoints: Checkpoints) -> Handler:
    """``POST /checkpoint/{namespace}/{pod}/{container}?timeout=SECONDS``."""

    async def answer(request: web.BaseRequest, names: Mapping[str, str]) -> web.StreamResponse:
        pod = node.pod(names["namespace"], names["pod"])
        if pod is None:
            raise ApiError(404, "pod does not exist")
        container = names["container"]
        if find_container(pod, container) is None:
            raise ApiError(404, f"container {container} does not exist")
        given = (query_of(request).get("timeout") or ["0"])[-1]
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", given, re.ASCII):
            raise ApiError(404, "cannot parse value of timeout parameter")
        try:
            path = await checkpoints.checkpoint(pod, container, int(given))
        except ApiError as error:
            place = f"{names['namespace']}/{names['pod']}/{container}"
            raise ApiError(500, f"checkpointing of {place} failed ({error.message})") from error
        return json_bytes(msgspec.json.encode({"items": [path]}))

    return answer
