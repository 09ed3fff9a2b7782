import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.api.core import Container, Pod, PodSpec, ResourceRequirements
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.quantity import Quantity
from pykubelet.base.clock import LoopClock
from pykubelet.pods.actuated import (
    ActuatedResources,
    UnreadableState,
    decode_state,
    encode_state,
    made_with,
)


def amounts(**texts):
    return {name: Quantity.parse(text) for name, text in texts.items()}


def container(name="c", **resources):
    return Container(name=name, resources=ResourceRequirements(**resources))


def pod(*containers, uid="u", resources=None):
    return Pod(metadata=ObjectMeta(uid=uid), spec=PodSpec(containers=list(containers), resources=resources))


def test_upstreams_checksum():
    data = (
        '{"entries":{"pod1":{"ContainerResources":{"container1":{"requests":{"cpu":"1Ki","memory":"1Ki"}}}}}}'
    )
    entries = decode_state(json.dumps({"data": data, "checksum": 1178570812}).encode())
    assert json.loads(encode_state(entries)) == {"data": data, "checksum": 1178570812}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"data": "{}", "checksum": 1}',
        b'{"data": 1, "checksum": 1}',
        b'{"data": "[]", "checksum": 1}',
    ],
)
def test_what_is_no_state(data):
    with pytest.raises(UnreadableState):
        decode_state(data)


def test_no_entries():
    assert decode_state(encode_state({})) == {}


names = st.text(min_size=1, max_size=5)


@given(st.dictionaries(names, st.dictionaries(names, st.just({"limits": {"memory": "1<2"}}))))
def test_what_is_written_is_read(containers):
    entries = {
        uid: {"ContainerResources": each, "PodLevelResources": None} for uid, each in containers.items()
    }
    assert decode_state(encode_state(entries)) == entries


@given(st.binary(max_size=50))
def test_any_bytes_are_read_or_refused(data):
    with contextlib.suppress(UnreadableState):
        decode_state(data)


def test_a_containers_own_resources():
    one = container(limits=amounts(memory="32Mi"), requests=amounts(cpu="10m", memory="16Mi"))
    assert made_with(pod(one), one) == {
        "limits": {"memory": "32Mi"},
        "requests": {"cpu": "10m", "memory": "16Mi"},
    }
    assert made_with(pod(container()), container()) == {}


def test_limits_of_the_whole_pod_hold_where_a_container_has_none():
    one = container(limits=amounts(memory="32Mi"))
    whole = ResourceRequirements(limits=amounts(cpu="500m", memory="1Gi", **{"hugepages-2Mi": "2Mi"}))
    assert made_with(pod(one, resources=whole), one) == {"limits": {"cpu": "500m", "memory": "32Mi"}}


@pytest.mark.looptime
async def test_records_are_written_and_read_by_the_next_daemon(tmp_path):
    file = tmp_path / "actuated_pods_state"
    first = ActuatedResources(file, LoopClock())
    await first.start()
    one, two = container("one", limits=amounts(memory="1Mi")), container("two")
    first.made(pod(two, one, uid="a"), two)
    first.made(pod(two, one, uid="a"), one)
    first.made(pod(one, uid="b", resources=ResourceRequirements(limits=amounts(cpu="1"))), one)
    await first.stop()
    expected = {
        "a": {
            "ContainerResources": {"one": {"limits": {"memory": "1Mi"}}, "two": {}},
            "PodLevelResources": None,
        },
        "b": {
            "ContainerResources": {"one": {"limits": {"cpu": "1", "memory": "1Mi"}}},
            "PodLevelResources": {"limits": {"cpu": "1"}},
        },
    }
    assert decode_state(file.read_bytes()) == expected
    second = ActuatedResources(file, LoopClock())
    await second.start()
    second.keep_only({"b", "other"})
    await second.stop()
    assert decode_state(file.read_bytes()) == {"b": expected["b"]}


@pytest.mark.looptime
async def test_a_broken_file_is_written_anew(tmp_path):
    file = tmp_path / "actuated_pods_state"
    file.write_text("{")
    records = ActuatedResources(file, LoopClock())
    await records.start()
    records.made(pod(container()), container())
    await records.stop()
    assert list(decode_state(file.read_bytes())) == ["u"]
