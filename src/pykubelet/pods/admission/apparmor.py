"""Rejects pods with AppArmor profiles that this node cannot enforce. Pure."""

from collections.abc import Sequence

from pykubelet.api.admission import Rejection
from pykubelet.api.apparmor import apparmor_profile, needs_apparmor
from pykubelet.api.core import Pod
from pykubelet.api.podinfo import all_containers
from pykubelet.base.gotext import go_quote


class AppArmor:
    """Asks what the kernel said when the daemon started."""

    def __init__(self, *, enabled: bool) -> None:
        self._enabled = enabled

    def admit(self, pod: Pod, others: Sequence[Pod]) -> Rejection | None:
        """See :class:`pykubelet.pods.doors.AdmitHandler`; what runs already is not asked again."""
        if pod.status.phase not in ("", "Pending") or not needs_apparmor(pod):
            return None
        why = self._objection(pod)
        return Rejection("AppArmor", f"Cannot enforce AppArmor: {why}") if why else None

    def _objection(self, pod: Pod) -> str:
        if not self._enabled:
            return "AppArmor is not enabled on the host"
        for container, _ in all_containers(pod):
            profile = apparmor_profile(pod, container)
            if profile is not None and profile.type == "Localhost":
                name = profile.localhostProfile or ""
                if not name.strip():
                    return f"invalid empty AppArmor profile name: {go_quote(f'localhost/{name}')}"
        return ""
