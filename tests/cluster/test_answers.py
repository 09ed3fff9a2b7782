"""What the API server answers, read: lines of a watch, their events, what cannot be decoded."""

from collections.abc import AsyncGenerator
from typing import Any

import pytest
from aiohttp import StreamReader

from pykubelet.api.objects import ConfigMap
from pykubelet.cluster.answers import change_of, decoded, item_of, split_lines
from pykubelet.cluster.errors import Refused, Unreachable

PATH = "/api/v1/configmaps"
GOOD = b'{"metadata":{"name":"a","resourceVersion":"7"},"data":{"k":"v"}}'
BAD = b'{"metadata":{"name":"b","namespace":"ns","resourceVersion":"8"},"data":[]}'
OLD = ConfigMap(data={"k": "old"})


async def test_lines_are_bounded() -> None:
    class Chunks:
        async def iter_any(self) -> AsyncGenerator[bytes, None]:
            for chunk in (b"a\nb", b"c", b"\n\n", b"d" * 6, b"d" * 6):
                yield chunk

    lines: list[bytes] = []
    stream: StreamReader = Chunks()  # type: ignore[assignment]
    with pytest.raises(Unreachable):
        async for line in split_lines(stream, 10):
            lines += [line]
    assert lines == [b"a", b"bc"]


def test_an_event_has_its_object_and_version() -> None:
    change = change_of(b'{"type":"ADDED","object":%s}' % GOOD, PATH, ConfigMap, None)
    assert change is not None
    assert (change.kind, change.object.data, change.resource_version) == ("ADDED", {"k": "v"}, "7")
    assert not change.initial_events_end


def test_the_bookmark_that_ends_the_initial_events() -> None:
    meta = b'{"resourceVersion":"9","annotations":{"k8s.io/initial-events-end":"true"}}'
    line = b'{"type":"BOOKMARK","object":{"metadata":%s}}' % meta
    change = change_of(line, PATH, ConfigMap, None)
    assert change is not None
    assert change.initial_events_end


def test_a_kind_without_metadata_of_its_own() -> None:
    change = change_of(b'{"type":"ADDED","object":%s}' % GOOD, PATH, dict[str, Any], None)
    assert change is not None
    assert change.resource_version == "7"


def test_the_server_ends_a_watch() -> None:
    line = b'{"type":"ERROR","object":{"code":410,"reason":"Expired","message":"too old"}}'
    with pytest.raises(Refused) as caught:
        change_of(line, PATH, ConfigMap, None)
    assert caught.value.expired


@pytest.mark.parametrize("line", [b"nonsense", b'{"type":"HELLO","object":{}}'])
def test_what_is_no_event(line: bytes) -> None:
    with pytest.raises(Unreachable):
        change_of(line, PATH, ConfigMap, None)


def test_what_cannot_be_decoded_counts_as_last_known_with_its_new_version() -> None:
    line = b'{"type":"MODIFIED","object":%s}' % BAD
    assert change_of(line, PATH, ConfigMap, None) is None
    change = change_of(line, PATH, ConfigMap, lambda named: OLD)
    assert change is not None
    assert (change.object, change.resource_version) == (OLD, "8")


def test_an_item_of_a_list() -> None:
    found = item_of(GOOD, ConfigMap, None)
    assert found is not None
    assert found.data == {"k": "v"}
    assert item_of(BAD, ConfigMap, None) is None
    assert item_of(BAD, ConfigMap, lambda named: OLD) is OLD
    # What has no name cannot be known.
    assert item_of(b"7", ConfigMap, lambda named: OLD) is None


def test_an_answer_that_cannot_be_read() -> None:
    with pytest.raises(Unreachable, match="cannot be read"):
        decoded(b"{", ConfigMap)
