"""The rules of writing: what a create, an update, a patch and a delete make of an object."""

import random
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from tests.apiserver import decoding, defaults, deletion, errors, resources, validation, wire
from tests.apiserver.resources import Object, Resource, Target
from tests.apiserver.store import Store, Stored, copy

#: The letters of generated names.
_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
#: What only the server writes in metadata.
_OWN = (
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "generateName",
)
#: Looks at an object that is about to be created, and may change it or refuse.
Admission = Callable[[Resource, Object], None]
#: Is told what was written.
Written = Callable[[Resource, Stored], None]


class Registry:
    """Writes to the store as a real server's storage strategies do."""

    def __init__(self, store: Store, now: Callable[[], datetime], randomness: random.Random) -> None:
        self._store = store
        self._now = now
        self._random = randomness
        self.admission: list[Admission] = []
        self.written: list[Written] = []

    def get(self, target: Target) -> Stored:
        """:raises ApiError: 404."""
        found = self._store.get(target.resource, target.namespace, target.name)
        if found is None:
            raise errors.not_found(target.resource.plural, target.resource.group, target.name)
        return found

    def create(self, target: Target, body: Object) -> Stored:
        """A new object.

        :raises ApiError: it may not be created.
        """
        resource = target.resource
        obj = self._accept(target, body)
        metadata = obj["metadata"]
        if metadata.get("resourceVersion"):
            # A real server forgets to make a proper Status of this one.
            raise errors.ApiError(500, "", "resourceVersion should not be set on objects to be created")
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = metadata["generateName"] + "".join(self._random.choices(_LETTERS, k=5))
        if not metadata.get("name"):
            problem = "Required value: name or generateName is required"
            raise errors.invalid(resource.kind, resource.group, "", "metadata.name", problem)
        if resource.namespaced:
            metadata["namespace"] = target.namespace
            if self._store.get(resources.NAMESPACES, "", target.namespace) is None:
                raise errors.not_found("namespaces", "", target.namespace)
        for key in _OWN[:-1]:
            metadata.pop(key, None)
        metadata["uid"] = str(UUID(int=self._random.getrandbits(128), version=4))
        metadata["creationTimestamp"] = deletion.timestamp(self._now())
        if resource.generation:
            metadata["generation"] = 1
        if "status" in resource.subresources and resource is not resources.NODES:
            obj.pop("status", None)
        validation.check(resource, obj)
        defaults.apply(resource, obj)
        for admit in self.admission:
            admit(resource, obj)
        if self._store.get(resource, metadata.get("namespace", ""), metadata["name"]) is not None:
            raise errors.already_exists(resource.plural, resource.group, metadata["name"])
        return self._write(resource, obj)

    def update(self, target: Target, body: Object) -> tuple[Stored, bool]:
        """The object with the content of *body*, and whether it was created by that.

        :raises ApiError: it may not be updated.
        """
        resource = target.resource
        new = self._accept(target, body)
        named = new["metadata"].get("name", "")
        if named != target.name:
            raise errors.bad_request(
                f"the name of the object ({named}) does not match the name on the URL ({target.name})"
            )
        old = self._store.get(resource, target.namespace, target.name)
        if old is None and resource.create_on_update and not new["metadata"].get("resourceVersion"):
            return self.create(target, new), True
        if not resource.unconditional_update and old and not new["metadata"].get("resourceVersion"):
            problem = "Invalid value: 0: must be specified for an update"
            name = target.name
            raise errors.invalid(resource.kind, resource.group, name, "metadata.resourceVersion", problem)
        uid, was = new["metadata"].get("uid"), self.get(target).obj["metadata"]["uid"]
        if uid and uid != was:
            why = (
                f"StorageError: invalid object, Code: 4, ResourceVersion: 0, AdditionalErrorMsg: "
                f"Precondition failed: UID in precondition: {uid}, UID in object meta: {was}"
            )
            raise errors.conflict(resource.plural, resource.group, target.name, why)
        return self._replace(target, self.get(target), new), False

    def patch(self, target: Target, apply: Callable[[Object], Object]) -> Stored:
        """The object with a patch applied.

        :raises ApiError: it may not be patched.
        """
        old = self.get(target)
        new = apply(old.obj)
        try:
            decoding.check(target.resource, new)
        except errors.ApiError as error:
            raise errors.invalid("", "", "", "patch", f"Invalid value: {error}") from error
        return self._replace(target, old, self._accept(target, new))

    def delete(self, target: Target, options: Mapping[str, Any]) -> tuple[Stored, bool]:
        """The object as it is now or was last, and whether it is gone.

        :raises ApiError: there is no such object, or not the one meant.
        """
        resource, old = target.resource, self.get(target)
        deletion.check_preconditions(resource, old.obj, options)
        verdict = deletion.decide(resource, old.obj, options.get("gracePeriodSeconds"), self._now())
        if verdict.write is not None:
            old = self._write(resource, verdict.write)
        if verdict.remove:
            return self._store.remove(resource, old.key), True
        return old, False

    def bind(self, target: Target, body: Object) -> None:
        """Assign a pod to a node.

        :raises ApiError: there is no such pod, or it is assigned already.
        """
        old = self.get(target).obj
        node = (body.get("target") or {}).get("name", "")
        present, why = old["spec"].get("nodeName"), ""
        if "deletionTimestamp" in old["metadata"]:
            why = f"pod {target.name} is being deleted, cannot be assigned to a host"
        elif present:
            why = f'pod {target.name} is already assigned to node "{present}"'
        if why:
            raise errors.conflict("pods/binding", "", target.name, why)
        pod = copy(old)
        pod["spec"]["nodeName"] = node
        conditions = pod["status"].setdefault("conditions", [])
        conditions[:] = [item for item in conditions if item["type"] != "PodScheduled"]
        since = deletion.timestamp(self._now())
        conditions.append(
            {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": since}
        )
        self._write(resources.PODS, pod)

    def _accept(self, target: Target, body: Object) -> Object:
        """A copy of *body*, if it is an object of the target's kind and namespace."""
        resource = target.resource
        kind, version = body.get("kind", resource.kind), body.get("apiVersion", resource.api_version)
        if (kind, version) != (resource.kind, resource.api_version):
            raise errors.bad_request(
                f"{kind} in version {version!r} cannot be handled as a {resource.kind}: "
                f"the API version in the data ({version}) does not match the expected API version "
                f"({resource.api_version})"
            )
        if not isinstance(body.get("metadata", {}), dict):
            raise errors.bad_request(
                f'{kind} in version "{version}" cannot be handled: metadata is no object'
            )
        obj = copy({"kind": resource.kind, "apiVersion": resource.api_version, "metadata": {}, **body})
        namespace = obj["metadata"].get("namespace", "")
        if namespace and namespace != target.namespace:
            raise errors.bad_request(
                "the namespace of the provided object does not match the namespace sent on the request"
            )
        decoding.check(resource, obj)
        return obj

    def _replace(self, target: Target, old: Stored, new: Object) -> Stored:
        resource, metadata, was = target.resource, new["metadata"], old.obj["metadata"]
        if metadata.get("name") != was["name"]:
            raise errors.bad_request(
                f"the name of the object ({metadata.get('name')}) does not match "
                f"the name on the URL ({target.name})"
            )
        uid, version = metadata.get("uid"), metadata.get("resourceVersion")
        if version and version != was["resourceVersion"]:
            raise errors.modified(resource.plural, resource.group, target.name)
        if uid and uid != was["uid"]:
            # Only a PUT's UID is a precondition; a patch's meets the validation.
            problem = f'Invalid value: "{uid}": field is immutable'
            raise errors.invalid(resource.kind, resource.group, target.name, "metadata.uid", problem)
        for key in _OWN:
            metadata.pop(key, None)
            if key in was:
                metadata[key] = was[key]
        if "namespace" in was:
            metadata["namespace"] = was["namespace"]
        self._separate(target, old.obj, new)
        validation.check(resource, new)
        if resource is resources.PODS:
            validation.check_status_update(old.obj, new)
        defaults.apply(resource, new)
        if resource is resources.PODS and not target.subresource:
            validation.check_pod_update(old.obj, new)
        if target.subresource == "resize":
            validation.check_pod_resize(old.obj, new)
        if resource is resources.CSI_NODES:
            validation.check_csi_node_update(old.obj, new)
        if resource is resources.VOLUME_ATTACHMENTS:
            validation.check_attachment_update(old.obj, new)
        if resource.generation and new.get("spec") != old.obj.get("spec"):
            metadata["generation"] = was["generation"] + 1
        written = self._write(resource, new)
        if deletion.is_over(new):
            return self._store.remove(resource, written.key)
        return written

    @staticmethod
    def _separate(target: Target, old: Object, new: Object) -> None:
        """Keep from *old* what the target's subresource does not write."""
        kept = []
        if target.subresource == "ephemeralcontainers":
            validation.check_ephemeral_containers(old, new)
            added = new["spec"].get("ephemeralContainers", [])
            new["spec"] = {**copy(old["spec"]), "ephemeralContainers": added}
            kept = [key for key in {*old, *new} if key not in ("metadata", "spec")]
            for key in ("labels", "annotations", "finalizers", "ownerReferences"):
                new["metadata"].pop(key, None)
                if key in old["metadata"]:
                    new["metadata"][key] = copy(old["metadata"][key])
        elif target.subresource in ("status", "approval"):
            kept = [key for key in {*old, *new} if key not in ("metadata", "status", "kind", "apiVersion")]
            if "ownerReferences" in old["metadata"] and target.resource is resources.PODS:
                new["metadata"]["ownerReferences"] = old["metadata"]["ownerReferences"]
        elif "status" in target.resource.subresources:
            kept = ["status"]
            if target.subresource == "resize":
                new["metadata"].clear()
                new["metadata"].update(copy(old["metadata"]))
        for key in kept:
            new.pop(key, None)
            if key in old:
                new[key] = old[key]

    def _write(self, resource: Resource, obj: Object) -> Stored:
        wire.normalize(resource, obj)
        stored = self._store.put(resource, obj)
        for tell in self.written:
            tell(resource, stored)
        return stored
