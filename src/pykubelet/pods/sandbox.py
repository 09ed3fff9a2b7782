"""Does a pod need a (new) sandbox? Asked by its plan and by its condition."""

from dataclasses import dataclass

from pykubelet.api.core import Pod
from pykubelet.cri.types import SandboxState
from pykubelet.observe.types import ObservedPod


@dataclass(frozen=True, slots=True)
class SandboxNeed:
    """Answer of :func:`sandbox_need`."""

    #: The observed fact that makes a new sandbox necessary; empty when the present one serves.
    cause: str
    #: Attempt number of the sandbox to make, or of the present one.
    attempt: int
    #: ID of the sandbox that there is; empty without one, or when its network mode is wrong.
    id: str

    @property
    def needed(self) -> bool:
        """A sandbox must be made."""
        return bool(self.cause)


def sandbox_need(pod: Pod, observed: ObservedPod) -> SandboxNeed:
    """Whether the pod's newest sandbox serves, and if not, why and what attempt comes next."""
    if not observed.sandboxes:
        return SandboxNeed("the pod has no sandbox", 0, "")
    newest = observed.sandboxes[0]
    ready = sum(sandbox.state is SandboxState.READY for sandbox in observed.sandboxes)
    following = newest.attempt + 1
    if ready > 1:
        return SandboxNeed(f"{ready} sandboxes are ready", following, newest.id)
    if newest.state is not SandboxState.READY:
        return SandboxNeed(
            f"sandbox {newest.id} (attempt {newest.attempt}) is not ready", following, newest.id
        )
    if newest.host_network != pod.spec.hostNetwork:
        return SandboxNeed(f"the network namespace mode of sandbox {newest.id} changed", following, "")
    if not pod.spec.hostNetwork and newest.network_reported and not newest.ips:
        return SandboxNeed(f"sandbox {newest.id} has no IP address", following, newest.id)
    return SandboxNeed("", newest.attempt, newest.id)
