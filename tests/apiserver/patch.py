"""The three kinds of patches, over plain JSON. Pure: what they are given stays as it is."""

from collections.abc import Callable
from typing import Any

from tests.apiserver import errors

#: How lists of objects merge, by the path of the list below the object: the key of an element.
#: A list that is not here is atomic.
_META = {"metadata.ownerReferences": "uid"}
_CONTAINER = {
    "env": "name",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "ports": "containerPort",
}
_POD = {
    "status.conditions": "type",
    "status.podIPs": "ip",
    "status.hostIPs": "ip",
    "status.resourceClaimStatuses": "name",
    "spec.volumes": "name",
    "spec.hostAliases": "ip",
    "spec.imagePullSecrets": "name",
    "spec.resourceClaims": "name",
    "spec.schedulingGates": "name",
    "spec.topologySpreadConstraints": "topologyKey",
}
for _list in ("containers", "initContainers", "ephemeralContainers"):
    _POD[f"spec.{_list}"] = "name"
    _POD |= {f"spec.{_list}.{inner}": key for inner, key in _CONTAINER.items()}

MERGE_KEYS: dict[str, dict[str, str]] = {
    "Pod": {**_META, **_POD},
    "Node": {**_META, "status.conditions": "type", "status.addresses": "type"},
    "Namespace": {**_META, "status.conditions": "type"},
    "Service": {**_META, "spec.ports": "port", "status.conditions": "type"},
    "ServiceAccount": {**_META, "secrets": "name"},
    "PersistentVolumeClaim": {**_META, "status.conditions": "type"},
}

#: Lists of plain values that merge as sets.
PRIMITIVE_LISTS = {"*": {"metadata.finalizers"}, "Node": {"metadata.finalizers", "spec.podCIDRs"}}


def _broken(message: str) -> errors.ApiError:
    """A real server answers these as if they were its own failure."""
    return errors.ApiError(500, "", message)


