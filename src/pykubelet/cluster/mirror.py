"""Mirror pods: what shows a static pod in the API server, made and unmade to follow it.

A mirror is a copy that bears the static pod's hash. Whatever else is there under its
name is deleted and made anew; deleting a mirror never ends the static pod.
"""

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, Protocol

import msgspec

from pykubelet.api import wellknown
from pykubelet.api.core import Pod, PodStatus
from pykubelet.api.meta import OwnerReference
from pykubelet.api.node import Node
from pykubelet.api.podinfo import is_mirror, pod_ref
from pykubelet.base.clock import Clock
from pykubelet.base.journal import Events, Journal, PodRef
from pykubelet.base.tasks import TaskOwner

from . import paths
from .door import Api
from .errors import Refused
from .work_queue import WorkQueue

#: Seconds between looks at all of them; events come at once.
SAFETY_PERIOD: Final = 30.0
#: Seconds of one request.
TIMEOUT: Final = 15.0


@dataclass(frozen=True, slots=True)
class CreateMirror:
    """The mirror is missing."""

    pod: Pod


@dataclass(frozen=True, slots=True)
class DeleteMirror:
    """The mirror is not the one that should be there."""

    mirror: Pod
    cause: str


def mirror_action(
    static: Pod | None, mirror: Pod | None, node: Node | None, *, terminating: bool, complete: bool = True
) -> CreateMirror | DeleteMirror | None:
    """What to do about the mirror of *static*, both of one name; *node* is the API server's object.

    *terminating*: a static pod of that name is being ended; its mirror shows that until it is done.
    *complete*: all static pods are known, so that none at all means that there is none.
    """
    if terminating:
        return None
    if static is None:
        if mirror is None or not complete:
            return None
        return DeleteMirror(mirror, "there is no static pod of that name")
    if mirror is not None:
        if mirror.metadata.deletionTimestamp is not None:
            return DeleteMirror(mirror, "somebody deletes it")
        if not mirrors(mirror, static):
            return DeleteMirror(mirror, "the static pod has changed")
        return None
    if node is None or not node.metadata.uid or node.metadata.deletionTimestamp is not None:
        return None
    return CreateMirror(mirror_pod(static, node))


def mirrors(mirror: Pod, static: Pod) -> bool:
    """Whether *mirror* is a mirror of this very *static* pod."""
    return is_mirror(mirror) and mirror.metadata.annotations[wellknown.CONFIG_MIRROR] == _hash(static)


def mirror_pod(static: Pod, node: Node) -> Pod:
    """The mirror of *static* as it is created; *node* owns it (NodeRestriction asks for that)."""
    meta = msgspec.structs.replace(
        static.metadata,
        uid="",
        resourceVersion="",
        generation=0,
        creationTimestamp=None,
        deletionTimestamp=None,
        deletionGracePeriodSeconds=None,
        annotations={**static.metadata.annotations, wellknown.CONFIG_MIRROR: _hash(static)},
        ownerReferences=[
            OwnerReference(
                apiVersion="v1",
                kind="Node",
                name=node.metadata.name,
                uid=node.metadata.uid,
                controller=True,
            )
        ],
    )
    return msgspec.structs.replace(static, apiVersion="v1", kind="Pod", metadata=meta, status=PodStatus())


def _hash(static: Pod) -> str:
    return static.metadata.annotations.get(wellknown.CONFIG_HASH, "")


class StaticPods(Protocol):
    """What is known of static pods and their mirrors, by full name (``NAME_NAMESPACE``)."""

    def names(self) -> Collection[str]:
        """Of all desired static pods and of all mirrors that the watch has."""
        ...

    def static(self, full_name: str) -> Pod | None:
        """The desired static pod."""
        ...

    def mirror(self, full_name: str) -> Pod | None:
        """The mirror pod as the watch last had it."""
        ...

    def terminating(self, full_name: str) -> bool:
        """Whether a static pod of that name is being ended by its worker."""
        ...

    def complete(self) -> bool:
        """Whether every source has told its pods, so that all static ones are known."""
        ...


