"""Pods as rows of a table, as kubectl prints them. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

Object = Mapping[str, Any]

COLUMNS = ("NAME", "READY", "STATUS", "RESTARTS", "AGE")
WIDE = ("IP", "NODE", "NOMINATED NODE", "READINESS GATES")


def moment(text: str | None) -> datetime | None:
    """A time of the API; None if there is none."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)
    except ValueError:
        return None


def human_duration(seconds: float) -> str:
    """A span as kubectl shows ages: two units at most, fewer the longer it is."""
    whole = int(seconds)
    if seconds < -1:
        return "<invalid>"
    if whole < 0:
        return "0s"
    minutes, hours, days = whole // 60, whole // 3600, whole // 86400
    years = days // 365
    if whole < 120:
        return f"{whole}s"
    if minutes < 10:
        return f"{minutes}m" if whole % 60 == 0 else f"{minutes}m{whole % 60}s"
    if minutes < 180:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h" if minutes % 60 == 0 else f"{hours}h{minutes % 60}m"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d" if hours % 24 == 0 else f"{days}d{hours % 24}h"
    if days < 730:
        return f"{days}d"
    if years < 8:
        return f"{years}y" if days % 365 == 0 else f"{years}y{days % 365}d"
    return f"{years}y"


def age(text: str | None, now: datetime) -> str:
    """How long ago a time of the API was."""
    then = moment(text)
    return "<unknown>" if then is None else human_duration((now - then).total_seconds())


@dataclass(frozen=True, slots=True)
class PodRow:
    """One line of ``get pods``."""

    namespace: str
    name: str
    ready: str
    status: str
    restarts: str
    age: str
    ip: str
    node: str
    nominated: str
    gates: str

    def cells(self, *, wide: bool, namespace: bool) -> list[str]:
        """What is printed, in the columns' order."""
        cells = [self.name, self.ready, self.status, self.restarts, self.age]
        if wide:
            cells += [self.ip, self.node, self.nominated, self.gates]
        return [self.namespace, *cells] if namespace else cells


def _state(status: Object, which: str = "state") -> tuple[str, Mapping[str, Any]]:
    state = status.get(which) or {}
    for kind in ("waiting", "running", "terminated"):
        if state.get(kind) is not None:
            return kind, state[kind]
    return "", {}


def _ended(ended: Object) -> str:
    if ended.get("reason"):
        return str(ended["reason"])
    if ended.get("signal"):
        return f"Signal:{ended['signal']}"
    return f"ExitCode:{ended.get('exitCode', 0)}"


class _Restarts:
    """How often containers were restarted, and when last."""

    def __init__(self) -> None:
        self.count = 0
        self.last: datetime | None = None

    def add(self, status: Object) -> None:
        self.count += int(status.get("restartCount") or 0)
        _, ended = _state(status, "lastState")
        finished = moment(ended.get("finishedAt"))
        if finished is not None and (self.last is None or finished > self.last):
            self.last = finished

    def text(self, now: datetime) -> str:
        if self.count and self.last is not None:
            return f"{self.count} ({human_duration((now - self.last).total_seconds())} ago)"
        return str(self.count)


def pod_row(pod: Object, now: datetime) -> PodRow:
    """The row of *pod* at the moment *now*."""
    meta, spec, status = (pod.get(part) or {} for part in ("metadata", "spec", "status"))
    sidecars = {c["name"] for c in spec.get("initContainers") or [] if c.get("restartPolicy") == "Always"}
    total = len(spec.get("containers") or []) + len(sidecars)
    reason, ready, restarts = _reason(pod, sidecars)
    ips = status.get("podIPs") or []
    gates = spec.get("readinessGates") or []
    met = {c.get("type") for c in status.get("conditions") or [] if c.get("status") == "True"}
    passed = sum(gate.get("conditionType") in met for gate in gates)
    return PodRow(
        namespace=str(meta.get("namespace", "")),
        name=str(meta.get("name", "")),
        ready=f"{ready}/{total}",
        status=reason,
        restarts=restarts.text(now),
        age=age(meta.get("creationTimestamp") or status.get("startTime"), now),
        ip=str((ips[0].get("ip") if ips else status.get("podIP")) or "<none>"),
        node=str(spec.get("nodeName") or "<none>"),
        nominated=str(status.get("nominatedNodeName") or "<none>"),
        gates=f"{passed}/{len(gates)}" if gates else "<none>",
    )


def _reason(pod: Object, sidecars: set[str]) -> tuple[str, int, _Restarts]:
    """What the STATUS column says, how many containers are ready, and the restarts that count."""
    meta, spec, status = (pod.get(part) or {} for part in ("metadata", "spec", "status"))
    reason = str(status.get("reason") or status.get("phase") or "Unknown")
    conditions = {c.get("type"): c for c in status.get("conditions") or []}
    if conditions.get("PodScheduled", {}).get("reason") == "SchedulingGated":
        reason = "SchedulingGated"
    ready = 0
    restarts, of_sidecars = _Restarts(), _Restarts()
    initializing = False
    planned = len(spec.get("initContainers") or [])
    for index, one in enumerate(status.get("initContainerStatuses") or []):
        restarts.add(one)
        kind, facts = _state(one)
        if one["name"] in sidecars:
            of_sidecars.add(one)
            if one.get("started"):
                ready += bool(one.get("ready"))
                continue
        if kind == "terminated" and not facts.get("exitCode"):
            continue
        initializing = True
        if kind == "terminated":
            reason = f"Init:{_ended(facts)}"
        elif kind == "waiting" and facts.get("reason") not in (None, "", "PodInitializing"):
            reason = f"Init:{facts['reason']}"
        else:
            reason = f"Init:{index}/{planned}"
        break
    initialized = conditions.get("Initialized", {}).get("status") == "True"
    if not initializing or initialized:
        restarts, main_ready, reason = _main(status, of_sidecars, reason)
        ready += main_ready
        if reason == "Completed" and main_ready:
            reason = "Running" if conditions.get("Ready", {}).get("status") == "True" else "NotReady"
    if meta.get("deletionTimestamp"):
        reason = "Unknown" if status.get("reason") == "NodeLost" else _terminating(status, reason)
    return reason, ready, restarts


def _terminating(status: Object, reason: str) -> str:
    return reason if status.get("phase") in ("Succeeded", "Failed") else "Terminating"


def _main(status: Object, restarts: _Restarts, reason: str) -> tuple[_Restarts, int, str]:
    """What the regular containers add; the first one that is in trouble names the reason."""
    running = 0
    for one in reversed(status.get("containerStatuses") or []):
        restarts.add(one)
        kind, facts = _state(one)
        if kind == "waiting" and facts.get("reason"):
            reason = str(facts["reason"])
        elif kind == "terminated":
            reason = _ended(facts)
        elif kind == "running" and one.get("ready"):
            running += 1
    return restarts, running, reason


def table(header: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[int] = ()) -> list[str]:
    """Lines in columns, three blanks apart, as kubectl's; *widths* are the least widths."""
    columns = list(zip(header, *rows, strict=True))
    least = [*widths, *[0] * len(columns)]
    sizes = [max(least[index], *map(len, column)) for index, column in enumerate(columns)]
    return [
        "   ".join(cell.ljust(size) for cell, size in zip(line, sizes, strict=True)).rstrip()
        for line in (header, *rows)
    ]
