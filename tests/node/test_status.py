"""The NodeStatus, made of facts."""

from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import pytest

from pykubelet.api.codec import to_builtins
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.node import Node, NodeCondition, NodeStatus, NodeSystemInfo
from pykubelet.api.quantity import Quantity
from pykubelet.cri.types import Image, RuntimeHandler
from pykubelet.linux.machine import Machine
from pykubelet.node.addresses import AddressFacts
from pykubelet.node.conditions import Pressure, Readiness
from pykubelet.node.status import StatusFacts, container_runtime_version, updated_node, updated_status

NOW = datetime(2026, 11, 21, 1, 2, 3, 456789, UTC)
WHOLE = NOW.replace(microsecond=0)
EARLIER = datetime(2026, 11, 20, tzinfo=UTC)


def amounts(**given):
    return {name.replace("_", "-"): Quantity.parse(text) for name, text in given.items()}


MACHINE = Machine(
    cpus=2,
    memory=8 << 30,
    swap=0,
    swap_on=False,
    hugepages={},
    machine_id="m",
    system_uuid="s",
    boot_id="b",
    kernel_version="6.1",
    os_image="Debian",
    operating_system="linux",
    architecture="amd64",
    max_pids=1000,
)
FACTS = StatusFacts(
    now=NOW,
    name="n",
    addresses=AddressFacts("n", ips=("10.0.0.1",)),
    machine=MACHINE,
    capacity=amounts(cpu="2", memory="8Gi", pods="110", ephemeral_storage="1Gi"),
    allocatable=amounts(cpu="1", memory="7Gi", pods="110", ephemeral_storage="1Gi"),
    container_runtime_version="containerd://2.1.0",
    kubelet_version="v1.36.2",
    port=10250,
)


def condition(status, kind):
    return next(each for each in status.conditions if each.type == kind)


def test_a_new_status_says_everything() -> None:
    update = updated_node(Node(metadata=ObjectMeta(name="n")), FACTS)
    status = update.node.status
    assert [each.type for each in status.conditions] == [
        "MemoryPressure",
        "DiskPressure",
        "PIDPressure",
        "Ready",
    ]
    ready = condition(status, "Ready")
    assert (ready.status, ready.reason, ready.message) == (
        "True",
        "KubeletReady",
        "kubelet is posting ready status",
    )
    assert {each.lastHeartbeatTime for each in status.conditions} == {WHOLE}
    assert {each.lastTransitionTime for each in status.conditions} == {WHOLE}
    assert status.nodeInfo == NodeSystemInfo(
        machineID="m",
        systemUUID="s",
        bootID="b",
        kernelVersion="6.1",
        osImage="Debian",
        containerRuntimeVersion="containerd://2.1.0",
        kubeletVersion="v1.36.2",
        operatingSystem="linux",
        architecture="amd64",
    )
    assert status.daemonEndpoints.kubeletEndpoint.Port == 10250
    assert update.node.metadata.labels == {"kubernetes.io/os": "linux", "kubernetes.io/arch": "amd64"}
    # A pressure that was never told of is told of; Ready is not.
    assert [event.message for event in update.events] == [
        "Node n status is now: NodeHasSufficientMemory",
        "Node n status is now: NodeHasNoDiskPressure",
        "Node n status is now: NodeHasSufficientPID",
    ]
    told = to_builtins(status)
    assert "features" not in told
    assert "runtimeHandlers" not in told
    assert told["nodeInfo"]["kubeProxyVersion"] == ""
    assert "swap" not in told["nodeInfo"]


def test_the_same_facts_change_nothing_but_heartbeats() -> None:
    first, _ = updated_status(NodeStatus(), FACTS)
    second, events = updated_status(first, replace(FACTS, now=datetime(2027, 1, 1, tzinfo=UTC)))
    assert events == []
    assert {each.lastTransitionTime for each in second.conditions} == {WHOLE}
    heartbeat = [msgspec.structs.replace(each, lastHeartbeatTime=WHOLE) for each in second.conditions]
    assert msgspec.structs.replace(second, conditions=heartbeat) == first


@pytest.mark.parametrize(
    ("pressure", "kind", "reason", "event"),
    [
        (
            Pressure(memory=True),
            "MemoryPressure",
            "KubeletHasInsufficientMemory",
            "NodeHasInsufficientMemory",
        ),
        (Pressure(disk=True), "DiskPressure", "KubeletHasDiskPressure", "NodeHasDiskPressure"),
        (Pressure(pids=True), "PIDPressure", "KubeletHasInsufficientPID", "NodeHasInsufficientPID"),
    ],
)
def test_pressure_comes_and_is_told(pressure, kind, reason, event) -> None:
    calm, _ = updated_status(NodeStatus(), replace(FACTS, now=EARLIER))
    status, events = updated_status(calm, replace(FACTS, pressure=pressure))
    assert (condition(status, kind).status, condition(status, kind).reason) == ("True", reason)
    assert condition(status, kind).lastTransitionTime == WHOLE
    assert condition(status, "Ready").lastTransitionTime == EARLIER
    assert [each.reason for each in events] == [event]


