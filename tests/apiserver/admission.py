"""The admission plugins and controllers of a real control plane that pods depend on."""

import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tests.apiserver import defaults, errors, resources
from tests.apiserver.resources import Object, Resource, Target
from tests.apiserver.store import Store, Stored

MIRROR = "kubernetes.io/config.mirror"
TOKEN_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


@dataclass(slots=True)
class Admission:
    """ServiceAccount, DefaultTolerationSeconds, TaintNodesByCondition and RuntimeClass."""

    store: Store
    #: Whether pods get the volume with the token of their service account, which must exist.
    service_accounts: bool
    randomness: random.Random = field(default_factory=lambda: random.Random(1))

    def admit(self, resource: Resource, obj: Object) -> None:
        """Change a new pod or node as the plugins do.

        :raises ApiError: 403, its service account or RuntimeClass does not exist, or says otherwise.
        """
        if resource is resources.NODES:
            defaults.not_ready_taint(obj)
        if resource is not resources.PODS:
            return
        defaults.tolerations(obj)
        self._runtime_class(obj)
        if MIRROR in (obj["metadata"].get("annotations") or {}):
            return
        spec = obj["spec"]
        account = spec.setdefault("serviceAccountName", "default")
        spec.setdefault("serviceAccount", account)
        if not self.service_accounts:
            return
        namespace, name = obj["metadata"]["namespace"], obj["metadata"]["name"]
        found = self.store.get(resources.SERVICE_ACCOUNTS, namespace, account)
        if found is None:
            message = (
                f'pods "{name}" is forbidden: error looking up service account {namespace}/{account}: '
                f'serviceaccount "{account}" not found'
            )
            raise errors.ApiError(403, "Forbidden", message, {"name": name, "kind": "pods"})
        wanted = spec.get("automountServiceAccountToken", found.obj.get("automountServiceAccountToken", True))
        if wanted:
            self._mount(spec)

    def _runtime_class(self, pod: Object) -> None:
        """A pod gets the overhead of its RuntimeClass, and may not state another."""
        name, given = pod["spec"].get("runtimeClassName"), pod["spec"].get("overhead")
        found = self.store.get(resources.RUNTIME_CLASSES, "", name) if name else None
        fixed = ((found.obj.get("overhead") if found is not None else None) or {}).get("podFixed")
        if name and found is None:
            problem = f'RuntimeClass "{name}" not found'
        elif given and not fixed:
            problem = "Pod Overhead set without corresponding RuntimeClass defined Overhead"
        elif given and given != fixed:
            problem = "Pod's Overhead doesn't match RuntimeClass's defined Overhead"
        else:
            if fixed:
                pod["spec"]["overhead"] = dict(fixed)
            return
        named = pod["metadata"]["name"]
        message = f'pods "{named}" is forbidden: pod rejected: {problem}'
        raise errors.ApiError(403, "Forbidden", message, {"name": named, "kind": "pods"})

    def _mount(self, spec: Object) -> None:
        volume = "kube-api-access-" + "".join(self.randomness.choices("bcdfghjklmnpqrstvwxz2456789", k=5))
        mounted = False
        for container in [*(spec.get("initContainers") or ()), *spec["containers"]]:
            mounts = container.setdefault("volumeMounts", [])
            if not any(mount["mountPath"] == TOKEN_MOUNT for mount in mounts):
                mounts.append({"name": volume, "readOnly": True, "mountPath": TOKEN_MOUNT})
                mounted = True
        if mounted:
            spec.setdefault("volumes", []).append(_token_volume(volume))


def _token_volume(name: str) -> Object:
    root_ca = {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    return {
        "name": name,
        "projected": {
            "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"configMap": root_ca},
                {"downwardAPI": {"items": [namespace]}},
            ],
            "defaultMode": 0o644,
        },
    }


@dataclass(slots=True)
class NamespaceController:
    """Gives every namespace its default service account and the cluster's root certificate."""

    create: Callable[[Target, Object], Stored]
    store: Store
    root_ca: bytes

    def written(self, resource: Resource, stored: Stored) -> None:
        """Look at a namespace that was written."""
        if resource is not resources.NAMESPACES:
            return
        name = stored.obj["metadata"]["name"]
        wanted: list[tuple[Resource, Object]] = [
            (resources.SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}),
            (
                resources.CONFIG_MAPS,
                {"metadata": {"name": "kube-root-ca.crt"}, "data": {"ca.crt": self.root_ca.decode()}},
            ),
        ]
        for kind, obj in wanted:
            if self.store.get(kind, name, obj["metadata"]["name"]) is None:
                self.create(Target(kind, name), obj)
