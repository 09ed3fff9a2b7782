"""What keeps claims and persistent volumes from going while they are used."""

from collections.abc import Callable
from dataclasses import dataclass

from tests.apiserver import resources
from tests.apiserver.resources import Object, Resource, Target
from tests.apiserver.store import Store, Stored, copy

_FINALIZERS = {
    resources.CLAIMS: "kubernetes.io/pvc-protection",
    resources.PERSISTENT_VOLUMES: "kubernetes.io/pv-protection",
}


@dataclass(slots=True)
class Protection:
    """The admission plugin StorageObjectInUseProtection, and its controllers as far as deletions go.

    What was used when it was deleted is kept until a test lets it go.
    """

    store: Store
    patch: Callable[[Target, Callable[[Object], Object]], Stored]

    def admit(self, resource: Resource, obj: Object) -> None:
        """Give a new claim or volume its finalizer."""
        if resource in _FINALIZERS:
            finalizers = obj["metadata"].setdefault("finalizers", [])
            if _FINALIZERS[resource] not in finalizers:
                finalizers.append(_FINALIZERS[resource])

    def written(self, resource: Resource, stored: Stored) -> None:
        """Let go of what is deleted and not used."""
        finalizer, metadata = _FINALIZERS.get(resource), stored.obj["metadata"]
        deleted = "deletionTimestamp" in metadata and finalizer in (metadata.get("finalizers") or ())
        if not deleted or self._used(resource, stored.obj):
            return

        def release(obj: Object) -> Object:
            obj = copy(obj)
            obj["metadata"]["finalizers"].remove(finalizer)
            return obj

        self.patch(Target(resource, metadata.get("namespace", ""), metadata["name"]), release)

    def _used(self, resource: Resource, obj: Object) -> bool:
        if resource is resources.PERSISTENT_VOLUMES:
            return bool(obj["status"].get("phase") == "Bound")
        return any(
            (volume.get("persistentVolumeClaim") or {}).get("claimName") == obj["metadata"]["name"]
            for pod in self.store.all(resources.PODS)
            if pod.key[0] == obj["metadata"]["namespace"]
            for volume in pod.obj["spec"].get("volumes") or ()
        )
