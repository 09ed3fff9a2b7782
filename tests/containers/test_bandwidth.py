"""Limits of a pod's traffic that no runtime takes."""

import pytest

from pykubelet.containers.bandwidth import check_bandwidth

INGRESS, EGRESS = "kubernetes.io/ingress-bandwidth", "kubernetes.io/egress-bandwidth"


@pytest.mark.parametrize(
    "annotations", [{}, {"other": "fast"}, {INGRESS: "1k", EGRESS: "1P"}, {EGRESS: "10M"}, {INGRESS: "1Gi"}]
)
def test_limits_that_are_sound(annotations):
    check_bandwidth(annotations)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        (
            INGRESS,
            "999",
            "annotation kubernetes.io/ingress-bandwidth: resource is unreasonably small (< 1kbit)",
        ),
        (
            EGRESS,
            "-5M",
            "annotation kubernetes.io/egress-bandwidth: resource is unreasonably small (< 1kbit)",
        ),
        (EGRESS, "2P", "annotation kubernetes.io/egress-bandwidth: resource is unreasonably large (> 1Pbit)"),
    ],
)
def test_limits_beyond_reason(name, value, text):
    with pytest.raises(ValueError) as caught:
        check_bandwidth({name: value})
    assert str(caught.value) == text


@pytest.mark.parametrize("value", ["fast", "", "1 M"])
def test_limits_that_are_no_quantities(value):
    with pytest.raises(ValueError, match=f"^annotation {INGRESS}: "):
        check_bandwidth({INGRESS: value})
