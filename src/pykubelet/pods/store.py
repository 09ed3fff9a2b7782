"""The desired pods: the only owner of what the sources want on this node."""

from collections.abc import Sequence

from pykubelet.api.core import Pod
from pykubelet.api.podinfo import full_name, is_mirror


class PodStore:
    """Desired pods by UID and full name, mirror pods kept apart."""

    def __init__(self) -> None:
        self._pods: dict[str, Pod] = {}
        self._mirrors: dict[str, Pod] = {}
        self._by_name: dict[str, str] = {}
        self._mirror_by_name: dict[str, str] = {}

    def set(self, pod: Pod) -> None:
        """Add or replace a pod (or a mirror pod)."""
        uid = pod.metadata.uid
        if is_mirror(pod):
            self._mirrors[uid] = pod
            self._mirror_by_name[full_name(pod)] = uid
        else:
            self._pods[uid] = pod
            self._by_name[full_name(pod)] = uid

    def remove(self, pod: Pod) -> None:
        """Forget a pod (or a mirror pod)."""
        uid, name = pod.metadata.uid, full_name(pod)
        pods, names = (self._mirrors, self._mirror_by_name) if is_mirror(pod) else (self._pods, self._by_name)
        pods.pop(uid, None)
        if names.get(name) == uid:
            del names[name]

    def get(self, uid: str) -> Pod | None:
        """The desired pod of that UID."""
        return self._pods.get(uid)

    def by_name(self, namespace: str, name: str) -> Pod | None:
        """The desired pod of that name."""
        return self._pods.get(self._by_name.get(f"{name}_{namespace}", ""))

    def mirror_of(self, pod: Pod) -> Pod | None:
        """The mirror pod of a static pod."""
        return self.mirror_named(full_name(pod))

    def mirror_named(self, full_name: str) -> Pod | None:
        """The mirror pod of that full name."""
        return self._mirrors.get(self._mirror_by_name.get(full_name, ""))

    def static_of(self, mirror: Pod) -> Pod | None:
        """The static pod of a mirror pod."""
        return self._pods.get(self._by_name.get(full_name(mirror), ""))

    def pods(self) -> Sequence[Pod]:
        """All desired pods, mirror pods left out."""
        return list(self._pods.values())

    def mirrors(self) -> Sequence[Pod]:
        """All mirror pods."""
        return list(self._mirrors.values())
