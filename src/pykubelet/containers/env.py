"""A container's environment, from everything that feeds it (core/v1 EnvVar, EnvFromSource).

``needed`` says what must be fetched, ``gather`` fetches it, ``environment`` computes.
"""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from pykubelet.api.core import Container, EnvVarSource, FileKeySelector, Pod
from pykubelet.api.downward import DownwardFacts, field_value, resource_value
from pykubelet.api.mounted import MountedVolume
from pykubelet.api.podinfo import is_static
from pykubelet.base.expansion import expand

from .doors import Objects, Services
from .env_file import read_beneath, value_in

_SERVICES_UNREAD = "services have not yet been read at least once, cannot construct envvars"


@dataclass(frozen=True, slots=True)
class Needs:
    """The objects and files that a container's environment is made of."""

    config_maps: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    files: tuple[FileKeySelector, ...] = ()


@dataclass(frozen=True, slots=True)
class EnvFacts:
    """What was fetched; None stands for an object that does not exist."""

    config_maps: Mapping[str, Mapping[str, str] | None] = field(default_factory=dict)
    secrets: Mapping[str, Mapping[str, bytes] | None] = field(default_factory=dict)
    #: Values by (volume, path, key).
    files: Mapping[tuple[str, str, str], str] = field(default_factory=dict)
    #: FG EnvFiles; without it a variable from a file is empty.
    env_files: bool = True
    services: Mapping[str, str] = field(default_factory=dict)
    downward: DownwardFacts = field(default_factory=DownwardFacts)


def needed(container: Container) -> Needs:
    """What has to be fetched before :func:`environment` can run."""
    maps: dict[str, None] = {}
    secrets: dict[str, None] = {}
    files: list[FileKeySelector] = []
    for bulk in container.envFrom:
        if bulk.configMapRef is not None:
            maps[bulk.configMapRef.name] = None
        elif bulk.secretRef is not None:
            secrets[bulk.secretRef.name] = None
    for variable in container.env:
        source = variable.valueFrom
        if variable.value or source is None:
            continue
        if source.configMapKeyRef is not None:
            maps[source.configMapKeyRef.name] = None
        elif source.secretKeyRef is not None:
            secrets[source.secretKeyRef.name] = None
        elif source.fileKeyRef is not None:
            files.append(source.fileKeyRef)
    return Needs(tuple(maps), tuple(secrets), tuple(files))


def _file_value(volumes: Mapping[str, MountedVolume], selector: FileKeySelector) -> str:
    """The value; empty if it may be missing and is.

    :raises ValueError: with upstream's text.
    """
    volume = volumes.get(selector.volumeName)
    if volume is None or not volume.host_path:
        raise ValueError(f'cannot find the volume "{selector.volumeName}" referenced by FileKeyRef')
    try:
        value = value_in(read_beneath(volume.host_path, selector.path), selector.key)
    except FileNotFoundError:
        if selector.optional:
            return ""
        raise ValueError("couldn't parse env file") from None
    except (OSError, ValueError):
        raise ValueError("couldn't parse env file") from None
    if value or selector.optional:
        return value
    path = f"{volume.host_path}/{selector.path}"
    raise ValueError(f'environment variable key "{selector.key}" not found in file "{path}"')


async def gather(
    pod: Pod,
    container: Container,
    objects: Objects,
    services: Services,
    volumes: Mapping[str, MountedVolume],
    downward: DownwardFacts,
    *,
    env_files: bool = True,
) -> EnvFacts:
    """Fetch what the container's environment needs; *env_files* is the feature gate ``EnvFiles``.

    :raises ValueError: with the text for the container's status.
    :raises LookupError: an object cannot be had now.
    """
    spec = pod.spec
    if spec.enableServiceLinks is None:
        raise ValueError("nil pod.spec.enableServiceLinks encountered, cannot construct envvars")
    namespace = pod.metadata.namespace
    service_env = services.environment(namespace, links=spec.enableServiceLinks)
    if service_env is None:
        if not is_static(pod):
            raise ValueError(_SERVICES_UNREAD)
        service_env = {}
    needs = needed(container)
    files = {}
    for selector in needs.files if env_files else ():
        value = await asyncio.to_thread(_file_value, volumes, selector)
        files[selector.volumeName, selector.path, selector.key] = value
    return EnvFacts(
        config_maps={name: await objects.config_map(namespace, name) for name in needs.config_maps},
        secrets={name: await objects.secret(namespace, name) for name in needs.secrets},
        files=files,
        env_files=env_files,
        services=service_env,
        downward=downward,
    )


def _not_found(kind: str, name: str) -> ValueError:
    return ValueError(f'{kind} "{name}" not found')


def _bulk(container: Container, facts: EnvFacts) -> Iterator[tuple[str, str]]:
    for source in container.envFrom:
        data: Mapping[str, str | bytes] | None
        if source.configMapRef is not None:
            kind, ref = "configmap", source.configMapRef.name
            data, optional = facts.config_maps[ref], source.configMapRef.optional
        elif source.secretRef is not None:
            kind, ref = "secret", source.secretRef.name
            data, optional = facts.secrets[ref], source.secretRef.optional
        else:
            continue
        if data is None:
            if optional:
                continue
            raise _not_found(kind, ref)
        for key, value in data.items():
            yield (
                source.prefix + key,
                value if isinstance(value, str) else value.decode(errors="surrogateescape"),
            )


def _keyed(
    data: Mapping[str, str] | Mapping[str, bytes] | None,
    key: str,
    kind: str,
    name: str,
    namespace: str,
    *,
    optional: bool | None,
) -> str | None:
    if data is None:
        if optional:
            return None
        raise _not_found(kind.lower(), name)
    value = data.get(key)
    if value is None:
        if optional:
            return None
        raise ValueError(f"couldn't find key {key} in {kind} {namespace}/{name}")
    return value if isinstance(value, str) else value.decode(errors="surrogateescape")


def _sourced(pod: Pod, container: Container, source: EnvVarSource, facts: EnvFacts) -> str | None:
    """The value of a variable with a source; None leaves the variable out."""
    namespace = pod.metadata.namespace
    if source.fieldRef is not None:
        return field_value(pod, source.fieldRef, facts.downward)
    if source.resourceFieldRef is not None:
        return resource_value(pod, container, source.resourceFieldRef, facts.downward)
    if source.configMapKeyRef is not None:
        ref = source.configMapKeyRef
        data = facts.config_maps[ref.name]
        return _keyed(data, ref.key, "ConfigMap", ref.name, namespace, optional=ref.optional)
    if source.secretKeyRef is not None:
        secret = source.secretKeyRef
        hidden = facts.secrets[secret.name]
        return _keyed(hidden, secret.key, "Secret", secret.name, namespace, optional=secret.optional)
    if source.fileKeyRef is not None and facts.env_files:
        file = source.fileKeyRef
        return facts.files[file.volumeName, file.path, file.key] or None
    return ""


def environment(pod: Pod, container: Container, facts: EnvFacts) -> dict[str, str]:
    """The container's variables, in the order in which they were declared, services last.

    :raises ValueError: with the text for the container's status.
    """
    env = dict(_bulk(container, facts))
    for variable in container.env:
        if variable.value:
            env[variable.name] = expand(variable.value, env, facts.services)
        elif variable.valueFrom is None:
            env[variable.name] = ""
        else:
            value = _sourced(pod, container, variable.valueFrom, facts)
            if value is not None:
                env[variable.name] = value
    for name, value in facts.services.items():
        env.setdefault(name, value)
    return env
