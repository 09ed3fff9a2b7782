"""The patches of the double, as pure functions."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.apiserver.errors import ApiError
from tests.apiserver.patch import StrategicMerge, json_patch, merge

Object = dict[str, Any]


def strategic(kind: str, obj: Object, patch: Object) -> Object:
    """The patched object; neither argument may change."""
    before = copy.deepcopy((obj, patch))
    result = StrategicMerge(kind).apply(obj, patch)
    assert (obj, patch) == before
    return result


def conditions(*types: str, **changed: str) -> list[Object]:
    return [{"type": kind, "status": changed.get(kind, "True")} for kind in types]


class TestObjects:
    @pytest.mark.parametrize(
        ("obj", "patch", "result"),
        [
            ({"a": 1}, {"b": 2}, {"a": 1, "b": 2}),
            ({"a": 1}, {"a": None}, {}),
            ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, {"a": {"b": 3, "c": 2}}),
            ({"a": 1}, {"a": {"b": 2}}, {"a": {"b": 2}}),
            ({"a": {"b": 1}}, {"a": {"$patch": "replace", "c": 2}}, {"a": {"c": 2}}),
            ({"a": {"b": 1}}, {"a": {"$patch": "delete"}}, {"a": {}}),
            ({"a": {"b": 1, "c": 2}}, {"a": {"$retainKeys": ["c", "d"], "d": 3}}, {"a": {"c": 2, "d": 3}}),
            ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
        ],
    )
    def test_merge(self, obj: Object, patch: Object, result: Object) -> None:
        assert strategic("Pod", obj, patch) == result

    def test_an_unknown_directive(self) -> None:
        with pytest.raises(ApiError, match="unknown patch type: other"):
            strategic("Pod", {}, {"status": {"$patch": "other"}})


class TestLists:
    @pytest.mark.parametrize(
        ("kind", "path", "key"),
        [
            ("Pod", "conditions", "type"),
            ("Pod", "podIPs", "ip"),
            ("Pod", "hostIPs", "ip"),
            ("Pod", "resourceClaimStatuses", "name"),
            ("Node", "conditions", "type"),
            ("Node", "addresses", "type"),
        ],
    )
    def test_merged_by_their_key(self, kind: str, path: str, key: str) -> None:
        obj = {"status": {path: [{key: "a", "v": 1}, {key: "b", "v": 1}]}}
        patch = {"status": {path: [{key: "b", "v": 2}]}}
        result = strategic(kind, obj, patch)
        assert result == {"status": {path: [{key: "a", "v": 1}, {key: "b", "v": 2}]}}

    @pytest.mark.parametrize(
        ("kind", "part", "name"),
        [
            ("Pod", "status", "containerStatuses"),
            ("Pod", "status", "initContainerStatuses"),
            ("Node", "status", "images"),
            ("Node", "status", "volumesInUse"),
            ("Node", "status", "volumesAttached"),
            ("Node", "spec", "taints"),
        ],
    )
    def test_atomic(self, kind: str, part: str, name: str) -> None:
        result = strategic(kind, {part: {name: [{"key": "a"}]}}, {part: {name: [{"key": "b", "x": None}]}})
        assert result == {part: {name: [{"key": "b"}]}}

    def test_owners_merge_by_uid_in_every_kind(self) -> None:
        obj = {"metadata": {"ownerReferences": [{"uid": "1", "name": "a"}]}}
        references = [{"uid": "2", "name": "b"}, {"uid": "1", "$patch": "delete"}]
        result = strategic("Lease", obj, {"metadata": {"ownerReferences": references}})
        assert result["metadata"]["ownerReferences"] == [{"uid": "2", "name": "b"}]

    def test_within_the_elements_of_a_list(self) -> None:
        obj = {"spec": {"containers": [{"name": "a", "env": [{"name": "X", "value": "1"}]}]}}
        patch = {"spec": {"containers": [{"name": "a", "env": [{"name": "Y", "value": "2"}]}]}}
        [container] = strategic("Pod", obj, patch)["spec"]["containers"]
        assert {variable["name"] for variable in container["env"]} == {"X", "Y"}

    def test_an_element_without_its_key(self) -> None:
        with pytest.raises(ApiError, match="does not contain declared merge key: type"):
            strategic("Pod", {"status": {"conditions": conditions("A")}}, {"status": {"conditions": [{}]}})

    def test_no_list(self) -> None:
        with pytest.raises(ApiError, match="cannot restore slice"):
            strategic("Pod", {}, {"status": {"conditions": "A"}})


class TestOrder:
    @pytest.mark.parametrize(
        ("body", "order"),
        [
            ({"conditions": conditions("B")}, "ABCD"),
            ({"conditions": conditions("A", "E")}, "AEBCD"),
            ({"conditions": conditions("E")}, "EABCD"),
            ({"$setElementOrder/conditions": conditions("D", "B"), "conditions": conditions("B")}, "ACDB"),
            ({"$setElementOrder/conditions": conditions("D", "C", "B", "A")}, "DCBA"),
            ({"conditions": [{"$patch": "replace"}, *conditions("Z")]}, "Z"),
            ({"conditions": [{"$patch": "replace"}]}, ""),
            ({"conditions": [{"$patch": "delete", "type": "C"}]}, "ABD"),
            ({"conditions": [{"$patch": "delete", "type": "none"}]}, "ABCD"),
        ],
    )
    def test_of_merged_elements(self, body: Object, order: str) -> None:
        result = strategic("Pod", {"status": {"conditions": conditions(*"ABCD")}}, {"status": body})
        assert "".join(condition["type"] for condition in result["status"]["conditions"]) == order

    def test_that_contradicts_the_patch(self) -> None:
        body = {"$setElementOrder/conditions": conditions("B", "A"), "conditions": conditions("A", "B")}
        with pytest.raises(ApiError, match="doesn't match"):
            strategic("Pod", {"status": {"conditions": conditions(*"ABC")}}, {"status": body})


class TestPrimitives:
    def test_finalizers_are_a_set(self) -> None:
        obj = {"metadata": {"finalizers": ["a", "b"]}}
        result = strategic("Pod", obj, {"metadata": {"finalizers": ["b", "c"]}})
        assert sorted(result["metadata"]["finalizers"]) == ["a", "b", "c"]

    def test_deletion(self) -> None:
        obj = {"metadata": {"finalizers": ["a", "b"]}}
        patch = {
            "metadata": {
                "$deleteFromPrimitiveList/finalizers": ["a"],
                "$setElementOrder/finalizers": ["c", "b"],
                "finalizers": ["c"],
            }
        }
        assert strategic("Pod", obj, patch)["metadata"]["finalizers"] == ["c", "b"]


names = st.text("ABCDEF", min_size=1, max_size=1)
lists = st.lists(names, unique=True)


@given(old=lists, new=lists)
def test_merging_keeps_every_element_once(old: list[str], new: list[str]) -> None:
    obj, patch = {"status": {"conditions": conditions(*old)}}, {"status": {"conditions": conditions(*new)}}
    result = strategic("Pod", obj, patch)["status"]["conditions"]
    types = [condition["type"] for condition in result]
    assert sorted(types) == sorted({*old, *new})
    assert [kind for kind in types if kind in new] == new
    assert strategic("Pod", {"status": {"conditions": result}}, patch)["status"]["conditions"] == result


plain = st.recursive(
    st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
objects = st.dictionaries(st.sampled_from("abc"), plain, max_size=3)


@given(objects, objects)
def test_without_lists_of_the_api_both_merges_agree(obj: Object, patch: Object) -> None:
    assert strategic("Pod", obj, patch) == merge(obj, patch)


@pytest.mark.parametrize(
    ("old", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ("text", {"a": 1}, {"a": 1}),
        ({"a": 1}, "text", "text"),
    ],
)
def test_merge_patch(old: Any, patch: Any, result: Any) -> None:
    assert merge(old, patch) == result


@pytest.mark.parametrize(
    ("operation", "result"),
    [
        ({"op": "add", "path": "/b", "value": 2}, {"a": [1, 2], "b": 2}),
        ({"op": "add", "path": "/a/-", "value": 3}, {"a": [1, 2, 3]}),
        ({"op": "add", "path": "/a/0", "value": 0}, {"a": [0, 1, 2]}),
        ({"op": "add", "path": "/x~1y", "value": 0}, {"a": [1, 2], "x/y": 0}),
        ({"op": "replace", "path": "/a/1", "value": 3}, {"a": [1, 3]}),
        ({"op": "remove", "path": "/a"}, {}),
        ({"op": "test", "path": "/a/0", "value": 1}, {"a": [1, 2]}),
    ],
)
def test_json_patch(operation: Object, result: Object) -> None:
    obj = {"a": [1, 2]}
    assert json_patch(obj, [operation]) == result
    assert obj == {"a": [1, 2]}


@pytest.mark.parametrize(
    "operation",
    [
        {"op": "replace", "path": "/b", "value": 2},
        {"op": "remove", "path": "/a/7"},
        {"op": "test", "path": "/a", "value": 1},
        {"op": "nonsense", "path": "/a"},
        {"op": "add"},
    ],
)
def test_json_patches_that_do_not_apply(operation: Object) -> None:
    with pytest.raises(ApiError):
        json_patch({"a": [1, 2]}, [operation])
