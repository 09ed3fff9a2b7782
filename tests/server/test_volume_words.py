"""What is said of a volume that a pod waits for, or that gives it trouble."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pykubelet.api.volume_usage import VolumeUsage
from pykubelet.server.doors import VolumeView
from pykubelet.server.volume_words import trouble, waits


@pytest.mark.parametrize(
    ("view", "words"),
    [
        (
            VolumeView("data", "", "impossible", error="no such kind"),
            "for 0s, no such kind",
        ),
        (
            VolumeView("data", "p", "waiting", 9.6, 4, "busy", 2.4, step="stage"),
            "for 10s, stage failed 4 times, the last error is: busy, next try in 2s",
        ),
        (
            VolumeView("data", "p", "attaching", waits_for="x", error="full"),
            "for 0s, waits for x, full",
        ),
        (VolumeView("data", "p", "staging", 3.0), "for 3s"),
    ],
)
def test_words(view, words):
    assert waits(view) == f"volume data: {view.state} {words}"


def test_what_is_behind():
    view = VolumeView("data", "p", "mounting", claim="shop/data")
    assert waits(view) == "volume data (claim shop/data): mounting for 0s"


NOW = datetime(2026, 1, 1, tzinfo=UTC)
ROOMY = VolumeUsage(NOW - timedelta(seconds=20), 1 << 30, 10 << 30, 9 << 30, 1000, 10, 990)
CLAIM = VolumeView("data", "p", "mounted", claim="shop/data")
OWN = VolumeView("own", "kubernetes.io/empty-dir", "mounted")


@pytest.mark.parametrize(
    ("view", "usage", "words"),
    [
        (CLAIM, None, ""),
        (CLAIM, ROOMY, ""),
        (CLAIM, {"available_bytes": 512 << 20}, ""),
        (
            CLAIM,
            {"available_bytes": 500 << 20},
            "volume data (claim shop/data): 500.0 MiB of 10.0 GiB are free",
        ),
        (OWN, {"available_bytes": 0}, "volume own: 0 B of 10.0 GiB are free"),
        (OWN, {"inodes_free": 49}, "volume own: 49 of 1000 inodes are free"),
        (
            OWN,
            {"available_bytes": 5, "inodes_free": 0},
            "volume own: 5 B of 10.0 GiB are free, 0 of 1000 inodes are free",
        ),
        # A device tells its size alone, and some file systems have as many inodes as they want.
        (CLAIM, {"available_bytes": None, "inodes": 0, "inodes_free": 0}, ""),
        (CLAIM, {"abnormal": True, "message": "old"}, "volume data (claim shop/data): its driver says: old"),
        (CLAIM, {"abnormal": False, "message": "fine"}, ""),
        # Nobody writes there but the kubelet.
        (VolumeView("conf", "kubernetes.io/configmap", "mounted"), {"available_bytes": 0}, ""),
    ],
)
def test_trouble(view, usage, words):
    usage = replace(ROOMY, **usage) if isinstance(usage, dict) else usage
    told = trouble(replace(view, usage=usage), NOW)
    assert told == (f"{words} (measured 20s ago)" if words else "")
