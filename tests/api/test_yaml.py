# ruff: noqa: E501
import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.api.yaml import YamlError, load_all

SCALARS = [
    ("yes", True), ("Y", True), ("on", True), ("TRUE", True), ("n", False), ("Off", False), ("oN", "oN"),
    ("~", None), ("null", None), ("", None), ("NULL", None), ("nULL", "nULL"),
    ("0", 0), ("-0", 0), ("12", 12), ("+12", 12), ("1_000", 1000), ("010", 8), ("0o17", 15), ("0x1F", 31),
    ("-0x1F", -31), ("0b101", 5), ("-0b11", -3), ("08", 8), ("0x", "0x"), ("18446744073709551615", 2**64 - 1),
    ("1:30", "1:30"), ("190:20:30", "190:20:30"), ("2001-01-01", "2001-01-01"),
    ("2001-12-14T21:59:43.10-05:00", "2001-12-14T21:59:43.10-05:00"),
    ("1.5", 1.5), (".5", 0.5), ("5.", 5), ("1e3", 1000), ("1.5E-3", 0.0015), ("12e", "12e"), ("1e999", "1e999"),
    ("1.2.3", "1.2.3"), ("-", None), ("=", "="), ("NaN", "NaN"), ("inf", "inf"), ("500m", "500m"), ("1Gi", "1Gi"),
    ("'7'", "7"), ('"yes"', "yes"), ("!!str 5", "5"), ("!!int '7'", 7), ("!!float 3", 3), ("!!binary aGk=", "hi"),
    ("|\n  x\n  y\n", "x\ny\n"), (">-\n  x\n  y\n", "x y"), ("!other 5", "5"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), [pair for pair in SCALARS if pair[0] != "-"])
def test_scalars_as_go_reads_them(text, value):
    [document] = load_all(f"a: {text}")
    assert document == {"a": value}
    assert type(document["a"]) is type(value)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: 2\na: 3", 'line 3: key "a" already set in map'),
        ('{"a": 1, "a": 2}', 'key "a" already set in map'),
        ("1: a\n'1': b", 'key "1" already set'),
        ("a: &a {b: *a}", "contains itself"),
        ("a: *b", "anchor|alias"),
        ("a: .nan", "unsupported value"),
        ('{"a": NaN}', "not a JSON value"),
        ("null: 1", "unsupported map key"),
        ("? [1]\n: 2", "invalid map key"),
        ("? {a: 1}\n: 2", "invalid map key"),
        ("a: [", "line"),
        ("\ta: 1", "line 1"),
        ("a: !!int x", "cannot decode"),
        ("<<: 1", "map merge requires"),
        ("[" * 100_000, "max depth"),
        ('{"a":' * 100_000, "."),
        (b"\xff\xfe\x00", "UTF-8"),
        ("{}" * 10_001, "too many documents"),
        ("---\n" * 10_001, "too many documents"),
        ("\n".join(f"- {i}" for i in range(200_001)), "too many values"),
    ],
)
def test_what_is_refused(text, problem):
    with pytest.raises(YamlError, match=problem):
        load_all(text)


def test_aliases_are_followed_but_bounded():
    assert load_all("a: &x [1, 2]\nb: *x") == [{"a": [1, 2], "b": [1, 2]}]
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 10)]
    with pytest.raises(YamlError, match="excessive aliasing"):
        load_all("\n".join(lines))
    deep = ["a0: &a0 [x]"] + [f"a{i}: &a{i} [*a{i - 1}]" for i in range(1, 300)]
    with pytest.raises(YamlError, match="max depth"):
        load_all("\n".join(deep))


def test_merge_keys():
    text = "base: &b {a: 1, c: 2}\none: {<<: *b, a: 9}\ntwo: {d: 4, <<: [*b, {a: 7, e: 5}]}"
    [document] = load_all(text)
    assert document["one"] == {"a": 9, "c": 2}
    assert document["two"] == {"d": 4, "a": 1, "c": 2, "e": 5}


def test_documents():
    assert load_all("---\n---\na: 1\n...\n---\nb: 2\n") == [None, {"a": 1}, {"b": 2}]
    assert load_all("# nothing\n") == []
    assert load_all('\ufeff{"a":\t1}\n {"b": [2.0]}\n'.encode()) == [{"a": 1}, {"b": [2.0]}]
    assert load_all("{a: b}") == [{"a": "b"}]
    assert load_all("1: a\ntrue: b\n1.5: c\n") == [{"1": "a", "true": "b", "1.5": "c"}]


trees = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.text(st.characters(codec="ascii", min_codepoint=32)),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abcxyz<", min_size=1), inner, max_size=4)
    ),
    max_leaves=15,
)


@given(st.dictionaries(st.text("abc", min_size=1), trees))
def test_json_is_taken_as_it_is(tree):
    assert load_all(json.dumps(tree)) == [tree]
    # The same text behind a document marker goes through the YAML parser.
    assert load_all("---\n" + json.dumps(tree)) == [tree]


@given(st.binary(max_size=200))
def test_noise_is_refused_or_read_but_never_raises_otherwise(data):
    with contextlib.suppress(YamlError):
        load_all(data)
