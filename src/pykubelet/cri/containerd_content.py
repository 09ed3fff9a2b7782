"""How far pulls are, where the runtime is containerd: CRI does not tell, but its content store does.

Only read, only when somebody asks. What is told is of a repository: two tags of it that are pulled
at once are told together.
"""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import grpc
import grpc.aio

from pykubelet.rpc._gen import containerd_content_pb2 as content
from pykubelet.rpc.channel import connect
from pykubelet.rpc.stub import Stub

#: Where CRI keeps its images.
_NAMESPACE: Final = (("containerd-namespace", "k8s.io"),)
_SOURCE: Final = "containerd.io/distribution.source."
_CHILDREN: Final = "containerd.io/gc.ref.content"
_LAYER: Final = "layer-"
#: Seconds that a call may take, and bytes that a manifest may have.
_TIMEOUT: Final = 2.0
_MANIFEST_LIMIT: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class PullProgress:
    """Bytes of layers that are here, and of all layers."""

    done: int
    total: int


class ContainerdContent:
    """The content store of the containerd at *endpoint*; any other runtime simply does not tell.

    :raises ValueError: the endpoint is no Unix socket.
    """

    def __init__(self, endpoint: str) -> None:
        self._channel = connect(endpoint)
        self._stub = Stub(self._channel, content.DESCRIPTOR.services_by_name["Content"])

    async def close(self) -> None:
        """Let go of the connection."""
        await self._channel.close(None)

    async def progress(self, repository: str) -> PullProgress | None:
        """How far the layers are that are fetched now from *repository* (``HOST/PATH``).

        None when none is being fetched, or the runtime does not tell.
        """
        try:
            active = await self._active()
            if not active:
                return None
            layers: dict[str, int] = {}
            async for digest in self._manifests(repository, active):
                layers |= manifest_layers(await self._read(digest))
            if not layers:
                return None
            done = 0
            for digest, size in layers.items():
                done += active[digest] if digest in active else min(size, await self._size(digest))
            return PullProgress(done, sum(layers.values()))
        except (grpc.aio.AioRpcError, grpc.aio.UsageError, ValueError):
            return None

    async def _call(self, method: str, request: Any) -> Any:
        return await self._stub[method](request, timeout=_TIMEOUT, metadata=_NAMESPACE)

    async def _active(self) -> dict[str, int]:
        """Layers that are being fetched, and how many bytes of each are here."""
        answer = await self._call("ListStatuses", content.ListStatusesRequest())
        return {
            status.ref.removeprefix(_LAYER): status.offset
            for status in answer.statuses
            if status.ref.startswith(_LAYER)
        }

    async def _manifests(self, repository: str, active: Mapping[str, int]) -> AsyncIterator[str]:
        """Digests of the repository's manifests that name an *active* layer."""
        host, _, path = repository.partition("/")
        # The label bears the host without its port.
        source = f"{_SOURCE}{host.partition(':')[0]}"
        request = content.ListContentRequest(filters=[f'labels."{source}"'])
        async for answer in self._stub["List"](request, timeout=_TIMEOUT, metadata=_NAMESPACE):
            for info in answer.info:
                children = {value for key, value in info.labels.items() if key.startswith(_CHILDREN)}
                if path in info.labels.get(source, "").split(",") and not children.isdisjoint(active):
                    yield info.digest

    async def _read(self, digest: str) -> bytes:
        data = b""
        request = content.ReadContentRequest(digest=digest)
        async for answer in self._stub["Read"](request, timeout=_TIMEOUT, metadata=_NAMESPACE):
            data += answer.data
            if len(data) > _MANIFEST_LIMIT:
                raise ValueError(f"the manifest {digest} is larger than {_MANIFEST_LIMIT} bytes")
        return data

    async def _size(self, digest: str) -> int:
        """Bytes of a blob that is here as a whole; 0 if it is not."""
        try:
            answer = await self._call("Info", content.InfoRequest(digest=digest))
        except grpc.aio.AioRpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return 0
            raise
        return int(answer.info.size)


def manifest_layers(data: bytes) -> dict[str, int]:
    """Digest and size of each layer that an image manifest names.

    :raises ValueError: it is no manifest.
    """
    try:
        return {str(layer["digest"]): int(layer["size"]) for layer in json.loads(data)["layers"]}
    except (KeyError, TypeError) as error:
        raise ValueError(f"it is no image manifest: {error!r}") from error
