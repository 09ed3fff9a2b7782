"""Host IDs for user namespaces: no two pods share any, and none is the host's own."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.resources.id_ranges import (
    UNIT,
    IdRanges,
    IdSpace,
    id_space,
    mapping_file,
    parse_mapping_file,
    parse_subids,
)

SMALL = IdSpace(first=2 * UNIT, length=UNIT, slots=5)


def test_all_ids_but_the_hosts_first_are_the_pods():
    assert id_space(None, UNIT, 110) == IdSpace(UNIT, UNIT, 65535)
    assert id_space((UNIT, 1 << 31), UNIT, 110) == IdSpace(UNIT, UNIT, 32768)
    # A range that reaches beyond 32 bits ends there.
    assert id_space((1 << 31, (1 << 32) - UNIT), UNIT, 110).slots == 32768


@pytest.mark.parametrize(
    ("configured", "per_pod", "pods", "text"),
    [
        (None, UNIT + 1, 1, "kubelet user namespace length 65537 is not a multiple of 65536"),
        ((UNIT + 1, UNIT), UNIT, 1, "kubelet user assigned ID 65537 is not a multiple of 65536"),
        ((0, UNIT), UNIT, 1, "kubelet user assigned ID 0 must be greater or equal to 65536"),
        ((UNIT, UNIT + 1), UNIT, 1, "kubelet user assigned IDs length 65537 is not a multiple of 65536"),
        ((UNIT, UNIT), UNIT, 2, "kubelet user assigned IDs are not enough to support 2 pods"),
    ],
)
def test_ids_that_cannot_serve(configured, per_pod, pods, text):
    with pytest.raises(ValueError) as caught:
        id_space(configured, per_pod, pods)
    assert str(caught.value) == text


def test_what_getsubids_prints():
    assert parse_subids("0: kubelet 65536 2147483648\n") == (65536, 2147483648)
    for text in ("", "0: kubelet 65536\n", "0: kubelet 1 2\n1: kubelet 3 4\n", "0: kubelet -1 2", "0: k 1 ²",
                 f"0: kubelet 1 {1 << 32}"):  # fmt: skip
        with pytest.raises(ValueError, match="line"):
            parse_subids(text)


def test_the_file_is_upstreams():
    assert mapping_file(131072, 65536) == (
        b'{"uidMappings":[{"hostId":131072,"containerId":0,"length":65536}],'
        b'"gidMappings":[{"hostId":131072,"containerId":0,"length":65536}]}'
    )


@given(st.integers(0, (1 << 32) - 1), st.integers(0, (1 << 32) - 1))
def test_what_is_written_is_read(first, length):
    assert parse_mapping_file(mapping_file(first, length)) == (first, length)


def one(host=UNIT, inside=0, length=UNIT):
    return {"hostId": host, "containerId": inside, "length": length}


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ("{", "invalid user namespace mappings file: "),
        ([], "invalid user namespace mappings file: "),
        ({"uidMappings": [one(host=-1)], "gidMappings": [one()]}, "invalid user namespace mappings file: "),
        ({"uidMappings": [one(host=1.5)], "gidMappings": [one()]}, "invalid user namespace mappings file: "),
        ({}, "invalid user namespace configuration: no more than one mapping allowed."),
        (
            {"uidMappings": [one()]},
            "invalid user namespace configuration: GID and UID mappings should be identical.",
        ),
        (
            {"uidMappings": [one()], "gidMappings": [one(2 * UNIT)]},
            "invalid user namespace configuration: GID and UID mapping should be identical",
        ),
        (
            {"uidMappings": [one(inside=1)], "gidMappings": [one(inside=1)]},
            "invalid user namespace configuration: UID 0 must be mapped",
        ),
    ],
)
def test_damaged_files(document, text):
    data = document if isinstance(document, str) else json.dumps(document)
    with pytest.raises(ValueError) as caught:
        parse_mapping_file(data.encode())
    assert str(caught.value).startswith(text)


@given(st.binary(max_size=200))
def test_any_file_is_read_or_refused(data):
    try:
        first, length = parse_mapping_file(data)
    except ValueError:
        return
    assert 0 <= first < 1 << 32
    assert 0 <= length < 1 << 32


@pytest.mark.parametrize(
    ("first", "length", "text"),
    [
        (2 * UNIT, 2 * UNIT, "wrong user namespace length 131072"),
        (2 * UNIT + 1, UNIT, "wrong user namespace offset specified 131073"),
        (UNIT, UNIT, "id 65536 is out of range"),
        (7 * UNIT, UNIT, "id 458752 is out of range"),
        (3 * UNIT, UNIT, 'range picked for pod "b" already taken'),
    ],
)
def test_ranges_that_a_pod_cannot_have(first, length, text):
    ranges = IdRanges(SMALL)
    ranges.record("a", 3 * UNIT, UNIT)
    with pytest.raises(ValueError) as caught:
        ranges.record("b", first, length)
    assert str(caught.value) == text
    ranges.record("b", 4 * UNIT, UNIT)
    with pytest.raises(ValueError, match='different user namespace range already used by pod "b"'):
        ranges.record("b", 2 * UNIT, UNIT)


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["take", "record", "release"]), st.integers(0, 7), st.integers(0, 8)),
    max_size=40,
)


@given(ACTIONS)
def test_no_two_pods_share_an_id(actions):
    ranges, held = IdRanges(SMALL), {}
    for action, who, number in actions:
        uid = f"pod-{who}"
        if action == "release":
            ranges.release(uid)
            held.pop(uid, None)
        elif action == "record":
            first = number * UNIT
            try:
                ranges.record(uid, first, UNIT)
            except ValueError:
                continue
            assert held.setdefault(uid, first) == first
        else:
            try:
                first, length = ranges.take(uid, number % SMALL.slots)
            except ValueError as error:
                assert str(error) == "could not find an empty slot to allocate a user namespace"
                assert len(held) == SMALL.slots
                continue
            assert length == UNIT
            # Who has a range is given it again.
            assert held.setdefault(uid, first) == first
        assert ranges.pods == held.keys()
        assert len(set(held.values())) == len(held)
        assert all(SMALL.slot_of(first) is not None and first >= UNIT for first in held.values())


@given(st.integers(0, 4))
def test_every_slot_is_found(start):
    ranges = IdRanges(SMALL)
    taken = {ranges.take(f"pod-{n}", start)[0] for n in range(SMALL.slots)}
    assert taken == {SMALL.first_of(slot) for slot in range(SMALL.slots)}
