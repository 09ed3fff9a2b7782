"""What is said of a volume that a pod waits for."""

import pytest

from pykubelet.server.doors import VolumeView
from pykubelet.server.volume_words import waits


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
