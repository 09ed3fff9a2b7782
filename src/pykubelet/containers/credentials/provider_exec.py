"""One question to a credential provider plug-in: JSON to its standard input, JSON from its output.

CredentialProviderRequest and CredentialProviderResponse of credentialprovider.kubelet.k8s.io.
"""

from collections.abc import Mapping, Sequence
from typing import Final

from pykubelet.api.codec import InvalidField, decode, strict_problems
from pykubelet.api.meta import Obj
from pykubelet.base.duration import Duration
from pykubelet.base.gotext import go_json
from pykubelet.base.processes import run

#: Seconds that a plug-in may take, bytes that it may print, and characters of its complaint that are told.
TIMEOUT: Final = 60.0
_LIMIT: Final = 1 << 20
_TOLD: Final = 1024


class PluginError(Exception):
    """The plug-in gave no login; the text tells no secret. *run*: it did not even end well."""

    def __init__(self, text: str, *, run: bool = False) -> None:
        super().__init__(text)
        self.run = run


class AuthConfig(Obj):
    """A login; its repr tells nothing."""

    username: str = ""
    password: str = ""

    def __repr__(self) -> str:
        return "AuthConfig(...)"


class Response(Obj):
    """A plug-in's answer."""

    apiVersion: str = ""
    kind: str = ""
    cacheKeyType: str = ""
    cacheDuration: Duration | None = None
    auth: dict[str, AuthConfig] = {}


class _Kind(Obj):
    apiVersion: str = ""
    kind: str = ""


def request(api_version: str, image: str, token: str, annotations: Mapping[str, str]) -> bytes:
    """What the plug-in reads; versions before v1 know no service accounts."""
    body: dict[str, object] = {
        "kind": "CredentialProviderRequest",
        "apiVersion": api_version,
        "image": image,
    }
    if api_version.endswith("/v1"):
        if token:
            body["serviceAccountToken"] = token
        if annotations:
            body["serviceAccountAnnotations"] = dict(sorted(annotations.items()))
    return go_json(body).encode() + b"\n"


def read(output: bytes, api_version: str) -> Response:
    """The answer in *output*.

    :raises PluginError: it is none.
    """
    try:
        kind = decode(output, _Kind)
    except InvalidField:
        raise PluginError("error reading GVK from response: it is not a JSON object") from None
    if kind.apiVersion != api_version:
        raise PluginError(
            "apiVersion from credential plugin response did not match expected "
            f"apiVersion:{api_version}, actual apiVersion:{kind.apiVersion}"
        )
    # The reason is not told: it might quote a password.
    bad = "error decoding credential provider plugin response from stdout"
    try:
        found = decode(output, Response)
        problems = strict_problems(output, Response)
    except InvalidField:
        raise PluginError(bad) from None
    if kind.kind != "CredentialProviderResponse" or problems:
        raise PluginError(bad)
    return found


async def ask(
    command: Sequence[str],
    environ: Mapping[str, str],
    api_version: str,
    image: str,
    *,
    token: str = "",
    annotations: Mapping[str, str] | None = None,
    timeout: float = TIMEOUT,
) -> Response:
    """Run the plug-in for *image*.

    :raises PluginError: it failed.
    """
    name = command[0].rpartition("/")[2]
    failed = f"error execing credential provider plugin {name} for image {image}"
    try:
        ended = await run(
            command,
            environ,
            timeout=timeout,
            limit=_LIMIT,
            stdin=request(api_version, image, token, annotations or {}),
            keep_errors=True,
        )
    except TimeoutError:
        raise PluginError(f"{failed}: context deadline exceeded", run=True) from None
    except (OSError, ValueError) as error:
        raise PluginError(f"{failed}: {error}", run=True) from error
    if ended.code != 0:
        how = f"exit status {ended.code}" if ended.code > 0 else f"signal: {-ended.code}"
        said = ended.errors.decode(errors="replace")
        if token:
            said = said.replace(token, "<token>")
        said = said[:_TOLD].rstrip()
        raise PluginError(f"{failed}: {how}: {said}", run=True)
    return read(ended.output, api_version)
