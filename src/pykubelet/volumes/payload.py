"""The files of configMap, secret, downwardAPI and projected volumes, from what was fetched. Pure.

``needed`` says what must be fetched, ``files_of`` computes the files. Whatever is wrong with
any source is told at once, as upstream tells several errors in one text.

Without trust bundles, whose feature is off by default, an optional one is an empty file. Pod
certificates are not there yet: an error names the feature.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from pykubelet.api.auth import BoundObjectReference, TokenRequest, TokenRequestSpec
from pykubelet.api.core import Container, Pod
from pykubelet.api.downward import DownwardFacts, field_value, resource_value, split_subscript
from pykubelet.api.objects import ConfigMap, Secret
from pykubelet.api.volumes import (
    ClusterTrustBundleProjection,
    DownwardAPIVolumeFile,
    KeyToPath,
    ServiceAccountTokenProjection,
    Volume,
    VolumeProjection,
)
from pykubelet.base.errors import VolumeError

from .identity import group_of, user_of

#: What a file in a volume may tell of its pod; environment variables may tell more.
_FIELDS: Final = frozenset(
    {"metadata.annotations", "metadata.labels", "metadata.name", "metadata.namespace", "metadata.uid"}
)
#: Mode of what only the pod's own user may read; fsGroup adds the group's right.
_PRIVATE: Final = 0o600


@dataclass(frozen=True, slots=True)
class File:
    """One file; its repr tells nothing of its contents."""

    data: bytes = field(repr=False)
    mode: int
    #: UID of its owner; None: root.
    owner: int | None = None


@dataclass(frozen=True, slots=True)
class Missing:
    """An object or token that cannot be had now, and why."""

    error: str


@dataclass(frozen=True, slots=True)
class Needs:
    """What has to be fetched before :func:`files_of` can run."""

    config_maps: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    tokens: tuple[ServiceAccountTokenProjection, ...] = ()
    bundles: tuple[ClusterTrustBundleProjection, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """What was fetched, by name; None stands for an object that does not exist."""

    config_maps: Mapping[str, ConfigMap | Missing | None] = field(default_factory=dict)
    secrets: Mapping[str, Secret | Missing | None] = field(default_factory=dict)
    #: In the order of :attr:`Needs.tokens`.
    tokens: Sequence[TokenRequest | Missing] = ()
    downward: DownwardFacts = field(default_factory=DownwardFacts)
    #: PEM, in the order of :attr:`Needs.bundles`; none at all where the feature is off.
    bundles: Sequence[bytes | Missing] = ()


class _SourceError(Exception):
    """What is wrong with one source: one text or several."""

    def __init__(self, *texts: str) -> None:
        super().__init__(*texts)
        self.texts = texts


def needed(volume: Volume) -> Needs:
    """What has to be fetched for *volume*."""
    sources = volume.projected.sources if volume.projected is not None else []
    maps = [source.configMap.name for source in sources if source.configMap is not None]
    secrets = [source.secret.name for source in sources if source.secret is not None]
    if volume.configMap is not None:
        maps.append(volume.configMap.name)
    if volume.secret is not None:
        secrets.append(volume.secret.secretName)
    tokens = tuple(s.serviceAccountToken for s in sources if s.serviceAccountToken is not None)
    bundles = tuple(s.clusterTrustBundle for s in sources if s.clusterTrustBundle is not None)
    return Needs(tuple(dict.fromkeys(maps)), tuple(dict.fromkeys(secrets)), tokens, bundles)


def tells_of_pod(volume: Volume) -> bool:
    """Whether files in *volume* show the pod's own labels and annotations."""
    sources = volume.projected.sources if volume.projected is not None else []
    return volume.downwardAPI is not None or any(source.downwardAPI is not None for source in sources)


def token_request(pod: Pod, source: ServiceAccountTokenProjection) -> TokenRequest:
    """The request for a token that is good as long as *pod* is there."""
    return TokenRequest(
        spec=TokenRequestSpec(
            audiences=[source.audience] if source.audience else None,
            expirationSeconds=source.expirationSeconds,
            boundObjectRef=BoundObjectReference(
                kind="Pod", apiVersion="v1", name=pod.metadata.name, uid=pod.metadata.uid
            ),
        )
    )


def files_of(pod: Pod, volume: Volume, facts: Facts) -> dict[str, File]:
    """The files of *volume* by their path, as the pod's spec writes it.

    :raises VolumeError: with all that is missing or wrong.
    """
    try:
        if volume.configMap is not None:
            source = volume.configMap
            mode = _default_mode(source.defaultMode)
            return _config_map(facts, source.name, source.items, mode, optional=bool(source.optional))
        if volume.secret is not None:
            secret = volume.secret
            mode = _default_mode(secret.defaultMode)
            return _secret(facts, secret.secretName, secret.items, mode, optional=bool(secret.optional))
        if volume.downwardAPI is not None:
            mode = _default_mode(volume.downwardAPI.defaultMode)
            return _downward(pod, volume.downwardAPI.items, mode, facts.downward)
        if volume.projected is not None:
            mode = _default_mode(volume.projected.defaultMode)
            return _projected(pod, volume.projected.sources, mode, facts)
    except _SourceError as error:
        raise VolumeError(_joined(error.texts)) from None
    raise VolumeError(f'volume "{volume.name}" has no contents of its own')


def _default_mode(mode: int | None) -> int:
    if mode is None:
        raise _SourceError("no defaultMode used, not even the default value for it")
    return mode