class StrategicMerge:
    """Strategic merge patches of one kind of objects."""

    def __init__(self, kind: str) -> None:
        self._keys = MERGE_KEYS.get(kind, _META)
        self._sets = PRIMITIVE_LISTS.get(kind, PRIMITIVE_LISTS["*"])

    def apply(self, obj: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
        """*obj* with *patch* merged in.

        :raises ApiError: a directive or an element without its key cannot be understood.
        """
        return self._object(obj, patch, "")

    def _object(self, old: dict[str, Any], patch: dict[str, Any], path: str) -> dict[str, Any]:
        directive = patch.get("$patch")
        if directive == "replace":
            replaced: dict[str, Any] = _plain(patch)
            return replaced
        if directive == "delete":
            return {}
        if directive not in (None, "merge"):
            raise _broken(f"unknown patch type: {directive} in map: {patch}")
        result = dict(old)
        if (retained := patch.get("$retainKeys")) is not None:
            result = {key: value for key, value in result.items() if key in retained}
        for key, value in patch.items():
            if key.startswith("$deleteFromPrimitiveList/"):
                name = key.partition("/")[2]
                result[name] = [item for item in result.get(name) or [] if item not in value]
        for key, value in patch.items():
            if not key.startswith("$"):
                self._member(result, key, value, patch.get(f"$setElementOrder/{key}"), _join(path, key))
        for key, order in patch.items():
            name = key.removeprefix("$setElementOrder/")
            if name != key and name not in patch and result.get(name):
                result[name] = self._list(result[name], [], order, _join(path, name))
        return result

    def _member(
        self, result: dict[str, Any], key: str, value: Any, order: list[Any] | None, path: str
    ) -> None:
        old = result.get(key)
        if value is None:
            result.pop(key, None)
        elif path in self._keys and not isinstance(value, list):
            problem = f'Invalid value: "{value}": cannot restore slice from {type(value).__name__}'
            raise errors.invalid("", "", "", "patch", problem)
        elif isinstance(value, dict):
            result[key] = self._object(old if isinstance(old, dict) else {}, value, path)
        elif isinstance(value, list):
            result[key] = self._list(old if isinstance(old, list) else [], value, order, path)
        else:
            result[key] = value

    def _list(self, old: list[Any], patch: list[Any], order: list[Any] | None, path: str) -> list[Any]:
        if path in self._sets:
            merged = [*old, *(item for item in patch if item not in old)]
            return _ordered(merged, old, patch, order, lambda item: item)
        key = self._keys.get(path)
        if key is None:
            return [_plain(item) for item in patch]
        if not old or any(item.get("$patch") == "replace" for item in patch):
            return [_plain(item) for item in patch if "$patch" not in item]
        result = list(old)
        for item in patch:
            self._element(result, item, key, path)
        named = [item for item in patch if item.get("$patch") != "delete"]
        return _ordered(result, old, named, order, lambda item: item.get(key))

    def _element(self, result: list[Any], item: dict[str, Any], key: str, path: str) -> None:
        if key not in item:
            raise _broken(f"map: {item} does not contain declared merge key: {key}")
        at = next((i for i, old in enumerate(result) if old.get(key) == item[key]), None)
        if item.get("$patch") == "delete":
            result[:] = [old for old in result if old.get(key) != item[key]]
        elif at is None:
            result.append(self._object({}, item, path))
        else:
            result[at] = self._object(result[at], item, path)


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _plain(value: Any) -> Any:
    """*value* without nulls and directives: what is written whole keeps none of them."""
    if isinstance(value, dict):
        return {
            key: _plain(item) for key, item in value.items() if item is not None and not key.startswith("$")
        }
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _ordered(
    merged: list[Any],
    old: list[Any],
    patch: list[Any],
    order: list[Any] | None,
    identity: Callable[[Any], Any],
) -> list[Any]:
    """*merged* in the order that the patch wants.

    What the patch names comes in its order (that of ``$setElementOrder``, or its own). The
    others stay in theirs, each before what it was before in *old*.
    """
    was = [identity(item) for item in old]
    wanted = [identity(item) for item in (patch if order is None else order)]
    given = [identity(item) for item in patch]
    if given != [item for item in wanted if item in given]:
        raise _broken(f"The order in patch list:\n{patch}\n doesn't match $setElementOrder list:\n{order}\n")
    named = sorted(
        (item for item in merged if identity(item) in wanted), key=lambda i: wanted.index(identity(i))
    )
    others = [item for item in merged if identity(item) not in wanted]
    result: list[Any] = []
    while others and named:
        left, right = identity(others[0]), identity(named[0])
        before = left in was and right in was and was.index(left) < was.index(right)
        result.append((others if before else named).pop(0))
    return [*result, *others, *named]


def merge(old: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    result = dict(old) if isinstance(old, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merge(result.get(key), value)
    return result


def json_patch(obj: dict[str, Any], operations: list[dict[str, Any]]) -> dict[str, Any]:
    """A JSON patch (RFC 6902) of add, replace, remove and test.

    :raises ApiError: an operation does not apply.
    """
    root: dict[str, Any] = {"": obj}
    for operation in operations:
        try:
            root = _operate(root, operation)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            message = f"the server rejected our request due to an error in our request: {error}"
            raise errors.ApiError(422, "Invalid", message) from error
    result: dict[str, Any] = root[""]
    return result


def _operate(root: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any]:
    parts = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")]
    if operation["op"] not in ("add", "replace", "remove", "test"):
        raise ValueError(f"unsupported operation {operation['op']}")
    changed: dict[str, Any] = _operate_at(root, parts, operation["op"], operation.get("value"))
    return changed


def _operate_at(node: Any, parts: list[str], op: str, value: Any) -> Any:
    """A copy of *node* with one operation done below it."""
    head, rest = parts[0], parts[1:]
    result = dict(node) if isinstance(node, dict) else list(node)
    key: Any = head
    if isinstance(result, list):
        key = len(result) if head == "-" else int(head)
    if rest:
        result[key] = _operate_at(result[key], rest, op, value)
    elif op == "add" and isinstance(result, list):
        result.insert(key, value)
    elif op == "add":
        result[key] = value
    elif op == "remove":
        del result[key]
    elif op == "replace":
        result[key]  # it must be there
        result[key] = value
    elif result[key] != value:
        raise ValueError(f"test failed at {head}")
    return result
