"""What ``up`` shows of the pods, from the daemon's own pod list."""

import http.client
import json
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: Pods as the API's JSON: whatever is missing is shown as nothing.
Pod = Mapping[str, Any]


class DaemonSilent(Exception):
    """The daemon's admin socket does not answer, or not with a pod list."""


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = str(path)

    def connect(self) -> None:
        """Connect to the socket instead of a host."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def fetch_pods(admin_socket: Path, timeout: float = 5.0) -> list[Pod]:
    """The pods that the daemon has now; blocking.

    :raises DaemonSilent: no answer within *timeout* seconds, or a strange one.
    """
    connection = _UnixConnection(admin_socket, timeout)
    try:
        connection.request("GET", "/pods")
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != http.client.OK:
            raise DaemonSilent(f"GET /pods: {answer.status} {answer.reason}")
        items = json.loads(body).get("items") or []
        return sorted(items, key=lambda pod: str(pod.get("metadata", {}).get("name", "")))
    except (OSError, http.client.HTTPException, ValueError, AttributeError) as error:
        raise DaemonSilent(f"{admin_socket}: {error}") from error
    finally:
        connection.close()


@dataclass(frozen=True, slots=True)
class Row:
    """One pod of the table."""

    name: str
    ready: str
    status: str
    restarts: int
    ip: str
    steady: bool


_BACKING_OFF = frozenset({"CrashLoopBackOff", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"})


def _waiting(statuses: Sequence[Mapping[str, Any]]) -> str:
    """The first reason that a container gives for not running."""
    for status in statuses:
        state = status.get("state") or {}
        reason = (state.get("waiting") or {}).get("reason") or (
            (state.get("terminated") or {}).get("reason") if not status.get("ready") else ""
        )
        if reason and reason != "PodInitializing":
            return str(reason)
    return ""


def row(pod: Pod) -> Row:
    """What the table says of *pod*; steady means that nothing more is expected soon."""
    status = pod.get("status") or {}
    spec = pod.get("spec") or {}
    main = status.get("containerStatuses") or []
    sidecar_names = {
        c["name"] for c in spec.get("initContainers") or [] if c.get("restartPolicy") == "Always"
    }
    init = status.get("initContainerStatuses") or []
    counted = [*main, *(s for s in init if s.get("name") in sidecar_names)]
    ready = sum(bool(s.get("ready")) for s in counted)
    total = len(spec.get("containers") or []) + len(sidecar_names)
    phase = str(status.get("phase") or "Pending")
    over = phase in {"Succeeded", "Failed"}
    reason = "Completed" if phase == "Succeeded" else str(status.get("reason") or "")
    reason = (
        reason or _waiting(main) or (phase if over else _waiting([s for s in init if not s.get("ready")]))
    )
    return Row(
        name=str(pod.get("metadata", {}).get("name", "")),
        ready=f"{ready}/{total}",
        status=reason or phase,
        restarts=sum(int(s.get("restartCount") or 0) for s in counted),
        ip=str(status.get("podIP") or ""),
        steady=over or reason in _BACKING_OFF or (phase == "Running" and ready == total),
    )
