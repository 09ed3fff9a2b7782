import asyncio
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.api.core import ResourceRequirements
from pykubelet.api.quantity import Quantity
from pykubelet.pods.resize.amounts import PodAmounts
from pykubelet.pods.resize.checkpoint import (
    ResourceBook,
    UnreadableState,
    decode_state,
    encode_state,
    state_checksum,
)


def of(**lists):
    return ResourceRequirements(
        **{key: {name: Quantity.parse(text) for name, text in each.items()} for key, each in lists.items()}
    )


DATA = '{"entries":{"pod1":{"ContainerResources":{"container1":{"requests":{"cpu":"1Ki","memory":"1Ki"}}}}}}'


def test_upstreams_checksum():
    assert state_checksum(DATA) == 1178570812
    entries = decode_state(json.dumps({"data": DATA, "checksum": 1178570812}).encode())
    assert entries == {"pod1": PodAmounts({"container1": of(requests={"cpu": "1Ki", "memory": "1Ki"})})}
    written = json.loads(encode_state(entries))
    # Since pods as a whole can be resized upstream's always writes that they are not.
    assert written["data"] == DATA[:-3] + ',"PodLevelResources":null}}}'
    assert written["checksum"] == state_checksum(written["data"])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"data": "{}", "checksum": 1}',
        b'{"data": 1, "checksum": 1}',
        b'{"data": "[]", "checksum": 1}',
        json.dumps({"data": (bad := '{"entries":{"u":1}}'), "checksum": state_checksum(bad)}).encode(),
        json.dumps(
            {"data": (bad := '{"entries":{"u":{"ContainerResources":{"c":{"limits":{"cpu":"x"}}}}}}'),
             "checksum": state_checksum(bad)}
        ).encode(),
    ],
)  # fmt: skip
def test_what_is_no_state(data):
    with pytest.raises(UnreadableState):
        decode_state(data)


def test_no_entries():
    assert decode_state(encode_state({})) == {}
    nothing = '{"entries":{"u":{"ContainerResources":null,"PodLevelResources":null}}}'
    data = json.dumps({"data": nothing, "checksum": state_checksum(nothing)}).encode()
    assert decode_state(data) == {"u": PodAmounts()}


names = st.text(min_size=1, max_size=5)
quantities = st.sampled_from(["1", "100m", "1Mi", "1500M", "1<2".replace("<", "")]).map(Quantity.parse)
lists = st.dictionaries(st.sampled_from(["cpu", "memory", "example.com/a<b"]), quantities)
resources = st.builds(ResourceRequirements, limits=lists, requests=lists)
amounts = st.builds(PodAmounts, st.dictionaries(names, resources), st.none() | resources)


@given(st.dictionaries(names, amounts))
def test_what_is_written_is_read(entries):
    assert decode_state(encode_state(entries)) == entries


@given(st.binary(max_size=50))
def test_any_bytes_are_read_or_refused(data):
    with contextlib.suppress(UnreadableState):
        decode_state(data)


async def test_records_are_written_and_read_by_the_next_daemon(tmp_path):
    file = tmp_path / "allocated_pods_state"
    first = ResourceBook(file, "first")
    await first.start()
    await first.stored()
    one, whole = of(limits={"memory": "1Mi"}), of(limits={"cpu": "1"})
    first.set_container("a", "two", of())
    first.set_container("a", "one", one)
    first.set_whole("b", whole)
    await first.stored()
    expected = {"a": PodAmounts({"one": one, "two": of()}), "b": PodAmounts({}, whole)}
    assert decode_state(file.read_bytes()) == expected
    first.set("c", PodAmounts({"x": of()}))
    await first.stop()
    second = ResourceBook(file, "second")
    await second.start()
    assert second.get("c") == PodAmounts({"x": of()})
    second.keep_only({"b", "other"})
    await second.stop()
    assert decode_state(file.read_bytes()) == {"b": expected["b"]}


async def test_many_who_wait_share_few_writes(tmp_path, monkeypatch):
    writes = []
    store = "pykubelet.pods.resize.checkpoint._store"
    monkeypatch.setattr(store, lambda file, entries: writes.append(set(entries)))
    book = ResourceBook(tmp_path / "state", "book")
    await book.start()

    async def record(uid):
        book.set(uid, PodAmounts({"c": of()}))
        await book.stored()
        assert any(uid in written for written in writes)

    await asyncio.gather(*(record(f"u{number}") for number in range(50)))
    await book.stop()
    assert len(writes) <= 3


async def test_a_broken_file_is_written_anew(tmp_path):
    file = tmp_path / "actuated_pods_state"
    file.write_text("{")
    left, other = tmp_path / ".actuated_pods_state.0123abcd", tmp_path / ".allocated_pods_state.0123abcd"
    for temporary in (left, other):
        temporary.touch()
    records = ResourceBook(file, "book")
    await records.start()
    records.set_container("u", "c", of())
    await records.stop()
    assert list(decode_state(file.read_bytes())) == ["u"]
    # A daemon that was killed while it wrote left the first; the second may be another one's, now.
    assert sorted(tmp_path.iterdir()) == [other, file]


async def test_a_file_that_cannot_be_written_holds_nobody_up(tmp_path):
    book = ResourceBook(tmp_path / "gone" / "state", "book")
    await book.start()
    book.set_container("u", "c", of())
    await book.stored()
    await book.stop()
