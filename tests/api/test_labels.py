import pytest

from pykubelet.api.labels import matches, told
from pykubelet.api.meta import LabelSelector, LabelSelectorRequirement

LABELS = {"app": "web", "tier": "front"}


def needs(key, operator, *values):
    return LabelSelector(matchExpressions=[LabelSelectorRequirement(key, operator, list(values))])


@pytest.mark.parametrize(
    ("selector", "fits", "text"),
    [
        (None, False, ""),
        (LabelSelector(), True, ""),
        (LabelSelector(matchLabels={"app": "web"}), True, "app=web"),
        (LabelSelector(matchLabels={"tier": "front", "app": "db"}), False, "app=db,tier=front"),
        (needs("app", "In", "web", "db"), True, "app in (db,web)"),
        (needs("none", "In", "web"), False, "none in (web)"),
        (needs("app", "NotIn", "web"), False, "app notin (web)"),
        (needs("none", "NotIn", "web"), True, "none notin (web)"),
        (needs("app", "Exists"), True, "app"),
        (needs("none", "Exists"), False, "none"),
        (needs("app", "DoesNotExist"), False, "!app"),
        (needs("none", "DoesNotExist"), True, "!none"),
        (
            LabelSelector({"tier": "front"}, [LabelSelectorRequirement("app", "In", ["web"])]),
            True,
            "app in (web),tier=front",
        ),
    ],
)
def test_what_a_selector_matches(selector, fits, text):
    assert matches(selector, LABELS) is fits
    assert told(selector) == text


def test_an_unknown_operator_is_named():
    with pytest.raises(ValueError, match=r'^"Gt" is not a valid label selector operator$'):
        matches(needs("app", "Gt", "1"), LABELS)
