"""What describe says of how full a volume is."""

from datetime import UTC, datetime

import pytest

from pykubelet.cli.description import describe_pod
from pykubelet.cli.volume_usage import usage_words

NOW = datetime(2026, 1, 1, 12, 0, 42, tzinfo=UTC)
USAGE = {
    "time": "2026-01-01T12:00:00.5Z",
    "used_bytes": 1536,
    "capacity_bytes": 10 << 20,
    "available_bytes": 10484224,
    "inodes": 2560,
    "inodes_used": 12,
    "inodes_free": 2548,
    "unfinished": "",
    "abnormal": None,
    "message": "",
}


@pytest.mark.parametrize(
    ("told", "words"),
    [
        (
            {},
            [
                "Used: 1.5 KiB of 10.0 MiB, 10.0 MiB free",
                "Inodes: 12 of 2560, 2548 free",
                "Measured: 41s ago",
            ],
        ),
        (
            {"unfinished": "it took more than 60 s"},
            [
                "Used: at least 1.5 KiB of 10.0 MiB, 10.0 MiB free",
                "Inodes: at least 12 of 2560, 2548 free",
                "Measured: 41s ago, not to the end: it took more than 60 s",
            ],
        ),
        # A device.
        (
            {"used_bytes": None, "available_bytes": None, "inodes": None},
            ["Size: 10.0 MiB", "Measured: 41s ago"],
        ),
        # A device, in the words of a driver.
        ({"used_bytes": 0, "available_bytes": 0, "inodes": 0}, ["Size: 10.0 MiB", "Measured: 41s ago"]),
        # One that is empty.
        (
            {"used_bytes": 0, "available_bytes": 10 << 20, "inodes": 0},
            ["Used: 0 B of 10.0 MiB, 10.0 MiB free", "Measured: 41s ago"],
        ),
        (
            {"inodes": 0, "abnormal": True, "message": "ill"},
            ["Used: 1.5 KiB of 10.0 MiB, 10.0 MiB free", "Measured: 41s ago", "Condition: abnormal: ill"],
        ),
        (
            {"inodes": 0, "abnormal": False, "message": "fine"},
            ["Used: 1.5 KiB of 10.0 MiB, 10.0 MiB free", "Measured: 41s ago", "Condition: normal"],
        ),
    ],
)
def test_words(told, words):
    assert [f"{title}: {text}" for title, text in usage_words({**USAGE, **told}, NOW)] == words


def test_a_volume_that_was_not_measured():
    assert list(usage_words({}, NOW)) == []


def test_it_stands_below_its_volume():
    spec = {"volumes": [{"name": "own", "emptyDir": {}}], "containers": []}
    pod = {"metadata": {"name": "web"}, "spec": spec, "status": {}}
    told = {"volume": "own", "state": "mounted", "usage": USAGE}
    lines = describe_pod({"pod": pod, "volumes": [told]}, NOW)
    at = lines.index("  own:")
    assert lines[at + 2 : at + 6] == [
        "    State:      mounted",
        "    Used:       1.5 KiB of 10.0 MiB, 10.0 MiB free",
        "    Inodes:     12 of 2560, 2548 free",
        "    Measured:   41s ago",
    ]
    untold = {"volume": "own", "state": "mounted", "usage": None}
    assert "Measured" not in "\n".join(describe_pod({"pod": pod, "volumes": [untold]}, NOW))
