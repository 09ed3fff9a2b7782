"""The Node object comes to be: made, or put right where there is one, or waited for.

Source: ``registerWithAPIServer`` in upstream's ``kubelet_node_status.go``.
"""

import logging
from collections.abc import Callable, Sequence
from typing import Final, Literal, Protocol

from pykubelet.api.node import Node
from pykubelet.base.clock import Clock
from pykubelet.base.journal import Events, Journal

from .door import Api
from .errors import ClusterError, Refused
from .node_due import node_patch
from .paths import nodes

log = logging.getLogger(__name__)

#: Seconds of the first wait between attempts, and of the longest one.
FIRST_WAIT, LONGEST_WAIT = 0.1, 7.0
#: The server's own wish for a wait is heeded up to this many seconds.
LONGEST_WISH: Final = 60.0


class NodeNews(Protocol):
    """An event about the node."""

    @property
    def kind(self) -> Literal["Normal", "Warning"]:
        """Its type."""
        ...

    @property
    def reason(self) -> str:
        """Its reason."""
        ...

    @property
    def message(self) -> str:
        """Its message."""
        ...


class Update(Protocol):
    """The Node as it should be."""

    @property
    def node(self) -> Node:
        """With its new status, labels and annotations."""
        ...

    @property
    def events(self) -> Sequence[NodeNews]:
        """What is to be told once it is reported."""
        ...


class Reconcile(Protocol):
    """How an existing Node is put right."""

    def __call__(self, initial: Node, existing: Node) -> Node:
        """*existing* with what must be as in *initial*; pure."""
        ...


class Registration:
    """Sees to it that the Node exists, for as long as that takes."""

    def __init__(
        self,
        api: Api,
        name: str,
        clock: Clock,
        journal: Journal,
        events: Events,
        *,
        initial: Callable[[], Update],
        reconcile: Reconcile,
        register: bool = True,
        get_when_forbidden: bool = True,
        timeout: float | None = None,
    ) -> None:
        """*initial* is the whole Node as it would be made now.

        *register* is ``registerNode``: without it the Node is only waited for. *get_when_forbidden*
        is off with the feature gate KubeletRegistrationGetOnExistsOnly: then a refusal to make the
        Node does not make us look for it. *timeout* of each request in seconds.
        """
        self._api = api
        self._name = name
        self._clock = clock
        self._journal = journal
        self._events = events
        self._initial = initial
        self._reconcile = reconcile
        self._register = register
        self._get_when_forbidden = get_when_forbidden
        self._timeout = timeout
        self._told = False

    async def run(self) -> Node:
        """The Node as the API server has it; tries until there is one."""
        wait, complaint = FIRST_WAIT, ""
        while True:
            try:
                return await (self._attempt() if self._register else self._get())
            except ClusterError as error:
                if str(error) != complaint:
                    log.error("node %s cannot be registered: %s", self._name, error)
                complaint = str(error)
                wish = min(error.retry_after or 0.0, LONGEST_WISH) if isinstance(error, Refused) else 0.0
            await self._clock.sleep(max(wait, wish))
            wait = min(wait * 2, LONGEST_WAIT)

    async def _attempt(self) -> Node:
        initial = self._initial()
        node = await self._make(initial.node)
        if not self._told:
            # Upstream tells of the first status at every start.
            for event in initial.events:
                self._events.node_event(event.kind, event.reason, event.message)
        self._told = True
        return node

    async def _make(self, initial: Node) -> Node:
        try:
            made = await self._api.create(nodes(), initial, Node, timeout=self._timeout)
        except Refused as error:
            forbidden = error.code == 403 and self._get_when_forbidden
            if not error.already_exists and not forbidden:
                raise
            log.info("node %s is not made anew: %s", self._name, error)
        else:
            self._journal.record("NodeRegistered", "the Node was made", uid=made.metadata.uid)
            return made
        return await self._put_right(initial, await self._get())

    async def _put_right(self, initial: Node, existing: Node) -> Node:
        patch = node_patch(existing, self._reconcile(initial, existing))
        if patch is not None:
            path = nodes(self._name, "status")
            existing = await self._api.patch(path, patch, Node, timeout=self._timeout)
        self._journal.record(
            "NodeRegistered",
            "the Node was there already" + (" and was put right" if patch else ""),
            uid=existing.metadata.uid,
        )
        return existing

    async def _get(self) -> Node:
        return await self._api.get(nodes(self._name), Node, timeout=self._timeout)
