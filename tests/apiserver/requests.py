"""The log of requests: what was asked of the double, by whom, and what it answered."""

import asyncio
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any


@dataclass(slots=True)
class Request:
    """One request."""

    method: str
    #: The API's verb: get, list, watch, create, update, patch, delete, deletecollection.
    verb: str
    path: str
    query: dict[str, str]
    user_agent: str
    user: str
    content_type: str = ""
    #: The decoded body; None without one.
    body: Any = None
    #: The HTTP code answered; 0 when none was yet, or ever.
    code: int = 0
    #: Seconds on the event loop's clock.
    at: float = field(default_factory=lambda: asyncio.get_running_loop().time())


class RequestLog:
    """All requests so far, in order."""

    def __init__(self) -> None:
        self._requests: list[Request] = []

    def add(self, request: Request) -> None:
        self._requests.append(request)

    def __iter__(self) -> Iterator[Request]:
        return iter(self._requests)

    def __len__(self) -> int:
        return len(self._requests)

    def __getitem__(self, index: int) -> Request:
        return self._requests[index]

    def clear(self) -> None:
        self._requests.clear()

    def find(
        self, path: str = "*", verb: str = "", code: int | None = None, since: float = 0.0
    ) -> list[Request]:
        """Those whose path matches *path* (with ``*``), of one of the verbs in *verb*, answered *code*.

        *since* a second of the loop's clock.
        """
        verbs = verb.split()
        first = bisect_left(self._requests, since, key=lambda request: request.at)
        return [
            request
            for request in self._requests[first:]
            if fnmatchcase(request.path, path)
            and (not verbs or request.verb in verbs)
            and code in (None, request.code)
        ]

    def count(self, path: str = "*", verb: str = "", code: int | None = None) -> int:
        """How many :meth:`find` finds."""
        return len(self.find(path, verb, code))
