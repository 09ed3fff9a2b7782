"""Static pods that run already under another UID: their sandboxes tell it, and it is taken over.

A static pod's UID is a digest of its manifest, and each kubelet (and each version of one)
has a digest of its own. Where a pod runs that was started from the very same manifest, the
UID it runs under is kept, so that a node changes hands without a restart.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final

from msgspec.structs import replace

from pykubelet.api import wellknown
from pykubelet.api.container_hash import container_hash
from pykubelet.api.core import Pod
from pykubelet.api.podinfo import all_containers, pod_ref
from pykubelet.base.journal import Journal
from pykubelet.cri.types import SandboxStatus
from pykubelet.observe.types import ObservedPod

from .static import StaticPod

log = logging.getLogger(__name__)

#: Longest wait, in seconds, for what runs already; without a runtime no pod could start anyway.
_FIRST_LOOK: Final = 120.0

#: Gives what runs in the runtime, as soon as that is known.
Running = Callable[[], Awaitable[Sequence[ObservedPod]]]


async def nothing_runs() -> Sequence[ObservedPod]:
    """The answer where nobody can tell what runs."""
    return ()


class Adoption:
    """The UIDs that pods of one source keep from another kubelet; found once, at the first look."""

    def __init__(self, source: str, running: Running, journal: Journal) -> None:
        self._source = source
        self._running = running
        self._journal = journal
        #: UIDs that were taken over from running pods, by those that the manifests' digests give.
        self._adopted: dict[str, str] | None = None

    def named(self, pod: Pod) -> Pod:
        """The pod under the UID that was taken over for it, if one was."""
        uid = (self._adopted or {}).get(pod.metadata.uid)
        return pod if uid is None else with_uid(pod, uid)

    async def look(self, found: Sequence[tuple[StaticPod, int]]) -> None:
        """Compare the first set of pods with what runs; later calls do nothing.

        With each pod comes when its manifest was last changed, in nanoseconds since the epoch.
        """
        if self._adopted is not None:
            return
        statics = [(static.pod, changed_at) for static, changed_at in found if not static.uid_given]
        self._adopted = await self._compare(statics) if statics else {}

    async def _compare(self, statics: Sequence[tuple[Pod, int]]) -> dict[str, str]:
        try:
            async with asyncio.timeout(_FIRST_LOOK):
                running = await self._running()
        except TimeoutError:
            log.warning("static pods are not compared with what runs: the runtime showed nothing in time")
            return {}
        adopted: dict[str, str] = {}
        for pod, changed_at in statics:
            own, uid = pod.metadata.uid, running_uid(pod, changed_at, running, self._source)
            if uid == own:
                continue
            adopted[own] = uid
            self._journal.record(
                "StaticPodAdopted",
                f"the pod keeps the UID {uid} under which it runs",
                pod=pod_ref(with_uid(pod, uid)),
                cause="its sandbox is younger than the manifest and its containers are the manifest's",
                digest=own,
            )
        return adopted


def running_uid(
    pod: Pod, changed_at: int, running: Iterable[ObservedPod], source: str = wellknown.SOURCE_FILE
) -> str:
    """The UID under which static *pod* of *source* runs, its own if nothing better is found; pure.

    *changed_at* is when its manifest was last changed or put into place, in nanoseconds
    since the epoch. A sandbox made before that shows an earlier manifest, whatever its
    containers look like.
    """
    found: list[tuple[int, str]] = []
    for observed in running:
        sandbox = observed.ready_sandbox
        if sandbox is None or not _shows(sandbox, pod, source):
            continue
        if observed.uid == pod.metadata.uid:
            return observed.uid
        if changed_at < sandbox.created_at and _same_containers(pod, observed):
            found.append((sandbox.created_at, observed.uid))
    return max(found, default=(0, pod.metadata.uid))[1]


def _shows(sandbox: SandboxStatus, pod: Pod, source: str) -> bool:
    """Whether the sandbox is of a pod of that name from the same source; not one of the API's."""
    ref = pod_ref(pod)
    return (
        (sandbox.namespace, sandbox.name) == (ref.namespace, ref.name)
        and sandbox.host_network == pod.spec.hostNetwork
        and sandbox.annotations.get(wellknown.CONFIG_SOURCE) == source
        # Also that of a UID that the manifest itself gives.
        and sandbox.annotations.get(wellknown.CONFIG_HASH) == sandbox.uid
    )


def _same_containers(pod: Pod, observed: ObservedPod) -> bool:
    """Whether all that ever ran in the pod was made of containers as *pod* has them."""
    wanted = {container.name: container_hash(container) for container, _ in all_containers(pod)}
    return bool(observed.containers) and all(
        wanted.get(status.name) == status.hash for status in observed.containers
    )


def with_uid(pod: Pod, uid: str) -> Pod:
    """Static *pod* under another UID, which is also its hash: the mirror pod of that hash stays."""
    annotations = pod.metadata.annotations | {wellknown.CONFIG_HASH: uid}
    return replace(pod, metadata=replace(pod.metadata, uid=uid, annotations=annotations))