def _joined(texts: Sequence[str]) -> str:
    distinct = tuple(dict.fromkeys(texts))
    return distinct[0] if len(distinct) == 1 else f"[{', '.join(distinct)}]"


def _config_map(
    facts: Facts, name: str, items: Sequence[KeyToPath], mode: int, *, optional: bool
) -> dict[str, File]:
    found = facts.config_maps[name]
    if isinstance(found, Missing):
        raise _SourceError(found.error)
    if found is None:
        if not optional:
            raise _SourceError(f'configmap "{name}" not found')
        found = ConfigMap()
    data = {key: value.encode(errors="surrogatepass") for key, value in found.data.items()}
    # A key is in one of the two; where it is in both, an item means the text.
    both = {**data, **found.binaryData} if not items else {**found.binaryData, **data}
    unknown = "configmap references non-existent config key"
    return dict(_selected(both, items, mode, unknown, optional=optional))


def _secret(
    facts: Facts, name: str, items: Sequence[KeyToPath], mode: int, *, optional: bool
) -> dict[str, File]:
    found = facts.secrets[name]
    if isinstance(found, Missing):
        raise _SourceError(found.error)
    if found is None:
        if not optional:
            raise _SourceError(f'secret "{name}" not found')
        found = Secret()
    return dict(_selected(found.data, items, mode, "references non-existent secret key", optional=optional))


def _selected(
    data: Mapping[str, bytes], items: Sequence[KeyToPath], mode: int, unknown: str, *, optional: bool
) -> Iterator[tuple[str, File]]:
    """All keys, or those that *items* name, each under its path."""
    if not items:
        yield from ((key, File(value, mode)) for key, value in data.items())
        return
    for item in items:
        if item.key in data:
            yield item.path, File(data[item.key], mode if item.mode is None else item.mode)
        elif not optional:
            raise _SourceError(f"{unknown}: {item.key}")


def _downward(
    pod: Pod, items: Sequence[DownwardAPIVolumeFile], mode: int, facts: DownwardFacts
) -> dict[str, File]:
    files: dict[str, File] = {}
    errors: list[str] = []
    for item in items:
        try:
            text = _downward_text(pod, item, facts)
        except ValueError as error:
            errors.append(str(error))
            continue
        data = text.encode(errors="surrogatepass")
        files[item.path] = File(data, mode if item.mode is None else item.mode)
    if errors:
        raise _SourceError(*errors)
    return files


def _downward_text(pod: Pod, item: DownwardAPIVolumeFile, facts: DownwardFacts) -> str:
    if item.fieldRef is not None:
        path, key = split_subscript(item.fieldRef.fieldPath)
        if key is None and path not in _FIELDS:
            raise ValueError(f"unsupported fieldPath: {path}")
        return field_value(pod, item.fieldRef, facts)
    if item.resourceFieldRef is not None:
        if not item.resourceFieldRef.containerName:
            raise ValueError("container  not found")
        return resource_value(pod, Container(), item.resourceFieldRef, facts)
    return ""


def _projected(pod: Pod, sources: Sequence[VolumeProjection], mode: int, facts: Facts) -> dict[str, File]:
    """All sources' files in one: where two have the same path, the later one wins."""
    files: dict[str, File] = {}
    errors: list[str] = []
    tokens, bundles = iter(facts.tokens), iter(facts.bundles)
    for source in sources:
        try:
            if source.clusterTrustBundle is not None:
                found = next(bundles, None)
                files.update(_trust_bundle(pod, source.clusterTrustBundle, mode, found))
            else:
                files.update(_projection(pod, source, mode, facts, tokens))
        except _SourceError as error:
            errors += error.texts
    if errors:
        raise _SourceError(*errors)
    return files


def _projection(
    pod: Pod, source: VolumeProjection, mode: int, facts: Facts, tokens: Iterator[TokenRequest | Missing]
) -> dict[str, File]:
    if source.secret is not None:
        secret = source.secret
        return _secret(facts, secret.name, secret.items, mode, optional=bool(secret.optional))
    if source.configMap is not None:
        wanted = source.configMap
        return _config_map(facts, wanted.name, wanted.items, mode, optional=bool(wanted.optional))
    if source.downwardAPI is not None:
        return _downward(pod, source.downwardAPI.items, mode, facts.downward)
    if source.serviceAccountToken is not None:
        token = next(tokens)
        if isinstance(token, Missing):
            raise _SourceError(token.error)
        return {source.serviceAccountToken.path: _private(pod, token.status.token.encode(), mode)}
    if source.podCertificate is not None:
        raise _SourceError(
            "podCertificate projection is not supported by this kubelet (feature PodCertificateRequest)"
        )
    return {}


def _trust_bundle(
    pod: Pod, source: ClusterTrustBundleProjection, mode: int, found: bytes | Missing | None
) -> dict[str, File]:
    if source.name is None and source.signerName is None:
        raise _SourceError("ClusterTrustBundle projection requires either name or signerName to be set")
    if isinstance(found, Missing):
        raise _SourceError(found.error)
    if found is None and not source.optional:
        raise _SourceError(
            "ClusterTrustBundle projection is not supported by this kubelet "
            "(feature ClusterTrustBundleProjection)"
        )
    return {source.path: _private(pod, found or b"", mode)}


def _private(pod: Pod, data: bytes, mode: int) -> File:
    """A file for the pod's own user, as far as that is known."""
    user = user_of(pod)
    known = user is not None or group_of(pod) is not None
    return File(data, _PRIVATE if known else mode, user)
