import pytest

from pykubelet.api.core import Affinity, NodeAffinity, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm
from pykubelet.pods.admission.affinity import matches_node

LABELS = {"zone": "a", "cores": "16", "empty": "", "example.com/disk": "ssd"}


def requirement(key, operator, *values):
    return NodeSelectorRequirement(key=key, operator=operator, values=list(values))


def required(*terms):
    selector = NodeSelector(nodeSelectorTerms=list(terms))
    return Affinity(nodeAffinity=NodeAffinity(requiredDuringSchedulingIgnoredDuringExecution=selector))


def labels(*requirements):
    return NodeSelectorTerm(matchExpressions=list(requirements))


def fields(*requirements):
    return NodeSelectorTerm(matchFields=list(requirements))


@pytest.mark.parametrize(
    ("expression", "matches"),
    [
        (("zone", "In", "a", "b"), True),
        (("zone", "In", "b"), False),
        (("none", "In", "a"), False),
        (("empty", "In", ""), True),
        (("none", "In", ""), False),
        (("zone", "NotIn", "b"), True),
        (("zone", "NotIn", "a"), False),
        (("none", "NotIn", "a"), True),
        (("zone", "Exists"), True),
        (("none", "Exists"), False),
        (("none", "DoesNotExist"), True),
        (("zone", "DoesNotExist"), False),
        (("cores", "Gt", "15"), True),
        (("cores", "Gt", "16"), False),
        (("cores", "Lt", "17"), True),
        (("cores", "Lt", "16"), False),
        (("zone", "Gt", "1"), False),
        (("none", "Lt", "1"), False),
        (("example.com/disk", "In", "ssd"), True),
        # What the API would refuse matches nothing.
        (("zone", "In"), False),
        (("zone", "Exists", "a"), False),
        (("cores", "Gt", "x"), False),
        (("cores", "Gt", "1", "2"), False),
        (("zone", "Near", "a"), False),
        (("bad key", "NotIn", "a"), False),
        (("zone", "NotIn", "bad value"), False),
        (("Bad_Prefix/zone", "DoesNotExist"), False),
    ],
)
def test_labels(make_pod, make_node, expression, matches):
    pod = make_pod(affinity=required(labels(requirement(*expression))))
    assert matches_node(pod, make_node(labels=LABELS)) is matches


@pytest.mark.parametrize(
    ("expression", "matches"),
    [
        (("metadata.name", "In", "node-1"), True),
        (("metadata.name", "In", "node-2"), False),
        (("metadata.name", "NotIn", "node-2"), True),
        (("metadata.name", "NotIn", "node-1"), False),
        (("metadata.name", "In", "node-1", "node-2"), False),
        (("metadata.name", "Exists"), False),
        (("other", "In", "node-1"), False),
    ],
)
def test_fields(make_pod, make_node, expression, matches):
    assert matches_node(make_pod(affinity=required(fields(requirement(*expression)))), make_node()) is matches


def test_terms_are_alternatives_and_requirements_are_not(make_pod, make_node):
    node = make_node(labels=LABELS)
    wrong, right = requirement("zone", "In", "b"), requirement("zone", "In", "a")
    assert matches_node(make_pod(affinity=required(labels(wrong), labels(right))), node)
    assert not matches_node(make_pod(affinity=required(labels(wrong, right))), node)
    assert not matches_node(make_pod(affinity=required()), node)
    assert not matches_node(make_pod(affinity=required(labels())), node)
    assert matches_node(make_pod(affinity=Affinity()), node)


def test_selector(make_pod, make_node):
    node = make_node(labels=LABELS)
    assert matches_node(make_pod(nodeSelector={"zone": "a", "empty": ""}), node)
    assert not matches_node(make_pod(nodeSelector={"zone": "a", "none": ""}), node)
    pod = make_pod(nodeSelector={"zone": "b"}, affinity=required(labels(requirement("zone", "Exists"))))
    assert not matches_node(pod, node)
