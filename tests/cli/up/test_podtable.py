"""The table of pods, and the pod list as read from the admin socket."""

from pathlib import Path

import pytest

from pykubelet.cli.up.podtable import DaemonSilent, Row, fetch_pods, row


def _pod(
    phase: str, statuses: list[dict], *, init: list[dict] | None = None, spec: dict | None = None
) -> dict:
    return {
        "metadata": {"name": "p"},
        "spec": spec or {"containers": [{"name": "c"}]},
        "status": {
            "phase": phase,
            "podIP": "10.1.1.1",
            "containerStatuses": statuses,
            "initContainerStatuses": init,
        },
    }


RUNNING = {"name": "c", "ready": True, "restartCount": 1, "state": {"running": {}}}
CRASHED = {
    "name": "c",
    "ready": False,
    "restartCount": 3,
    "state": {"waiting": {"reason": "CrashLoopBackOff"}},
}
CREATING = {"name": "c", "ready": False, "state": {"waiting": {"reason": "ContainerCreating"}}}
SIDECAR = {
    "containers": [{"name": "c"}],
    "initContainers": [{"name": "i"}, {"name": "s", "restartPolicy": "Always"}],
}


@pytest.mark.parametrize(
    ("pod", "expected"),
    [
        (_pod("Running", [RUNNING]), Row("p", "1/1", "Running", 1, "10.1.1.1", True)),
        (_pod("Running", [CRASHED]), Row("p", "0/1", "CrashLoopBackOff", 3, "10.1.1.1", True)),
        (_pod("Pending", [CREATING]), Row("p", "0/1", "ContainerCreating", 0, "10.1.1.1", False)),
        (_pod("Succeeded", []), Row("p", "0/1", "Completed", 0, "10.1.1.1", True)),
        (
            _pod("Running", [RUNNING], init=[{"name": "s", "ready": True, "restartCount": 2}], spec=SIDECAR),
            Row("p", "2/2", "Running", 3, "10.1.1.1", True),
        ),
        ({}, Row("", "0/0", "Pending", 0, "", False)),
    ],
)
def test_a_pod_as_a_row(pod: dict, expected: Row) -> None:
    assert row(pod) == expected


def test_no_socket_is_told(tmp_path: Path) -> None:
    with pytest.raises(DaemonSilent, match=r"admin\.sock"):
        fetch_pods(tmp_path / "admin.sock")
