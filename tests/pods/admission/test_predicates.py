import pytest

from pykubelet.api.admission import Rejection
from pykubelet.api.core import PodOS, PodSecurityContext, Toleration
from pykubelet.pods.admission.node import Taint
from pykubelet.pods.admission.predicates import Predicates
from pykubelet.pods.admission.preemption import Victims

AFFINITY = "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector"
STATIC = {"kubernetes.io/config.source": "file"}
TAINTED = (Taint("bad", "", "NoExecute"), Taint("x", "", "NoSchedule"))


def judge(pod, node, others=()):
    return Predicates(lambda: node).admit(pod, others)


def test_admitted(make_pod, make_node):
    assert judge(make_pod(requests={"cpu": "4"}, nodeName="node-1"), make_node()) is None


def test_nothing_known(make_pod):
    assert judge(make_pod(), None) == Rejection("InvalidNodeInfo", "Kubelet cannot get node info.")


@pytest.mark.parametrize(
    ("wishes", "reason", "message"),
    [
        (
            {"labels": {"kubernetes.io/os": "windows"}},
            "PodOSSelectorNodeLabelDoesNotMatch",
            "Failed to admit pod as the `kubernetes.io/os` label doesn't match node label",
        ),
        (
            {"os": PodOS(name="windows")},
            "PodOSNotSupported",
            "Failed to admit pod as the OS field doesn't match node OS",
        ),
        (
            {"securityContext": PodSecurityContext(supplementalGroupsPolicy="Strict")},
            "SupplementalGroupsPolicyNotSupported",
            "SupplementalGroupsPolicy=Strict is not supported in this node",
        ),
        (
            {"requests": {"cpu": "5"}, "nodeName": "other"},
            "OutOfcpu",
            "Node didn't have enough resource: cpu, requested: 5000, used: 0, capacity: 4000",
        ),
        ({"nodeSelector": {"a": "b"}, "nodeName": "other"}, "NodeAffinity", AFFINITY),
        (
            {"nodeName": "other", "ports": [("", "TCP", 80)]},
            "NodeName",
            "Predicate NodeName failed: node(s) didn't match the requested node name",
        ),
        (
            {"ports": [("", "TCP", 80)]},
            "NodePorts",
            "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports",
        ),
        (
            {},
            "TaintToleration",
            "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate",
        ),
    ],
)
def test_reasons_in_order(make_pod, make_node, wishes, reason, message):
    others = [make_pod("other", ports=[("", "TCP", 80)])]
    assert judge(make_pod(**wishes), make_node(taints=TAINTED), others) == Rejection(reason, message)


def test_fine_with_what_matches(make_pod, make_node):
    pod = make_pod(
        labels={"kubernetes.io/os": "linux"},
        os=PodOS(name="linux"),
        securityContext=PodSecurityContext(supplementalGroupsPolicy="Strict"),
        tolerations=[Toleration(operator="Exists")],
        requests={"example.com/unknown": "1"},
    )
    assert judge(pod, make_node(taints=TAINTED, supplemental_groups_policy=True)) is None


def test_static_pods_run_on_tainted_nodes(make_pod, make_node):
    assert judge(make_pod(annotations=STATIC), make_node(taints=TAINTED)) is None


@pytest.mark.parametrize(
    ("wishes", "by_labels"),
    [
        ({}, True),
        ({"annotations": STATIC}, True),
        ({"nodeName": "other"}, False),
        ({"requests": {"cpu": "9"}}, False),
        ({"os": PodOS(name="windows")}, False),
    ],
)
def test_whether_labels_alone_are_against_a_pod(make_pod, make_node, wishes, by_labels):
    rejection = judge(make_pod(nodeSelector={"a": "b"}, **wishes), make_node())
    assert rejection.by_labels is by_labels
    assert (rejection.message == AFFINITY) is (by_labels or "nodeName" in wishes)


def test_critical_pods_push_others_off(make_pod, make_node):
    other = make_pod("other", {"cpu": "3"})
    critical = make_pod("critical", {"cpu": "2"}, annotations=STATIC)
    verdict = judge(critical, make_node(), [other])
    assert isinstance(verdict, Victims)
    assert verdict.pods == (other,)
    assert [short.resource for short in verdict.shortages] == ["cpu"]


def test_nobody_dies_in_vain(make_pod, make_node):
    other = make_pod("other", {"cpu": "3"})
    lost = make_pod("critical", {"cpu": "2"}, annotations=STATIC, nodeName="elsewhere")
    assert judge(lost, make_node(), [other]).reason == "NodeName"
    huge = make_pod("critical", {"cpu": "9"}, annotations=STATIC)
    assert judge(huge, make_node(), [other]) == Rejection(
        "UnexpectedAdmissionError",
        "Unexpected error while attempting to recover from admission failure: preemption: error finding a "
        "set of pods to preempt: no set of running pods found to reclaim resources: [(res: cpu, q: 5000), ]",
    )
