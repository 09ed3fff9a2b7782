from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pykubelet.cli.podrows import human_duration, pod_row, table

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def ago(seconds: float) -> str:
    return (NOW - timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def status(name: str = "main", **fields: Any) -> dict[str, Any]:
    return {"name": name, "ready": False, "restartCount": 0, "state": {}} | fields


RUNNING = {"running": {"startedAt": ago(60)}}


def waiting(reason: str) -> dict[str, Any]:
    return {"waiting": {"reason": reason}}


def ended(code: int = 0, reason: str = "", signal: int = 0) -> dict[str, Any]:
    return {"terminated": {"exitCode": code, "reason": reason, "signal": signal, "finishedAt": ago(30)}}


def pod(
    main: list[dict[str, Any]],
    init: list[dict[str, Any]] | None = None,
    *,
    phase: str = "Running",
    sidecars: tuple[str, ...] = (),
    conditions: dict[str, str] | None = None,
    **meta: Any,
) -> dict[str, Any]:
    init = init or []
    return {
        "metadata": {"name": "web", "namespace": "default", **meta},
        "spec": {
            "nodeName": "node1",
            "containers": [{"name": one["name"]} for one in main],
            "initContainers": [
                {"name": one["name"], **({"restartPolicy": "Always"} if one["name"] in sidecars else {})}
                for one in init
            ],
        },
        "status": {
            "phase": phase,
            "startTime": ago(60),
            "podIPs": [{"ip": "10.0.0.1"}],
            "containerStatuses": main,
            "initContainerStatuses": init,
            "conditions": [{"type": kind, "status": value} for kind, value in (conditions or {}).items()],
        },
    }


INITIALIZED = {"Initialized": "True", "Ready": "True"}


@pytest.mark.parametrize(
    ("given", "ready", "shown"),
    [
        (pod([status(state=RUNNING, ready=True)]), "1/1", "Running"),
        (pod([status(state=RUNNING)]), "0/1", "Running"),
        (pod([status(state=waiting("ContainerCreating"))], phase="Pending"), "0/1", "ContainerCreating"),
        (pod([status(state=waiting("CrashLoopBackOff"))]), "0/1", "CrashLoopBackOff"),
        (pod([status(state=ended(0, "Completed"))], phase="Succeeded"), "0/1", "Completed"),
        (pod([status(state=ended(1, "Error"))], phase="Failed"), "0/1", "Error"),
        (pod([status(state=ended(3))], phase="Failed"), "0/1", "ExitCode:3"),
        (pod([status(state=ended(137, signal=9))], phase="Failed"), "0/1", "Signal:9"),
        (pod([status("a", state=ended(0, "Completed")), status("b", state=RUNNING, ready=True)],
             conditions=INITIALIZED), "1/2", "Running"),
        (pod([status("a", state=ended(0, "Completed")), status("b", state=RUNNING, ready=True)]),
         "1/2", "NotReady"),
        (pod([status(state=waiting("PodInitializing"))], [status("one", state=RUNNING), status("two")],
             phase="Pending"), "0/1", "Init:0/2"),
        (pod([status(state=waiting("PodInitializing"))],
             [status("one", state=ended(0, "Completed")), status("two", state=RUNNING)], phase="Pending"),
         "0/1", "Init:1/2"),
        (pod([status()], [status("one", state=ended(1, "Error"))], phase="Pending"), "0/1", "Init:Error"),
        (pod([status()], [status("one", state=waiting("CrashLoopBackOff"))], phase="Pending"), "0/1",
         "Init:CrashLoopBackOff"),
        (pod([status(state=RUNNING, ready=True)], [status("side", state=RUNNING, ready=True, started=True)],
             sidecars=("side",), conditions=INITIALIZED), "2/2", "Running"),
        (pod([status(state=RUNNING, ready=True)], deletionTimestamp=ago(1)), "1/1", "Terminating"),
        (pod([status(state=ended(0, "Completed"))], phase="Succeeded", deletionTimestamp=ago(1)),
         "0/1", "Completed"),
        (pod([], phase="Failed") | {"status": {"phase": "Failed", "reason": "NodeAffinity"}},
         "0/0", "NodeAffinity"),
        ({"metadata": {"name": "x"}}, "0/0", "Unknown"),
    ],
)  # fmt: skip
def test_ready_and_status(given: dict[str, Any], ready: str, shown: str) -> None:
    row = pod_row(given, NOW)
    assert (row.ready, row.status) == (ready, shown)


def test_restarts_and_the_rest() -> None:
    given = pod([status(state=RUNNING, ready=True, restartCount=3, lastState=ended(1, "Error"))])
    row = pod_row(given, NOW)
    assert row.cells(wide=True, namespace=True) == [
        "default", "web", "1/1", "Running", "3 (30s ago)", "60s", "10.0.0.1", "node1", "<none>", "<none>",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (-5, "<invalid>"), (-0.5, "0s"), (0, "0s"), (119, "119s"), (120, "2m"), (125, "2m5s"), (600, "10m"),
        (10799, "179m"), (10800, "3h"), (3600 * 5 + 60, "5h1m"), (3600 * 9 + 60, "9h"), (3600 * 47, "47h"),
        (86400 * 2, "2d"), (86400 * 2 + 3600, "2d1h"), (86400 * 9 + 3600, "9d"), (86400 * 729, "729d"),
        (86400 * 730, "2y"), (86400 * 731, "2y1d"), (86400 * 365 * 9, "9y"),
    ],
)  # fmt: skip
def test_ages(seconds: float, shown: str) -> None:
    assert human_duration(seconds) == shown


def test_tables_have_columns_three_blanks_apart() -> None:
    assert table(("NAME", "READY"), [("a", "1/1"), ("longer", "0/1")]) == [
        "NAME     READY",
        "a        1/1",
        "longer   0/1",
    ]
