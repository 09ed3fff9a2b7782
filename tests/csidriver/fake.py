"""A Node service that says what a test wants, for what no working driver does."""

import asyncio

from pykubelet.rpc import csi_v1
from pykubelet.rpc._gen import csi_node_pb2

NODE = csi_node_pb2.DESCRIPTOR.services_by_name["Node"]


class FakeNode:
    """Answers each call as a test set it (a message, an error, or "hang"), and keeps the requests."""

    def __init__(self) -> None:
        self.answers: dict[str, object] = {}
        self.requests: list[object] = []

    def __getattr__(self, name: str):
        if name not in NODE.methods_by_name:
            raise AttributeError(name)
        return self._answer(name)

    def _answer(self, name: str):
        async def answer(request, context):
            self.requests.append(request)
            made = self.answers.get(name)
            if made == "hang":
                await asyncio.Event().wait()
            if isinstance(made, tuple):
                await context.abort(*made)
            return made if made is not None else getattr(csi_v1, f"{name}Response")()

        return answer
