"""Speaking to the local daemon over its admin socket: finding it, asking, following. Blocks."""

import http.client
import json
import os
import socket
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

import click

from pykubelet.base.layout import RUN_DIR_VARIABLE, Layout

#: Names the socket itself; :data:`~pykubelet.base.layout.RUN_DIR_VARIABLE` names its directory.
SOCKET_VARIABLE = "PYKUBELET_SOCKET"
#: Seconds for an ordinary answer.
TIMEOUT = 15.0
_BODY_LIMIT = 256 << 20
#: Where daemons of ``up --dir`` have their sockets.
_OTHERS = "pykubelet-*/admin.sock"

#: An object of the API as its JSON.
Object = Mapping[str, Any]


class Refused(click.ClickException):
    """The daemon's own error text."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message.strip() or f"the daemon answered with status {status}")
        self.status = status


def find_socket(flag: str = "", environment: Mapping[str, str] | None = None) -> Path:
    """The admin socket: the flag's, the environment's, the usual place, or the only other one there.

    :raises click.ClickException: several daemons run and none is named.
    """
    environment = os.environ if environment is None else environment
    if flag:
        return Path(flag)
    if environment.get(SOCKET_VARIABLE):
        return Path(environment[SOCKET_VARIABLE])
    if environment.get(RUN_DIR_VARIABLE):
        return Path(environment[RUN_DIR_VARIABLE]) / "admin.sock"
    usual = Layout(root=Path("/")).admin_socket
    if usual.exists():
        return usual
    others = sorted(path for path in usual.parent.parent.glob(_OTHERS) if _is_socket(path))
    if len(others) > 1:
        shown = "\n  ".join(map(str, others))
        raise click.ClickException(f"several daemons run here, name one with --socket:\n  {shown}")
    return others[0] if others else usual


def _is_socket(path: Path) -> bool:
    try:
        return stat.S_ISSOCK(path.lstat().st_mode)
    except OSError:
        return False


def unreachable(path: Path, error: OSError) -> click.ClickException:
    """Why nobody answers at *path*, and what to do."""
    if isinstance(error, PermissionError):
        return click.ClickException(f"{path}: permission denied; only root may speak to the daemon")
    if isinstance(error, FileNotFoundError | ConnectionRefusedError):
        return click.ClickException(
            f"no daemon answers at {path}; is it running? (start one with `pykubelet up` or "
            f"`pykubelet run`, or name its socket with --socket or ${SOCKET_VARIABLE})"
        )
    return click.ClickException(f"the daemon cannot be reached at {path}: {error}")


def path_of(*steps: str, **query: str | list[str]) -> str:
    """A request's path: every step quoted, queries in order."""
    path = "/" + "/".join(quote(step, safe="") for step in steps)
    text = urlencode({key: value for key, value in query.items() if value}, doseq=True)
    return f"{path}?{text}" if text else path


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float | None) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


class AdminClient:
    """The daemon as the command line sees it."""

    def __init__(self, path: Path, *, timeout: float = TIMEOUT) -> None:
        self.path = path
        self._timeout = timeout

    def get(self, path: str) -> Any:
        """The JSON at *path*.

        :raises Refused: the daemon says no.
        :raises click.ClickException: it cannot be reached.
        """
        return self.ask("GET", path)[1]

    def ask(self, method: str, path: str, body: bytes | None = None) -> tuple[int, Any]:
        """Status (200 or 201) and JSON of the answer to any request.

        :raises Refused: the daemon says no.
        :raises click.ClickException: it cannot be reached.
        """
        connection = _Connection(self.path, self._timeout)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            said = answer.read(_BODY_LIMIT)
        except (OSError, http.client.HTTPException) as error:
            raise self._failed(error) from error
        finally:
            connection.close()
        if answer.status not in (http.client.OK, http.client.CREATED):
            raise Refused(answer.status, said.decode(errors="replace"))
        try:
            return answer.status, json.loads(said)
        except ValueError as error:
            raise click.ClickException(f"the daemon's answer is not JSON: {error}") from error

    def stream(self, path: str) -> Iterator[bytes]:
        """What comes at *path*, as it comes.

        :raises Refused: the daemon says no.
        :raises click.ClickException: it cannot be reached, or is gone in the middle.
        """
        connection = _Connection(self.path, None)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            if answer.status != http.client.OK:
                raise Refused(answer.status, answer.read(1 << 20).decode(errors="replace"))
            while block := answer.read1(1 << 16):
                yield block
        except (OSError, http.client.HTTPException) as error:
            raise self._failed(error) from error
        finally:
            connection.close()

    def _failed(self, error: OSError | http.client.HTTPException) -> click.ClickException:
        if isinstance(error, http.client.HTTPException):
            return click.ClickException(f"the daemon ended the connection: {error}")
        return unreachable(self.path, error)

    # --- pods -----------------------------------------------------------------

    def pods(self, namespace: str = "") -> list[Object]:
        """All pods (of *namespace*, if given) by namespace and name."""
        items: list[Object] = self.get("/pods").get("items") or []
        chosen = [pod for pod in items if not namespace or _meta(pod).get("namespace") == namespace]
        return sorted(chosen, key=lambda pod: (_meta(pod).get("namespace", ""), _meta(pod).get("name", "")))

    def find_pod(self, namespace: str, name: str) -> Object:
        """The pod of that name; a static pod's may lack the node's name at its end.

        :raises click.ClickException: there is none, or several are meant.
        """
        pods = self.pods(namespace)
        exact = [pod for pod in pods if _meta(pod).get("name") == name]
        if exact:
            return exact[0]
        found = [pod for pod in pods if short_name(pod) == name]
        if len(found) > 1:
            names = ", ".join(str(_meta(pod)["name"]) for pod in found)
            raise click.ClickException(f'"{name}" may be any of: {names}')
        if not found:
            raise click.ClickException(f'pods "{name}" not found in namespace "{namespace}"')
        return found[0]


def _meta(pod: Object) -> Mapping[str, Any]:
    found: Mapping[str, Any] = pod.get("metadata") or {}
    return found


def short_name(pod: Object) -> str:
    """A static pod's name as its manifest has it: without the node's name."""
    name = str(_meta(pod).get("name", ""))
    source = (_meta(pod).get("annotations") or {}).get("kubernetes.io/config.source", "api")
    node = (pod.get("spec") or {}).get("nodeName", "")
    return name.removesuffix(f"-{node}") if node and source != "api" else name


def default_container(pod: Object, name: str = "") -> str:
    """The container that is meant when none is named, as kubectl chooses it.

    :raises click.ClickException: the pod has no container *name*, or none at all.
    """
    spec = pod.get("spec") or {}
    kinds = ("containers", "initContainers", "ephemeralContainers")
    names = [container["name"] for kind in kinds for container in spec.get(kind) or []]
    if name:
        if name in names:
            return name
        raise click.ClickException(
            f"container {name} not found in pod {_meta(pod).get('name')}; it has: {', '.join(names)}"
        )
    wanted = (_meta(pod).get("annotations") or {}).get("kubectl.kubernetes.io/default-container", "")
    if wanted in names and wanted:
        return str(wanted)
    if not names:
        raise click.ClickException(f"pod {_meta(pod).get('name')} has no containers")
    return str(names[0])


def container_spec(pod: Object, name: str) -> Object:
    """The spec of the pod's container of that name; empty if there is none."""
    spec = pod.get("spec") or {}
    for kind in ("containers", "initContainers", "ephemeralContainers"):
        for container in spec.get(kind) or []:
            if container["name"] == name:
                found: Object = container
                return found
    return {}