class MirrorPods:
    """Makes the mirrors of one node's static pods follow them."""

    def __init__(
        self,
        api: Api,
        pods: StaticPods,
        node: Callable[[], Node | None],
        clock: Clock,
        journal: Journal,
        events: Events,
        rng: random.Random,
    ) -> None:
        """*node* gives this node's object as it was last seen, None before it is known to exist."""
        self._api = api
        self._pods = pods
        self._node = node
        self._clock = clock
        self._journal = journal
        self._events = events
        #: By full name: UID of the mirror that our own request removed, until the watch says so too.
        self._removed: dict[str, str] = {}
        #: By full name: the hash that the API server refused, so that it is told once.
        self._refused: dict[str, str] = {}
        self._queue = WorkQueue("mirror", self._sync, clock, rng)
        self._tasks = TaskOwner("mirror-look")

    async def start(self) -> None:
        """Look at all static pods, then follow what :meth:`reconsider` tells."""
        await self._queue.start()
        self._tasks.forever("look", self._look_forever)

    async def stop(self) -> None:
        """End; the mirrors stay."""
        await self._tasks.close()
        await self._queue.stop()

    def reconsider(self, full_name: str) -> None:
        """Something changed about the static pod, its mirror, or its end."""
        static = self._pods.static(full_name)
        changed = static is None or self._refused.get(full_name, "") != _hash(static)
        self._queue.add(full_name, urgent=True, fresh=changed and full_name in self._refused)

    def reconsider_all(self) -> None:
        """The node's object appeared or changed."""
        for full_name in self._pods.names():
            self.reconsider(full_name)

    async def _look_forever(self) -> None:
        while True:
            names = set(self._pods.names())
            for known in (self._removed, self._refused):
                for full_name in known.keys() - names:
                    del known[full_name]
            for full_name in names:
                if self._action(full_name) is not None:
                    self._queue.add(full_name)
            await self._clock.sleep(SAFETY_PERIOD)

    def _action(self, full_name: str) -> CreateMirror | DeleteMirror | None:
        mirror = self._pods.mirror(full_name)
        if mirror is not None and mirror.metadata.uid == self._removed.get(full_name):
            mirror = None
        return mirror_action(
            self._pods.static(full_name),
            mirror,
            self._node(),
            terminating=self._pods.terminating(full_name),
            complete=self._pods.complete(),
        )

    async def _sync(self, full_name: str) -> bool:
        """Bring the mirror of that name to what it should be; whether that took a request.

        :raises ClusterError: try again later.
        """
        first = action = self._action(full_name)
        if isinstance(action, DeleteMirror):
            await self._delete(full_name, action)
            action = self._action(full_name)
        if isinstance(action, CreateMirror):
            await self._create(full_name, action.pod)
        return first is not None

    async def _delete(self, full_name: str, action: DeleteMirror) -> None:
        meta = action.mirror.metadata
        try:
            await self._api.delete(paths.pods(meta.namespace, meta.name), grace=0, uid=meta.uid)
        except Refused as error:
            # Gone, or another one has its name by now: either way this one is no more.
            if not error.not_found and not error.conflict:
                raise
        self._removed[full_name] = meta.uid
        self._journal.record(
            "MirrorDeleted", "the mirror pod is deleted", pod=pod_ref(action.mirror), cause=action.cause
        )

    async def _create(self, full_name: str, pod: Pod) -> None:
        meta = pod.metadata
        try:
            await self._api.create(paths.pods(meta.namespace), pod, Pod, timeout=TIMEOUT)
        except Refused as error:
            if error.already_exists and await self._stands(pod):
                return
            self._tell_refusal(full_name, pod, error)
            raise
        self._refused.pop(full_name, None)
        self._journal.record(
            "MirrorCreated", "the static pod is shown in the API server", pod=self._static_ref(full_name, pod)
        )

    async def _stands(self, pod: Pod) -> bool:
        """Whether the pod of that name is the mirror that was to be made; if not, the watch will bring it.

        :raises ClusterError: nobody can tell now.
        """
        meta = pod.metadata
        try:
            found = await self._api.get(paths.pods(meta.namespace, meta.name), Pod, timeout=TIMEOUT)
        except Refused as error:
            # The Node authorizer hides pods of other nodes, and those that are no more.
            if error.forbidden or error.not_found:
                return False
            raise
        return mirrors(found, pod) and found.metadata.deletionTimestamp is None

    def _tell_refusal(self, full_name: str, pod: Pod, error: Refused) -> None:
        """Once for each version of a static pod, as it is tried again and again."""
        if error.passing or self._refused.get(full_name) == _hash(pod):
            return
        self._refused[full_name] = _hash(pod)
        ref = self._static_ref(full_name, pod)
        self._journal.record(
            "MirrorRefused",
            "the API server takes no mirror of the static pod, which runs all the same",
            pod=ref,
            cause=str(error),
            code=error.code,
        )
        self._events.pod_event(ref, "Warning", "FailedCreateMirrorPod", str(error))

    def _static_ref(self, full_name: str, mirror: Pod) -> PodRef:
        """The static pod, under the UID by which this node knows it."""
        return pod_ref(self._pods.static(full_name) or mirror)
