"""Static pods that run already under another UID: their sandboxes tell it, and it is taken over; pure.

A static pod's UID is a digest of its manifest, and each kubelet (and each version of one)
has a digest of its own. Where a pod runs that was started from the very same manifest, the
UID it runs under is kept, so that a node changes hands without a restart.
"""

from collections.abc import Iterable

from msgspec.structs import replace

from pykubelet.api import wellknown
from pykubelet.api.container_hash import container_hash
from pykubelet.api.core import Pod
from pykubelet.api.podinfo import all_containers, pod_ref
from pykubelet.cri.types import SandboxStatus
from pykubelet.observe.types import ObservedPod


def running_uid(pod: Pod, changed_at: int, running: Iterable[ObservedPod]) -> str:
    """The UID under which static *pod* runs, its own if nothing better is found.

    *changed_at* is when its manifest was last changed or put into place, in nanoseconds
    since the epoch. A sandbox made before that shows an earlier manifest, whatever its
    containers look like.
    """
    found: list[tuple[int, str]] = []
    for observed in running:
        sandbox = observed.ready_sandbox
        if sandbox is None or not _shows(sandbox, pod):
            continue
        if observed.uid == pod.metadata.uid:
            return observed.uid
        if changed_at < sandbox.created_at and _same_containers(pod, observed):
            found.append((sandbox.created_at, observed.uid))
    return max(found, default=(0, pod.metadata.uid))[1]


def _shows(sandbox: SandboxStatus, pod: Pod) -> bool:
    """Whether the sandbox is of a pod of that name from the same source; not one of the API's."""
    ref = pod_ref(pod)
    return (
        (sandbox.namespace, sandbox.name) == (ref.namespace, ref.name)
        and sandbox.host_network == pod.spec.hostNetwork
        and sandbox.annotations.get(wellknown.CONFIG_SOURCE) == wellknown.SOURCE_FILE
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
