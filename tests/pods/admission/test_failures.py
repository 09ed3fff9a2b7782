from pykubelet.pods.admission.failures import Insufficient, Unfit


def test_lacking():
    assert Insufficient("memory", 5, 8, 10).lacking == 3


def test_unfit():
    rejection = Unfit("NodeName", "no").rejection()
    assert (rejection.reason, rejection.message) == ("NodeName", "Predicate NodeName failed: no")
