"""How far pulls are, told by a content store that answers as containerd's does."""

import asyncio
import json

import grpc.aio
import pytest

from pykubelet.cri.containerd_content import ContainerdContent, PullProgress, manifest_layers
from pykubelet.rpc._gen import containerd_content_pb2 as content

A, B, C = (f"sha256:{letter * 64}" for letter in "abc")
MANIFEST = json.dumps({"layers": [{"digest": A, "size": 100}, {"digest": B, "size": 50}]}).encode()
SOURCE, CHILD = "containerd.io/distribution.source.r.io", "containerd.io/gc.ref.content"


class Store(grpc.GenericRpcHandler):
    """The content store; *active* are the layers that are being fetched."""

    def __init__(self):
        self.active = {}
        self.blobs = {A: 100}
        self.manifests = {C: {SOURCE: "team/app,other", f"{CHILD}.l.0": A, f"{CHILD}.l.1": B}}
        self.namespaces = set()

    def service(self, call):
        name = call.method.rpartition("/")[2]
        self.namespaces.add(dict(call.invocation_metadata)["containerd-namespace"])
        method = content.DESCRIPTOR.services_by_name["Content"].methods_by_name[name]
        request = getattr(content, method.input_type.name).FromString
        make = (
            grpc.unary_stream_rpc_method_handler
            if method.server_streaming
            else grpc.unary_unary_rpc_method_handler
        )
        return make(getattr(self, name), request, lambda answer: answer.SerializeToString())

    async def ListStatuses(self, request, context):
        statuses = [content.Status(ref=f"layer-{d}", offset=offset) for d, offset in self.active.items()]
        return content.ListStatusesResponse(statuses=[*statuses, content.Status(ref="config-x", offset=1)])

    async def List(self, request, context):
        assert list(request.filters) == [f'labels."{SOURCE}"']
        for digest, labels in self.manifests.items():
            yield content.ListContentResponse(info=[content.Info(digest=digest, labels=labels)])

    async def Read(self, request, context):
        yield content.ReadContentResponse(data=MANIFEST[:10])
        yield content.ReadContentResponse(data=MANIFEST[10:])

    async def Info(self, request, context):
        if request.digest not in self.blobs:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such blob")
        return content.InfoResponse(info=content.Info(digest=request.digest, size=self.blobs[request.digest]))


@pytest.fixture
async def served(tmp_path):
    store, server = Store(), grpc.aio.server()
    server.add_generic_rpc_handlers((store,))
    server.add_insecure_port(f"unix:{tmp_path / 's'}")
    await server.start()
    asked = ContainerdContent(f"unix://{tmp_path / 's'}")
    yield store, asked
    await asked.close()
    await server.stop(None)


async def test_layers_that_are_here_and_on_their_way(served):
    store, asked = served
    assert await asked.progress("r.io:5000/team/app") is None
    store.active = {B: 20}
    assert await asked.progress("r.io:5000/team/app") == PullProgress(120, 150)
    assert await asked.progress("r.io/other") == PullProgress(120, 150)
    assert await asked.progress("r.io/team") is None
    del store.blobs[A]
    assert await asked.progress("r.io/team/app") == PullProgress(20, 150)
    assert store.namespaces == {"k8s.io"}


async def test_another_runtime_does_not_tell(tmp_path):
    server = grpc.aio.server()
    server.add_insecure_port(f"unix:{tmp_path / 's'}")
    await server.start()
    for socket in ("s", "none"):
        asked = ContainerdContent(f"unix://{tmp_path / socket}")
        async with asyncio.timeout(20):
            assert await asked.progress("r.io/x") is None
        await asked.close()
    await server.stop(None)


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b'{"layers": [{}]}', b'{"layers": 1}'])
def test_what_is_no_manifest(data):
    with pytest.raises(ValueError, match=r".+"):
        manifest_layers(data)
