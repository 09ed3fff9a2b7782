"""A manifest's bytes turned into static pods, purely: names, UIDs, defaults, checks.

A static pod belongs to its node: its name and UID tell the node and where the manifest
lies, so that both stay the same over restarts and differ between nodes.
"""

import hashlib
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from msgspec.structs import replace

from pykubelet.api import codec, wellknown
from pykubelet.api.core import Pod, PodStatus, Toleration
from pykubelet.api.defaults import set_pod_defaults
from pykubelet.api.fielderrors import FieldError, FieldErrors
from pykubelet.api.validation import validate_pod
from pykubelet.api.yaml import YamlError, load_all
from pykubelet.base.gotext import go_list

from .references import UnknownVolume, api_reference

log = logging.getLogger(__name__)

#: The largest manifest that is read, in bytes.
MAX_MANIFEST: Final = 10 * 1024 * 1024
#: How many pods one manifest may hold.
_MAX_PODS: Final = 1000
#: A UID names directories and cgroups, so it must be a plain file name.
_UID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
_EVICTION_TOLERATION: Final = Toleration(operator="Exists", effect="NoExecute")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a manifest was found: the path of a file, a URL, or the name under which it was pushed."""

    source: Literal["file", "http", "push"]
    where: str
    #: How messages name the place, where it may hold what is nobody's business; else empty.
    shown: str = ""

    def __str__(self) -> str:
        return self.shown or self.where


@dataclass(frozen=True, slots=True)
class StaticPod:
    """A sound pod, and what its manifest says that nobody here understands."""

    pod: Pod
    warnings: tuple[str, ...] = ()
    #: Whether the manifest itself gives the UID, so that it is no digest.
    uid_given: bool = False


class ManifestError(ValueError):
    """A manifest, or one pod in it, that is not taken; *field* is the first one at fault, if known."""

    def __init__(
        self, message: str, field: str = "", *, fields: Sequence[FieldError] = (), readable: bool = True
    ) -> None:
        """*fields* are all that are at fault; *readable* says that it could be read as a pod at all."""
        super().__init__(message)
        self.field = field
        self.fields = tuple(fields)
        self.readable = readable


def read_manifests(data: bytes, origin: Origin, node: str) -> tuple[list[StaticPod], list[ManifestError]]:
    """All pods of a manifest: YAML or JSON, several documents, ``List`` and ``PodList``.

    A pod that is not sound leaves the manifest's others alone.
    """
    if len(data) > MAX_MANIFEST:
        return [], [ManifestError(f"the read limit is reached: larger than {MAX_MANIFEST} bytes")]
    try:
        documents = [document for document in load_all(data) if document is not None]
    except YamlError as error:
        return [], [_not_a_pod(origin, error)]
    if not documents:
        return [], [_not_a_pod(origin, "the manifest is empty")]
    pods: list[StaticPod] = []
    errors: list[ManifestError] = []
    for item in _items(documents):
        if len(pods) + len(errors) >= _MAX_PODS:
            errors.append(ManifestError(f"more than {_MAX_PODS} pods in one manifest, the rest is ignored"))
            break
        try:
            pods.append(read_pod(item, origin, node))
        except ManifestError as error:
            errors.append(error)
        except RecursionError:
            errors.append(_not_a_pod(origin, "nested too deeply"))
    return pods, errors


def read_whatever(data: bytes, origin: Origin, node: str) -> tuple[list[StaticPod], list[ManifestError]]:
    """As :func:`read_manifests`, but what one manifest provokes is an error too: the others must go on."""
    try:
        return read_manifests(data, origin, node)
    except Exception as error:
        log.exception("reading %s failed", origin)
        return [], [ManifestError(f"{origin}: cannot be read: {type(error).__name__}: {error}")]


def _not_a_pod(origin: Origin, why: object) -> ManifestError:
    field = why.path if isinstance(why, codec.InvalidField) else ""
    text = f"{origin}: couldn't parse as pod({why}), please check config file"
    return ManifestError(text, field, readable=False)


def _items(documents: list[Any]) -> Iterator[Any]:
    """The documents with all lists unrolled; a PodList's items need not say what they are."""
    for document in documents:
        kind = document.get("kind") if isinstance(document, dict) else None
        if kind not in ("List", "PodList"):
            yield document
            continue
        items = document.get("items")
        for item in items if isinstance(items, list) else []:
            if kind == "PodList" and isinstance(item, dict):
                yield {"apiVersion": "v1", "kind": "Pod"} | item
            else:
                yield item


