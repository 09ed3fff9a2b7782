import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.api.quantity import Quantity
from pykubelet.linux.machine import Machine
from pykubelet.resources.allocatable import (
    ReservationError,
    Reservations,
    allocatable,
    capacity_of,
    check_reservation,
    enforced,
    threshold_amount,
    with_reserved_cpus,
)

MACHINE = Machine(
    cpus=4,
    memory=8 << 30,
    swap=0,
    swap_on=False,
    hugepages={2 << 20: 512},
    machine_id="m",
    system_uuid="u",
    boot_id="b",
    kernel_version="6.1",
    os_image="Linux",
    operating_system="linux",
    architecture="amd64",
    max_pids=1000,
)


def parsed(**texts):
    return {name.replace("_", "-"): Quantity.parse(text) for name, text in texts.items()}


def shown(resources):
    return {name: str(quantity) for name, quantity in resources.items()}


def test_capacity():
    assert shown(capacity_of(MACHINE, max_pods=110, ephemeral_storage=10 << 30)) == {
        "cpu": "4",
        "memory": "8Gi",
        "pods": "110",
        "ephemeral-storage": "10Gi",
        "hugepages-2Mi": "1Gi",
    }
    assert str(capacity_of(MACHINE, max_pods=110, pods_per_core=10)["pods"]) == "40"
    assert str(capacity_of(MACHINE, max_pods=30, pods_per_core=10)["pods"]) == "30"
    assert "ephemeral-storage" not in capacity_of(MACHINE, max_pods=1)


def test_allocatable():
    capacity = capacity_of(MACHINE, max_pods=110, ephemeral_storage=10 << 30)
    reservations = Reservations(
        system=parsed(cpu="500m", memory="1Gi"),
        kube=parsed(cpu="500m", pid="100"),
        eviction_hard={"memory.available": "100Mi", "nodefs.available": "10%", "imagefs.available": "15%"},
    )
    left = shown(allocatable(capacity, reservations))
    assert left == {
        "cpu": "3",
        "memory": "6044Mi",
        "pods": "110",
        "ephemeral-storage": "9663676400",
        "hugepages-2Mi": "1Gi",
    }
    held = shown(enforced(capacity, reservations, 1000))
    assert held["memory"] == "7Gi"
    assert held["pid"] == "900"
    assert "pid" not in enforced(capacity, reservations)


def test_too_much_reserved():
    capacity = parsed(cpu="2", memory="1Gi")
    check_reservation(capacity, Reservations(kube=parsed(cpu="2", memory="1Gi")))
    with pytest.raises(ReservationError) as caught:
        check_reservation(
            capacity, Reservations(kube=parsed(memory="1Gi"), eviction_hard={"memory.available": "100Mi"})
        )
    assert str(caught.value) == (
        'invalid Node Allocatable configuration. Resource "memory" has a reservation of 1124Mi '
        "but capacity of 1Gi. Expected capacity >= reservation."
    )


@pytest.mark.parametrize(
    ("text", "value"), [("100Mi", 100 << 20), ("10%", 107374184), ("0%", 0), ("100%", 0), ("50%", 1 << 29)]
)
def test_threshold(text, value):
    assert threshold_amount(text, Quantity.parse("1Gi")).value() == value


def test_bad_threshold():
    with pytest.raises(ValueError):
        threshold_amount("ten%", Quantity.of(1))


def test_reserved_cpus_take_the_place_of_both():
    changed = with_reserved_cpus(Reservations(parsed(cpu="1", memory="1Gi"), parsed(cpu="2", pid="5")), 3)
    assert shown(changed.system) == {"cpu": "3", "memory": "1Gi"}
    assert shown(changed.kube) == {"pid": "5"}


amount = st.integers(0, 10**12).map(Quantity.of)
lists = st.dictionaries(st.sampled_from(["cpu", "memory", "hugepages-2Mi", "ephemeral-storage"]), amount)


@given(lists, lists, lists, st.sampled_from(["0%", "7%", "100Mi", "90%"]))
def test_never_below_zero_nor_above_capacity(capacity, system, kube, threshold):
    reservations = Reservations(system, kube, {"memory.available": threshold, "nodefs.available": threshold})
    for left in (allocatable(capacity, reservations), enforced(capacity, reservations)):
        assert left.keys() == capacity.keys()
        assert all(Quantity.zero() <= left[name] <= capacity[name] for name in capacity)
