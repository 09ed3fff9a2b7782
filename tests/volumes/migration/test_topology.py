import pytest

from pykubelet.api import codec
from pykubelet.api.storage import PersistentVolume
from pykubelet.volumes.migration.topology import zonal

ZONE, REGION = "topology.kubernetes.io/zone", "topology.kubernetes.io/region"
OLD_ZONE, OLD_REGION = "failure-domain.beta.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/region"
NEW = "driver/zone"


def need(key, *values, operator="In"):
    found = {"key": key, "operator": operator}
    return {**found, "values": list(values)} if values else found


def terms(*lists):
    return [{"matchExpressions": list(each)} for each in lists]


@pytest.mark.parametrize(
    ("labels", "before", "after"),
    [
        ({}, None, None),
        ({}, [], []),
        ({ZONE: "a"}, None, terms([need(NEW, "a")])),
        ({ZONE: "a"}, [], terms([need(NEW, "a")])),
        ({OLD_ZONE: "a"}, None, terms([need(NEW, "a")])),
        ({ZONE: "a", OLD_ZONE: "b"}, None, terms([need(NEW, "a")])),
        ({ZONE: "b__ a __b__"}, None, terms([need(NEW, "a", "b")])),
        ({ZONE: "__"}, None, None),
        # All terms get it; what they ask for besides stays.
        (
            {ZONE: "a"},
            terms([need("x", "1")], [need("y", operator="Exists")]),
            terms([need("x", "1"), need(NEW, "a")], [need("y", operator="Exists"), need(NEW, "a")]),
        ),
        # What the affinity says counts more than the labels.
        ({ZONE: "a"}, terms([need(ZONE, "b")]), terms([need(NEW, "b")])),
        ({ZONE: "a"}, terms([need(OLD_ZONE, "b")]), terms([need(NEW, "b")])),
        (
            {},
            terms([need(ZONE, "b")], [need(ZONE, "c"), need("x", "1")]),
            terms([need(NEW, "b")], [need(NEW, "c"), need("x", "1")]),
        ),
        # Of both names in one affinity the new one is meant.
        ({}, terms([need(ZONE, "a"), need(OLD_ZONE, "b")]), terms([need(NEW, "a"), need(OLD_ZONE, "b")])),
        # A zone without values tells nothing: the label does.
        (
            {ZONE: "a"},
            terms([need(ZONE, operator="Exists")]),
            terms([need(ZONE, operator="Exists"), need(NEW, "a")]),
        ),
        # Regions keep their name, but an old one.
        ({}, terms([need(ZONE, "a"), need(REGION, "r")]), terms([need(NEW, "a"), need(REGION, "r")])),
        ({}, terms([need(OLD_ZONE, "a"), need(OLD_REGION, "r")]), terms([need(NEW, "a"), need(REGION, "r")])),
        ({}, terms([need(ZONE, "a"), need(OLD_REGION, "r")]), terms([need(NEW, "a"), need(OLD_REGION, "r")])),
        ({REGION: "r", OLD_REGION: "r"}, None, None),
    ],
)  # fmt: skip
def test_zonal(labels, before, after):
    spec = {} if before is None else {"nodeAffinity": {"required": {"nodeSelectorTerms": before}}}
    pv = codec.convert({"metadata": {"labels": labels}, "spec": spec}, PersistentVolume)
    found = zonal(NEW)(pv)
    told = None if found is None else codec.to_builtins(found.required).get("nodeSelectorTerms", [])
    assert told == after


def test_requirements_on_a_nodes_name_stay():
    asked = {"nodeSelectorTerms": [{"matchFields": [need("metadata.name", "n")]}]}
    pv = codec.convert(
        {"metadata": {"labels": {ZONE: "a"}}, "spec": {"nodeAffinity": {"required": asked}}}, PersistentVolume
    )
    (term,) = codec.to_builtins(zonal(NEW)(pv).required)["nodeSelectorTerms"]
    assert term == {"matchFields": [need("metadata.name", "n")], "matchExpressions": [need(NEW, "a")]}


def test_an_affinity_without_requirements_stays():
    pv = codec.convert({"spec": {"nodeAffinity": {}}}, PersistentVolume)
    assert zonal(NEW)(pv) is pv.spec.nodeAffinity