def test_why_a_node_is_not_ready_is_told_in_upstreams_words() -> None:
    well, _ = updated_status(NodeStatus(), replace(FACTS, now=EARLIER))
    readiness = Readiness(
        runtime_errors=("container runtime is down",),
        network_error="container runtime network not ready: NetworkReady=false reason:X message:Y",
        shutdown_error="node is shutting down",
    )
    status, events = updated_status(well, replace(FACTS, readiness=readiness))
    ready = condition(status, "Ready")
    assert (ready.status, ready.reason) == ("False", "KubeletNotReady")
    assert ready.message == (
        "[container runtime is down, "
        "container runtime network not ready: NetworkReady=false reason:X message:Y, node is shutting down]"
    )
    assert [event.message for event in events] == ["Node n status is now: NodeNotReady"]
    again, events = updated_status(status, FACTS)
    assert condition(again, "Ready").status == "True"
    assert [event.reason for event in events] == ["NodeReady"]


def test_what_a_node_must_know_of_itself_and_what_it_can_live_without() -> None:
    few = replace(FACTS, capacity=amounts(cpu="2"), readiness=Readiness(soft_problem="no swap accounting"))
    ready = condition(updated_status(NodeStatus(), few)[0], "Ready")
    assert ready.message == (
        "missing node capacity for resources: memory, pods, ephemeral-storage. WARNING: no swap accounting"
    )
    ready = condition(updated_status(NodeStatus(), replace(few, local_storage=False))[0], "Ready")
    assert ready.message.startswith("missing node capacity for resources: memory, pods. ")


def test_a_node_that_was_unknown_becomes_ready_with_a_new_transition() -> None:
    lost = NodeCondition(type="Ready", status="Unknown", lastTransitionTime=EARLIER)
    foreign = NodeCondition(type="Foreign", status="True")
    status, events = updated_status(NodeStatus(conditions=[lost, foreign]), FACTS)
    assert condition(status, "Ready").lastTransitionTime == WHOLE
    assert [each.type for each in status.conditions][:2] == ["Ready", "Foreign"]
    assert condition(status, "Foreign") is foreign
    assert "NodeReady" in [event.reason for event in events]


def test_resources_of_others_stay() -> None:
    old = NodeStatus(
        capacity={**amounts(cpu="1"), "example.com/dongle": Quantity.of(4)},
        allocatable={"example.com/dongle": Quantity.of(1), "example.com/gone": Quantity.of(1)},
    )
    status, _ = updated_status(old, FACTS)
    assert status.capacity == {**FACTS.capacity, "example.com/dongle": Quantity.of(4)}
    assert status.allocatable == {**FACTS.allocatable, "example.com/dongle": Quantity.of(4)}


def test_a_reboot_is_told_of() -> None:
    old = NodeStatus(nodeInfo=NodeSystemInfo(bootID="a"))
    _, events = updated_status(old, FACTS)
    assert (events[0].kind, events[0].reason) == ("Warning", "Rebooted")
    assert events[0].message == "Node n has been rebooted, boot id: b"
    assert updated_status(NodeStatus(), FACTS)[1][0].reason != "Rebooted"


def test_images_handlers_features_volumes_and_swap_are_told() -> None:
    facts = replace(
        FACTS,
        machine=replace(MACHINE, swap=5),
        images=(Image("i", ("t",), ("d",), 3),),
        runtime_handlers=(RuntimeHandler("z", user_namespaces=True), RuntimeHandler("")),
        supplemental_groups_policy=True,
        declared_features=("F",),
        volumes_in_use=("v",),
    )
    told = to_builtins(updated_status(NodeStatus(), facts)[0])
    assert told["images"] == [{"names": ["d", "t"], "sizeBytes": 3}]
    assert told["runtimeHandlers"] == [
        {"name": "", "features": {"recursiveReadOnlyMounts": False, "userNamespaces": False}},
        {"name": "z", "features": {"recursiveReadOnlyMounts": False, "userNamespaces": True}},
    ]
    assert told["features"] == {"supplementalGroupsPolicy": True}
    assert told["declaredFeatures"] == ["F"]
    assert told["volumesInUse"] == ["v"]
    assert told["nodeInfo"]["swap"] == {"capacity": 5}


def test_what_was_not_looked_at_yet_stays() -> None:
    known = replace(FACTS, images=(Image("i", ("t",), (), 3),), runtime_handlers=(RuntimeHandler("z"),))
    old, _ = updated_status(NodeStatus(), known)
    status, _ = updated_status(old, FACTS)
    assert (status.images, status.runtimeHandlers) == (old.images, old.runtimeHandlers)
    assert updated_status(old, replace(FACTS, images=(), runtime_handlers=()))[0].images == []


def test_volumes_in_use_stay_until_they_are_known() -> None:
    assert updated_status(NodeStatus(volumesInUse=["v"]), FACTS)[0].volumesInUse == ["v"]
    assert (
        updated_status(NodeStatus(volumesInUse=["v"]), replace(FACTS, volumes_in_use=()))[0].volumesInUse
        == []
    )


@pytest.mark.parametrize(
    ("version", "shown"),
    [
        ("v2.1.0", "2.1.0"),
        ("1.6.20~ds1", "1.6.20"),
        ("2.0.0-rc.1", "2.0.0-rc.1"),
        ("1.7.0+dfsg", "1.7.0+dfsg"),
        ("1.30", "1.30"),
        ("1", "Unknown"),
        ("unknown", "Unknown"),
        ("", "Unknown"),
    ],
)
def test_the_runtimes_version_is_shown_as_upstream_parses_it(version, shown) -> None:
    assert container_runtime_version("containerd", version) == f"containerd://{shown}"
