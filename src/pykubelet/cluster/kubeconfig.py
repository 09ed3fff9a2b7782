"""A kubeconfig file: which API server, how to trust it, who we are.

Reads what client-go reads and refuses what it refuses. Nothing here tells a secret: fields
that hold one are left out of every repr, and errors name the field, never its value.
"""

import base64
import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec

from pykubelet.api.codec import InvalidField, convert
from pykubelet.api.meta import Obj
from pykubelet.api.yaml import YamlError, load_all
from pykubelet.base.files import read_limited
from pykubelet.base.proxies import parse_proxy

from .access import Access, ExecConfig, Pem

#: Bytes of a kubeconfig.
_LIMIT: Final = 4 << 20
#: The extension of a cluster whose value exec plug-ins are told.
_EXEC_EXTENSION: Final = "client.authentication.k8s.io/exec"
EXEC_VERSIONS: Final = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")

_N = TypeVar("_N", "_NamedCluster", "_NamedContext", "_NamedUser")


class KubeconfigError(Exception):
    """A kubeconfig that cannot be used; the text names the file and the field."""


# --- the file -----------------------------------------------------------------


class _Secret(Obj):
    """Base of what holds secrets."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class _NamedExtension(Obj):
    name: str = ""
    extension: Any = None


class _Cluster(Obj, rename=lambda name: name.replace("_", "-")):
    server: str = ""
    tls_server_name: str = ""
    insecure_skip_tls_verify: bool = False
    certificate_authority: str = ""
    certificate_authority_data: str = ""
    proxy_url: str = ""
    disable_compression: bool = False
    extensions: list[_NamedExtension] = []


class _NamedCluster(Obj):
    name: str = ""
    cluster: _Cluster = msgspec.field(default_factory=_Cluster)


class _Context(Obj):
    cluster: str = ""
    user: str = ""


class _NamedContext(Obj):
    name: str = ""
    context: _Context = msgspec.field(default_factory=_Context)


class ExecEnv(_Secret):
    """A variable for an exec plug-in."""

    name: str = ""
    value: str = ""


class _Exec(_Secret):
    command: str = ""
    args: list[str] = []
    env: list[ExecEnv] = []
    apiVersion: str = ""
    installHint: str = ""
    provideClusterInfo: bool = False
    interactiveMode: str = ""


class _User(_Secret):
    client_certificate: str = msgspec.field(default="", name="client-certificate")
    client_certificate_data: str = msgspec.field(default="", name="client-certificate-data")
    client_key: str = msgspec.field(default="", name="client-key")
    client_key_data: str = msgspec.field(default="", name="client-key-data")
    token: str = ""
    token_file: str = msgspec.field(default="", name="tokenFile")
    username: str = ""
    password: str = ""
    exec: _Exec | None = None
    auth_provider: Any = msgspec.field(default=None, name="auth-provider")
    as_user: str = msgspec.field(default="", name="as")
    as_uid: str = msgspec.field(default="", name="as-uid")
    as_groups: list[str] = msgspec.field(default_factory=list, name="as-groups")
    as_user_extra: dict[str, list[str]] = msgspec.field(default_factory=dict, name="as-user-extra")


class _NamedUser(_Secret):
    name: str = ""
    user: _User = msgspec.field(default_factory=_User)


class _Config(_Secret):
    kind: str = ""
    apiVersion: str = ""
    clusters: list[_NamedCluster] = []
    users: list[_NamedUser] = []
    contexts: list[_NamedContext] = []
    current_context: str = msgspec.field(default="", name="current-context")


# --- what it resolves to ------------------------------------------------------


def load(path: Path) -> Access:
    """Read the kubeconfig *path* and resolve its current context; blocking.

    :raises KubeconfigError: it cannot be read, or does not say enough.
    """
    try:
        data = read_limited(path, _LIMIT)
    except (OSError, ValueError) as error:
        raise KubeconfigError(f"unable to read kubeconfig: {error}") from error
    return parse(data, path)


def parse(data: bytes, path: Path) -> Access:
    """What the kubeconfig *data* says; *path* is where it stands: its relative paths begin there.

    :raises KubeconfigError: it does not say enough, or contradicts itself.
    """
    try:
        documents = load_all(data)
        config = convert(documents[0] if documents and documents[0] is not None else {}, _Config)
        return _resolve(config, path.parent)
    except (YamlError, InvalidField, _Wrong) as error:
        raise KubeconfigError(f"invalid kubeconfig {path}: {error}") from error


class _Wrong(ValueError):
    """Something that the file says; the text names the field."""


def _resolve(config: _Config, folder: Path) -> Access:
    if config.kind not in {"", "Config"} or config.apiVersion not in {"", "v1"}:
        raise _Wrong(f"{config.apiVersion}/{config.kind} is not v1/Config")
    contexts, users = _by_name(config.contexts, "contexts"), _by_name(config.users, "users")
    clusters = _by_name(config.clusters, "clusters")
    name = config.current_context
    if not name:
        raise _Wrong("current-context: no context has been set")
    if name not in contexts:
        raise _Wrong(f'current-context: context "{name}" does not exist')
    context = contexts[name].context
    if context.user not in users:
        raise _Wrong(f'contexts[{name}].context.user: user "{context.user}" was not found')
    if context.cluster not in clusters:
        raise _Wrong(f'contexts[{name}].context.cluster: cluster "{context.cluster}" was not found')
    cluster, user = clusters[context.cluster].cluster, users[context.user].user
    return _access(
        cluster, f"clusters[{context.cluster}].cluster", user, f"users[{context.user}].user", folder
    )


def _by_name(named: list[_N], field_name: str) -> dict[str, _N]:
    found: dict[str, _N] = {}
    for entry in named:
        if entry.name in found:
            raise _Wrong(f'{field_name}: duplicate name "{entry.name}" in list')
        found[entry.name] = entry
    return found


def _access(cluster: _Cluster, cluster_field: str, user: _User, user_field: str, folder: Path) -> Access:
    _check_user(user, user_field)
    ca = _pem(
        cluster.certificate_authority,
        cluster.certificate_authority_data,
        folder,
        f"{cluster_field}.certificate-authority-data",
    )
    if cluster.certificate_authority and cluster.certificate_authority_data:
        raise _Wrong(f"{cluster_field}: certificate-authority and certificate-authority-data are both given")
    if ca is not None and cluster.insecure_skip_tls_verify:
        raise _Wrong(
            f"{cluster_field}: a root certificate is not allowed together with insecure-skip-tls-verify"
        )
    tls = ca is not None or cluster.insecure_skip_tls_verify or bool(user.client_certificate)
    server = _server(cluster.server, cluster_field, tls=tls or bool(user.client_certificate_data))
    try:
        proxy = parse_proxy(cluster.proxy_url) if cluster.proxy_url else None
    except ValueError as error:
        raise _Wrong(f"{cluster_field}.proxy-url: {error}") from error
    access = Access(
        server=server,
        server_name=cluster.tls_server_name,
        ca=ca,
        insecure=cluster.insecure_skip_tls_verify,
        proxy=proxy,
        compression=not cluster.disable_compression,
        impersonation=_impersonation(user, user_field),
    )
    if not server.startswith("https:"):
        # As client-go: who we are is not told over a line that anybody can read.
        return access
    return _with_user(access, cluster, user, user_field, folder)


def _with_user(access: Access, cluster: _Cluster, user: _User, user_field: str, folder: Path) -> Access:
    return replace(
        access,
        certificate=_pem(
            user.client_certificate,
            user.client_certificate_data,
            folder,
            f"{user_field}.client-certificate-data",
        ),
        key=_pem(user.client_key, user.client_key_data, folder, f"{user_field}.client-key-data"),
        token=user.token,
        token_file=folder / user.token_file if user.token_file else None,
        username=user.username,
        password=user.password,
        exec=_exec(user.exec, cluster, access.server, folder) if user.exec is not None else None,
    )


def _pem(path: str, data: str, folder: Path, data_field: str) -> Pem | None:
    if data:
        return Pem(data=_decoded(data, data_field))
    return Pem(path=folder / path) if path else None


def _decoded(data: str, data_field: str) -> bytes:
    """Base64 as Go reads it: it may be broken into lines."""
    try:
        return base64.b64decode(data.replace("\r", "").replace("\n", ""), validate=True)
    except ValueError:
        raise _Wrong(f"{data_field}: not base64") from None


def _server(server: str, cluster_field: str, *, tls: bool) -> str:
    if not server:
        raise _Wrong(f"{cluster_field}.server: no server found")
    text = server if "://" in server else f"{'https' if tls else 'http'}://{server}"
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError as error:
        raise _Wrong(f"{cluster_field}.server: {error}") from error
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise _Wrong(f"{cluster_field}.server: must be a URL or a host:port pair")
    if parts.username is not None:
        raise _Wrong(f"{cluster_field}.server: a user in the URL is not supported")
    return f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"


def _check_user(user: _User, where: str) -> None:
    if user.auth_provider is not None:
        raise _Wrong(f"{where}.auth-provider: no longer supported, use an exec plug-in")
    if (user.token or user.token_file) and (user.username or user.password):
        raise _Wrong(f"{where}: a token and username/password are given, only one is allowed")
    if user.client_certificate or user.client_certificate_data:
        for name, both in (
            ("client-certificate", user.client_certificate and user.client_certificate_data),
            ("client-key", user.client_key and user.client_key_data),
        ):
            if both:
                raise _Wrong(f"{where}: {name} and {name}-data are both given")
        if not user.client_key and not user.client_key_data:
            raise _Wrong(f"{where}: client-key or client-key-data must be given with a client certificate")
    if user.exec is not None:
        _check_exec(user.exec, f"{where}.exec")


def _check_exec(plugin: _Exec, where: str) -> None:
    if not plugin.command:
        raise _Wrong(f"{where}.command: must be given")
    if plugin.apiVersion not in EXEC_VERSIONS:
        raise _Wrong(f'{where}.apiVersion: "{plugin.apiVersion}" is not one of {", ".join(EXEC_VERSIONS)}')
    if any(not variable.name for variable in plugin.env):
        raise _Wrong(f"{where}.env: a variable without a name")
    if not plugin.interactiveMode and plugin.apiVersion == EXEC_VERSIONS[0]:
        raise _Wrong(f"{where}.interactiveMode: must be given")
    if plugin.interactiveMode == "Always":
        raise _Wrong(f"{where}.interactiveMode: Always cannot be had: a node agent has no terminal")
    if plugin.interactiveMode not in {"", "Never", "IfAvailable"}:
        raise _Wrong(f'{where}.interactiveMode: "{plugin.interactiveMode}" is not Never or IfAvailable')


def _exec(plugin: _Exec, cluster: _Cluster, server: str, folder: Path) -> ExecConfig:
    return ExecConfig(
        # A bare name is looked for in PATH, a path begins where the file stands.
        command=str(folder / plugin.command) if os.sep in plugin.command else plugin.command,
        api_version=plugin.apiVersion,
        args=tuple(plugin.args),
        env=tuple((variable.name, variable.value) for variable in plugin.env),
        install_hint=plugin.installHint,
        cluster_info=_cluster_info(cluster, server, folder) if plugin.provideClusterInfo else None,
    )


def _cluster_info(cluster: _Cluster, server: str, folder: Path) -> dict[str, Any]:
    """client.authentication.k8s.io Cluster, less a CA that stands in a file: it is read when it is told."""
    info: dict[str, Any] = {"server": server}
    if cluster.tls_server_name:
        info["tls-server-name"] = cluster.tls_server_name
    if cluster.insecure_skip_tls_verify:
        info["insecure-skip-tls-verify"] = True
    if cluster.certificate_authority_data:
        info["certificate-authority-data"] = Pem(data=base64.b64decode(cluster.certificate_authority_data))
    elif cluster.certificate_authority:
        info["certificate-authority-data"] = Pem(path=folder / cluster.certificate_authority)
    if cluster.proxy_url:
        info["proxy-url"] = cluster.proxy_url
    if cluster.disable_compression:
        info["disable-compression"] = True
    for extension in cluster.extensions:
        if extension.name == _EXEC_EXTENSION:
            info["config"] = extension.extension
    return info


def _impersonation(user: _User, where: str) -> tuple[tuple[str, str], ...]:
    if not user.as_user:
        if user.as_uid or user.as_groups or user.as_user_extra:
            raise _Wrong(f"{where}: as-uid, as-groups or as-user-extra without as")
        return ()
    headers = [("Impersonate-User", user.as_user)]
    if user.as_uid:
        headers.append(("Impersonate-Uid", user.as_uid))
    headers += [("Impersonate-Group", group) for group in user.as_groups]
    for key, values in user.as_user_extra.items():
        headers += [(f"Impersonate-Extra-{_header_key(key)}", value) for value in values]
    return tuple(headers)


def _header_key(key: str) -> str:
    """A key of user-extra as a header may bear it: what is no token's character is percent-encoded."""
    allowed = "!#$&'*+-.^_`|~"
    return "".join(
        chr(byte) if chr(byte).isascii() and (chr(byte).isalnum() or chr(byte) in allowed) else f"%{byte:02X}"
        for byte in key.encode()
    )
