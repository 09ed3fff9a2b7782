"""The door ``Api`` over pods in memory, for tests of those who write pods, in virtual time."""

from typing import Any

from tests.cluster.objects_api import ObjectsApi

from pykubelet.api.codec import decode, encode
from pykubelet.cluster.errors import Refused


class PodsApi(ObjectsApi):
    """Pods by path; no two requests may be for one pod at once."""

    kind = "Pod"

    def __init__(self, delay: float = 0.01) -> None:
        super().__init__(delay)
        self.in_flight: list[str] = []
        self.most_in_flight = 0

    def seen(self, path: str, kind: Any) -> Any:
        """The pod as a watch brings it; None if there is none."""
        return decode(encode(self.objects[path]), kind) if path in self.objects else None

    async def _under_way(self, verb: str, path: str, body: Any) -> None:
        name = path.removesuffix("/status") if verb != "create" else f"{path}/{body.metadata.name}"
        assert name not in self.in_flight, "two requests for one pod at once"
        self.in_flight.append(name)
        self.most_in_flight = max(self.most_in_flight, len(self.in_flight))
        try:
            await super()._under_way(verb, path, body)
        finally:
            self.in_flight.remove(name)

    def _check_patch(self, old: dict[str, Any], body: Any) -> None:
        if old["metadata"]["uid"] != body["metadata"]["uid"]:
            # What a real server (1.36) says to a patch with another UID.
            raise Refused(422, "Invalid", "metadata.uid: Invalid value: field is immutable")

    async def delete(self, path: str, *, grace: int | None = None, uid: str = "") -> None:
        await self._request("delete", path, (grace, uid))
        if self._found(path)["metadata"]["uid"] != uid:
            raise Refused(409, "Conflict", "the UID in the precondition is another one")
        del self.objects[path]