def read_pod(document: Any, origin: Origin, node: str) -> StaticPod:
    """One decoded document as a static pod of *node*.

    :raises ManifestError: it is no pod, not sound, or needs the API server.
    """
    _check_kind(document, origin)
    try:
        given = codec.convert(document, Pod)
    except codec.InvalidField as error:
        raise _not_a_pod(origin, error) from error
    if not given.metadata.name:
        raise ManifestError("invalid pod: name is needed for the pod", "metadata.name")
    pod = _static(set_pod_defaults(given), given, origin, node)
    problems = [*_check_uid(pod), *validate_pod(pod)]
    if problems:
        raise ManifestError(f"invalid pod: {go_list(problems)}", problems[0].path, fields=problems)
    try:
        resource, field = api_reference(pod)
    except UnknownVolume as error:
        raise ManifestError(str(error), error.field) from error
    if resource:
        raise ManifestError(f"static pods may not reference {resource}", field)
    unknown = codec.unknown_fields(document, Pod)
    warnings = tuple(f'unknown field "{path}"' for path in unknown if not _harmless(path))
    return StaticPod(pod, warnings, uid_given=bool(given.metadata.uid))


def _harmless(path: str) -> bool:
    """Fields that tools write into manifests and no kubelet reads."""
    return path in ("metadata.managedFields", "metadata.selfLink") or path.startswith("status.")


def _check_kind(document: Any, origin: Origin) -> None:
    if not isinstance(document, dict):
        raise _not_a_pod(origin, f"an object is expected, not {type(document).__name__}")
    for key, name in (("kind", "Kind"), ("apiVersion", "apiVersion")):
        if not document.get(key):
            raise _not_a_pod(origin, codec.InvalidField(key, f"Object '{name}' is missing"))
    kind, version = document["kind"], document["apiVersion"]
    if version != "v1" or kind != "Pod":
        known = f'no kind "{kind}" is registered for version "{version}" among the kinds a kubelet reads'
        raise _not_a_pod(origin, codec.InvalidField("kind", known))


def _check_uid(pod: Pod) -> list[FieldError]:
    errors = FieldErrors()
    if not _UID.fullmatch(pod.metadata.uid):
        errors.invalid("metadata.uid", pod.metadata.uid, f"must match the regex {_UID.pattern}")
    return errors.found


def _digest(given: Pod, origin: Origin, node: str) -> str:
    """32 hex digits from what the manifest says and where it lies.

    The pod is taken before its defaults are set: another version's defaults are no
    other pod.
    """
    place = f"url:{origin.where}" if origin.source == "http" else f"host:{node}{origin.source}:{origin.where}"
    return hashlib.blake2b(codec.encode(given, sort=True) + place.encode(), digest_size=16).hexdigest()


def _static(pod: Pod, given: Pod, origin: Origin, node: str) -> Pod:
    meta = pod.metadata
    uid = meta.uid or _digest(given, origin, node)
    # A manifest cannot claim what only a kubelet can know.
    annotations = {
        key: value for key, value in meta.annotations.items() if key not in wellknown.LOCAL_ANNOTATIONS
    }
    tolerations = pod.spec.tolerations
    if origin.source != "http":
        same = [_taint(one) == _taint(_EVICTION_TOLERATION) for one in tolerations]
        tolerations = [
            _EVICTION_TOLERATION if match else one for one, match in zip(tolerations, same, strict=True)
        ]
        if not any(same):
            tolerations.append(_EVICTION_TOLERATION)
    return replace(
        pod,
        metadata=replace(
            meta,
            uid=uid,
            name=f"{meta.name}-{node.lower()}",
            namespace=meta.namespace or wellknown.NAMESPACE_DEFAULT,
            annotations=annotations | {wellknown.CONFIG_HASH: uid},
            deletionTimestamp=None,
            deletionGracePeriodSeconds=None,
        ),
        spec=replace(pod.spec, nodeName=node, tolerations=tolerations),
        status=PodStatus(phase="Pending"),
    )


def _taint(toleration: Toleration) -> tuple[str, str, str, str]:
    """What makes two tolerations the same one: all but the time."""
    return toleration.key, toleration.effect, toleration.operator, toleration.value
