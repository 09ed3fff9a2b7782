"""Patches of statuses: applied to the old they give the new, and they say no more than they must."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st
from tests.apiserver.patch import StrategicMerge

from pykubelet.api.codec import convert, to_builtins
from pykubelet.api.core import (
    ContainerState,
    ContainerStateRunning,
    ContainerStateTerminated,
    ContainerStatus,
    HostIP,
    PodCondition,
    PodIP,
    PodResourceClaimStatus,
    PodStatus,
)
from pykubelet.api.node import (
    ContainerImage,
    NodeAddress,
    NodeCondition,
    NodeRuntimeHandler,
    NodeStatus,
    NodeSystemInfo,
)
from pykubelet.api.quantity import Quantity
from pykubelet.cluster.patch import node_status_patch, pod_status_patch

NOON = datetime(2026, 5, 1, 12, 0, 0, tzinfo=UTC)

texts = st.sampled_from(["", "a", "b"])
times = st.one_of(st.none(), st.integers(0, 3).map(lambda s: NOON + timedelta(seconds=s)))


def unique(element, key):
    return st.lists(element, max_size=4, unique_by=key)


pod_conditions = unique(
    st.builds(
        PodCondition,
        type=st.sampled_from(["Ready", "ContainersReady", "Initialized", "foreign/x"]),
        status=st.sampled_from(["True", "False"]),
        reason=texts,
        message=texts,
        lastTransitionTime=times,
        observedGeneration=st.integers(0, 2),
    ),
    lambda condition: condition.type,
)
ips = st.sampled_from(["10.0.0.1", "10.0.0.2", "fd00::1"])
states = st.one_of(
    st.just(ContainerState()),
    st.builds(ContainerState, running=st.builds(ContainerStateRunning, startedAt=times)),
    st.builds(
        ContainerState,
        terminated=st.builds(ContainerStateTerminated, exitCode=st.integers(0, 2), finishedAt=times),
    ),
)
containers = unique(
    st.builds(ContainerStatus, name=st.sampled_from(["web", "db"]), state=states, ready=st.booleans()),
    lambda status: status.name,
)
quantities = st.dictionaries(
    st.sampled_from(["cpu", "memory", "pods"]), st.sampled_from(["1", "2Gi", "100m"]).map(Quantity.parse)
)
pod_statuses = st.builds(
    PodStatus,
    phase=st.sampled_from(["", "Pending", "Running"]),
    reason=texts,
    conditions=pod_conditions,
    podIPs=unique(st.builds(PodIP, ip=ips), lambda entry: entry.ip),
    hostIPs=unique(st.builds(HostIP, ip=ips), lambda entry: entry.ip),
    startTime=times,
    containerStatuses=containers,
    initContainerStatuses=containers,
    resourceClaimStatuses=unique(
        st.builds(PodResourceClaimStatus, name=texts, resourceClaimName=st.sampled_from([None, "c"])),
        lambda entry: entry.name,
    ).map(lambda claims: [claim for claim in claims if claim.name]),
    allocatedResources=quantities,
)
node_statuses = st.builds(
    NodeStatus,
    capacity=quantities,
    allocatable=quantities,
    conditions=unique(
        st.builds(
            NodeCondition,
            type=st.sampled_from(["Ready", "DiskPressure", "foreign"]),
            status=texts,
            lastHeartbeatTime=times,
            reason=texts,
        ),
        lambda condition: condition.type,
    ),
    addresses=st.lists(
        st.builds(NodeAddress, type=st.sampled_from(["InternalIP", "Hostname"]), address=ips), max_size=4
    ),
    nodeInfo=st.builds(NodeSystemInfo, bootID=texts, machineID=texts),
    images=st.lists(st.builds(ContainerImage, names=st.lists(texts, max_size=2)), max_size=3),
    volumesInUse=st.lists(texts, max_size=3),
    runtimeHandlers=st.lists(st.builds(NodeRuntimeHandler, name=texts), max_size=2),
    declaredFeatures=st.lists(texts, max_size=3),
)


def tree(status):
    return to_builtins(status, whole_seconds=True)


def patched(kind, old, patch):
    obj = {"kind": kind, "status": tree(old)}
    body = {"status": (patch or {}).get("status", {})}
    return convert(StrategicMerge(kind).apply(obj, body)["status"], type(old))


def by_type(status):
    """*status* with its conditions and claims in a fixed order, which means nothing."""
    keyed = tree(status)
    for name, key in (("conditions", "type"), ("resourceClaimStatuses", "name")):
        if name in keyed:
            keyed[name] = sorted(keyed[name], key=lambda entry: entry[key])
    return {key: value for key, value in keyed.items() if value != []}


@given(old=pod_statuses, new=pod_statuses)
def test_a_pod_status_patch_makes_the_new_of_the_old(old, new) -> None:
    patch = pod_status_patch("u1", old, new)
    assert by_type(patched("Pod", old, patch)) == by_type(new)
    assert (patch is None) == (by_type(old) == by_type(new))
    if patch is not None:
        assert patch["metadata"] == {"uid": "u1"}


@given(old=node_statuses, new=node_statuses)
def test_a_node_status_patch_makes_the_new_of_the_old(old, new) -> None:
    patch = node_status_patch(old, new)
    assert by_type(patched("Node", old, patch)) == by_type(new)
    assert (patch is None) == (by_type(old) == by_type(new))


@given(status=pod_statuses)
def test_nothing_changed_is_no_patch(status) -> None:
    assert pod_status_patch("u1", status, status) is None


def test_only_the_changed_field_of_the_changed_condition_is_sent() -> None:
    ready = PodCondition(type="Ready", status="True", reason="r", lastTransitionTime=NOON)
    other = PodCondition(type="Initialized", status="True")
    new = PodCondition(type="Ready", status="False", lastTransitionTime=NOON)
    patch = pod_status_patch("u", PodStatus(conditions=[ready, other]), PodStatus(conditions=[new, other]))
    assert patch is not None
    assert patch["status"] == {
        "conditions": [{"type": "Ready", "status": "False", "reason": None}],
        "$setElementOrder/conditions": [{"type": "Ready"}, {"type": "Initialized"}],
    }


def test_what_is_gone_is_removed_by_name() -> None:
    old = PodStatus(reason="r", podIP="1", conditions=[PodCondition(type="A"), PodCondition(type="B")])
    patch = pod_status_patch("u", old, PodStatus(conditions=[PodCondition(type="B")]))
    assert patch is not None
    assert patch["status"] == {
        "reason": None,
        "podIP": None,
        "conditions": [{"$patch": "delete", "type": "A"}],
        "$setElementOrder/conditions": [{"type": "B"}],
    }


def test_the_first_ip_stays_the_first() -> None:
    old = PodStatus(podIPs=[PodIP(ip="a"), PodIP(ip="b")])
    patch = pod_status_patch("u", old, PodStatus(podIPs=[PodIP(ip="b"), PodIP(ip="a")]))
    assert patch is not None
    assert patch["status"] == {"$setElementOrder/podIPs": [{"ip": "b"}, {"ip": "a"}]}


def test_the_order_of_conditions_alone_is_no_change() -> None:
    a, b = PodCondition(type="A"), PodCondition(type="B")
    assert pod_status_patch("u", PodStatus(conditions=[a, b]), PodStatus(conditions=[b, a])) is None


def test_times_are_whole_seconds_of_utc() -> None:
    moment = NOON.replace(microsecond=999_999).astimezone(timezone(timedelta(hours=2)))
    assert pod_status_patch("u", PodStatus(startTime=NOON), PodStatus(startTime=moment)) is None
    patch = node_status_patch(
        NodeStatus(), NodeStatus(conditions=[NodeCondition(type="Ready", lastHeartbeatTime=moment)])
    )
    assert patch == {
        "status": {"conditions": [{"type": "Ready", "lastHeartbeatTime": "2026-05-01T12:00:00Z"}]}
    }


def test_addresses_are_replaced_and_resources_go_key_by_key() -> None:
    old = NodeStatus(
        capacity={"cpu": Quantity.parse("2"), "example.com/x": Quantity.parse("1")},
        addresses=[NodeAddress(type="InternalIP", address="10.0.0.1")],
    )
    two = [
        NodeAddress(type="InternalIP", address="10.0.0.2"),
        NodeAddress(type="InternalIP", address="fd00::2"),
    ]
    patch = node_status_patch(old, NodeStatus(capacity={"cpu": Quantity.parse("4")}, addresses=two))
    assert patch == {
        "status": {
            "capacity": {"cpu": "4", "example.com/x": None},
            "addresses": [
                {"type": "InternalIP", "address": "10.0.0.2"},
                {"type": "InternalIP", "address": "fd00::2"},
                {"$patch": "replace"},
            ],
        }
    }
