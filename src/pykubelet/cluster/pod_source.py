"""The pods that the API server wants on this node, handed on as complete sets."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from pykubelet.api.core import Pod
from pykubelet.api.meta import ObjectMeta
from pykubelet.base.clock import Clock
from pykubelet.base.journal import Journal, PodRef
from pykubelet.base.tasks import TaskOwner

from . import paths
from .door import Api, Change
from .reflector import Reflector

#: Takes the complete set of pods.
Send = Callable[[Sequence[Pod]], Awaitable[None]]

_DECISIONS: Final = {"ADDED": "ApiPodAdded", "DELETED": "ApiPodDeleted"}


class _Unread(Pod):
    """A pod of which no more is known than that the server has it: what runs of it is no orphan."""


class PodSource:
    """Watches this node's pods in all namespaces."""

    def __init__(
        self,
        api: Api,
        node_name: str,
        send: Send,
        clock: Clock,
        rng: random.Random,
        journal: Journal,
        *,
        after: asyncio.Event | None = None,
        on_gone: Callable[[], object] = lambda: None,
    ) -> None:
        """*send* gets the set after each change; changes that wait together make one set.

        Nothing is asked before *after* is set: pods are judged by what is known of the node by then.

        *on_gone* hears that the server may hold a pod no more that no set ever had, since it
        could not be read.
        """
        self._send = send
        self._on_gone = on_gone
        self._after = after
        self._clock = clock
        self._journal = journal
        self._dirty = asyncio.Event()
        #: Pods that went away, as they were at the end: with how much grace is told last.
        self._leaving: dict[str, Pod] = {}
        self._tasks = TaskOwner("pod-source")
        self._reflector = Reflector(
            api,
            paths.pods(""),
            Pod,
            clock,
            rng,
            query={"fieldSelector": f"spec.nodeName={node_name}"},
            on_sync=self._listed,
            on_change=self._changed,
            stand_in=_unread,
        )

    async def start(self) -> None:
        """Begin to watch and to send."""
        self._tasks.spawn("begin", self._begin())
        self._tasks.forever("send", self._send_forever, pause=self._clock.sleep)

    async def stop(self) -> None:
        """End the watch; nothing is sent any more."""
        await self._tasks.close()
        await self._reflector.stop()

    async def _begin(self) -> None:
        if self._after is not None:
            await self._after.wait()
        await self._reflector.start()

    @property
    def synced(self) -> asyncio.Event:
        """Set once the pods have been listed."""
        return self._reflector.synced

    def get(self, uid: str) -> Pod | None:
        """The pod as the server has it, as far as is known."""
        return self._reflector.get(uid)

    def holds(self, uid: str) -> bool:
        """Whether the server has that pod on this node, be it one that cannot be read."""
        return self._reflector.get(uid) is not None

    def _readable(self) -> tuple[Pod, ...]:
        return tuple(pod for pod in self._reflector.items.values() if not isinstance(pod, _Unread))

    def _listed(self, _pods: Mapping[str, Pod]) -> None:
        # Also a list that changed nothing is sent: the first one, even empty, makes the source ready.
        self._dirty.set()
        self._on_gone()

    def _changed(self, change: Change[Pod]) -> None:
        self._dirty.set()
        if change.kind == "DELETED":
            self._on_gone()
            if change.object.metadata.deletionTimestamp is not None:
                self._leaving[change.object.metadata.uid] = change.object
        decision = _DECISIONS.get(change.kind)
        if decision is not None:
            meta = change.object.metadata
            self._journal.record(
                decision,
                f"the API server {'wants' if change.kind == 'ADDED' else 'no longer has'} the pod",
                pod=PodRef(meta.namespace, meta.name, meta.uid),
                cause="watch",
                resource_version=change.resource_version,
            )

    async def _send_forever(self) -> None:
        while True:
            await self._dirty.wait()
            self._dirty.clear()
            try:
                leaving, self._leaving = self._leaving, {}
                if leaving:
                    pods = self._readable()
                    await self._send((*pods, *_last_forms(leaving.values(), pods)))
                await self._send(self._readable())
            except Exception:
                # The set is still to be sent when this loop starts again.
                self._dirty.set()
                raise


def _unread(named: Any) -> Pod:
    meta = named.metadata
    return _Unread(metadata=ObjectMeta(name=meta.name, namespace=meta.namespace, uid=meta.uid))


def _last_forms(leaving: Iterable[Pod], pods: Sequence[Pod]) -> list[Pod]:
    """Those of *leaving* whose names none of *pods* has taken again.

    A forced deletion is told by two events in a row; without the first one the pod's containers
    would be given all the time that its spec allows.
    """
    taken = {(pod.metadata.namespace, pod.metadata.name) for pod in pods}
    return [pod for pod in leaving if (pod.metadata.namespace, pod.metadata.name) not in taken]
