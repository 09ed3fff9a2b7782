"""What is told of manifests that were pushed; not an API of Kubernetes' own."""

from .meta import Obj


class PushedPod(Obj):
    """A pod that a manifest holds, by the name and UID that it has on this node."""

    namespace: str = ""
    name: str = ""
    uid: str = ""


class PushedManifest(Obj):
    """One manifest, its pods, what is wrong with it and what in it is ignored."""

    name: str = ""
    pods: list[PushedPod] = []
    problems: list[str] = []
    warnings: list[str] = []


class PushedManifests(Obj):
    """All manifests by name."""

    manifests: list[PushedManifest] = []
