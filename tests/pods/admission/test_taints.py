import pytest

from pykubelet.api.core import Toleration
from pykubelet.pods.admission.node import Taint
from pykubelet.pods.admission.taints import tolerates, untolerated

TAINT = Taint("key", "value", "NoExecute")


@pytest.mark.parametrize(
    ("toleration", "covers"),
    [
        ({"key": "key", "value": "value"}, True),
        ({"key": "key", "operator": "Equal", "value": "value", "effect": "NoExecute"}, True),
        ({"key": "key", "operator": "Exists"}, True),
        ({"operator": "Exists"}, True),
        ({"key": "key", "value": "other"}, False),
        ({"key": "other", "operator": "Exists"}, False),
        ({"key": "key", "operator": "Exists", "effect": "NoSchedule"}, False),
        ({"key": "key", "operator": "Gt", "value": "1"}, False),
        ({}, False),
    ],
)
def test_tolerates(toleration, covers):
    assert tolerates(Toleration(**toleration), TAINT) is covers
    assert (untolerated([TAINT], [Toleration(**toleration)], "NoExecute") is None) is covers


def test_other_effects_are_not_asked_for():
    assert untolerated([Taint("k", "", "NoSchedule")], [], "NoExecute") is None
