import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.api.core import ResourceRequirements
from pykubelet.api.quantity import Quantity
from pykubelet.pods.resize.amounts import PodAmounts
from pykubelet.pods.resize.state_file import (
    StateEncoder,
    UnreadableState,
    decode_state,
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
    written = json.loads(StateEncoder().encode(entries))
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
    assert decode_state(StateEncoder().encode({})) == {}
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
    assert decode_state(StateEncoder().encode(entries)) == entries


@given(st.binary(max_size=50))
def test_any_bytes_are_read_or_refused(data):
    with contextlib.suppress(UnreadableState):
        decode_state(data)


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from("abcde"),
            st.sampled_from(
                [PodAmounts(), PodAmounts({"c": of()}), PodAmounts({"<": of(limits={"cpu": "1"})}, of())]
            ),
        )
    )
)
def test_an_encoder_writes_what_a_new_one_would(states):
    encoder = StateEncoder()
    for entries in states:
        file = encoder.encode(entries)
        assert file == StateEncoder().encode(entries)
        document = json.loads(file)
        assert document["checksum"] == state_checksum(document["data"])
        assert decode_state(file) == entries
