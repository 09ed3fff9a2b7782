"""The records of pulls as they lie on disk: ImagePullIntent and ImagePulledRecord. Pure.

kubelet.config.k8s.io, written as v1beta1, v1alpha1 is read too; strictly, as upstream does.
"""

import hashlib
from datetime import UTC, datetime
from typing import Final

import msgspec

from pykubelet.api.codec import InvalidField, decode, strict_problems
from pykubelet.base.gotext import go_json, rfc3339

VERSION: Final = "kubelet.config.k8s.io/v1beta1"
_VERSIONS: Final = (VERSION, "kubelet.config.k8s.io/v1alpha1")
_PREFIX: Final = "sha256-"
_TEMPORARY: Final = ".tmp"


class Intent(msgspec.Struct, frozen=True, omit_defaults=True):
    """An image, as a container names it, is being pulled, or may have been when the kubelet ended."""

    apiVersion: str = ""
    kind: str = ""
    image: str = ""


class PullSecret(msgspec.Struct, frozen=True):
    """A secret that opened the registry, and the digest of the login it held."""

    uid: str = ""
    namespace: str = ""
    name: str = ""
    credentialHash: str = ""

    @property
    def place(self) -> tuple[str, str, str]:
        """Which secret it is."""
        return self.namespace, self.name, self.uid


class PullServiceAccount(msgspec.Struct, frozen=True):
    """A service account with which a plug-in opened the registry."""

    uid: str = ""
    namespace: str = ""
    name: str = ""


class PullCredentials(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who may use an image."""

    kubernetesSecrets: tuple[PullSecret, ...] = ()
    kubernetesServiceAccounts: tuple[PullServiceAccount, ...] = ()
    #: Every pod of this node.
    nodePodsAccessible: bool = False


class PulledRecord(msgspec.Struct, frozen=True, omit_defaults=True):
    """An image, by the runtime's reference, and by name (without tag) who may use it."""

    apiVersion: str = ""
    kind: str = ""
    lastUpdatedTime: datetime | None = None
    imageRef: str = ""
    credentialMapping: dict[str, PullCredentials] = {}


def file_name(key: str) -> str:
    """The name of the record of an image or reference."""
    return f"{_PREFIX}{hashlib.sha256(key.encode()).hexdigest()}"


def is_record(name: str) -> bool:
    """Whether a file of that name is a whole record."""
    return name.startswith(_PREFIX) and not name.endswith(_TEMPORARY)


def encode_intent(image: str) -> bytes:
    """The file of an intent."""
    return _document({"kind": "ImagePullIntent", "apiVersion": VERSION, "image": image})


def encode_record(record: PulledRecord) -> bytes:
    """The file of a record."""
    body: dict[str, object] = {
        "kind": "ImagePulledRecord",
        "apiVersion": VERSION,
        "lastUpdatedTime": rfc3339(record.lastUpdatedTime) if record.lastUpdatedTime is not None else None,
        "imageRef": record.imageRef,
    }
    if record.credentialMapping:
        mapping = sorted(record.credentialMapping.items())
        body["credentialMapping"] = {image: msgspec.to_builtins(found) for image, found in mapping}
    return _document(body)


def _document(body: dict[str, object]) -> bytes:
    return (go_json(body) + "\n").encode()


def decode_intent(data: bytes) -> tuple[Intent, bool]:
    """An intent, and whether it is of the version that is written now.

    :raises ValueError: it is none.
    """
    found = decode(data, Intent)
    return found, _check(data, Intent, found.kind, "ImagePullIntent", found.apiVersion)


def decode_record(data: bytes) -> tuple[PulledRecord, bool]:
    """A record, and whether it is of the version that is written now.

    :raises ValueError: it is none.
    """
    found = decode(data, PulledRecord)
    current = _check(data, PulledRecord, found.kind, "ImagePulledRecord", found.apiVersion)
    moment = found.lastUpdatedTime
    if moment is not None and moment.tzinfo is None:
        found = msgspec.structs.replace(found, lastUpdatedTime=moment.replace(tzinfo=UTC))
    return found, current


def _check(data: bytes, wanted: type[msgspec.Struct], kind: str, expected: str, version: str) -> bool:
    if kind != expected or version not in _VERSIONS:
        raise InvalidField("", f"it is a {kind} of {version}, not a {expected}")
    problems = strict_problems(data, wanted)
    if problems:
        raise InvalidField("", f"strict decoding error: {problems[0]}")
    return version == VERSION
