"""Registry entries against images."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.containers.credentials.matching import Location, parse_location, texts_match

# From the documents of the Go kubelet's credential providers, and from Go's path.Match.
MATCHES = [
    ("registry.io", "registry.io/a/b", True),
    ("registry.io/a", "registry.io/a/b", True),
    ("registry.io/a/c", "registry.io/a/b", False),
    ("registry.io:5000", "registry.io:5000/a", True),
    ("registry.io", "registry.io:5000/a", False),
    ("registry.io:5000", "registry.io/a", False),
    ("*.registry.io", "eu.registry.io/a", True),
    ("*.registry.io", "registry.io/a", False),
    ("*.registry.io", "a.b.registry.io/a", False),
    ("*.*.registry.io", "a.b.registry.io/a", True),
    ("app*.registry.io", "app1.registry.io/a", True),
    ("registry.*", "registry.org/a", True),
    ("reg[a-m]stry.io", "registry.io/a", True),
    ("reg[^a-m]stry.io", "registry.io/a", False),
    ("reg[stry.io", "registry.io/a", False),
    (r"reg\*", "reg*/a", False),
    ("reg[m-a]stry.io", "registry.io/a", False),
    ("reg[i-]stry.io", "registry.io/a", False),
    ("reg[h-ijk]stry.io", "registry.io/a", True),
    ("r*g*s*y.io", "registry.io/a", True),
    ("r*gis*is*.io", "registry.io/a", False),
    ("r**y.*", "registry.io/a", True),
    ("[::1]:5000", "[::1]:5000/a", True),
    ("*:5000/x", "localhost:5000/x/y", True),
    ("*", "a.b/x", False),
    ("user@registry.io", "registry.io/a", True),
    ("registry.io/%2e", "registry.io/.x", True),
    ("registry.io:x", "registry.io:x/a", False),
    ("", "registry.io/a", False),
]


@pytest.mark.parametrize(("entry", "image", "expected"), MATCHES)
def test_entries_and_images(entry, image, expected):
    assert texts_match(entry, image) is expected


@pytest.mark.parametrize("entry", ["*a" * 30 + "*b.io", "*" * 200 + "b.io", "[" + "a-b" * 60 + ".io"])
def test_no_entry_takes_long(entry):
    assert not texts_match(entry, "a" * 200 + ".io/x")


@pytest.mark.parametrize("text", ["a b", "a:x/p", "a%zz", "a/%z", "[::1", "a\n", "{a}"])
def test_what_is_no_url(text):
    with pytest.raises(ValueError, match=r".+"):
        parse_location(text)


def test_parts():
    assert parse_location("h:5000/a/b?q#f") == Location("h:5000", "/a/b")
    assert Location("a.b:1", "").labels() == (["a", "b"], "1")
    assert Location("[::1]:1", "").labels() == (["::1"], "1")
    assert Location("a:b:c", "").labels() == (["a:b:c"], "")


@given(st.text(), st.text())
def test_nothing_breaks_it(entry, image):
    assert texts_match(entry, image) in {True, False}


@given(st.from_regex(r"[a-z]{1,5}(\.[a-z]{1,5}){0,3}(:[0-9]{1,4})?(/[a-z]{1,4}){0,2}", fullmatch=True))
def test_what_is_plain_matches_itself(text):
    assert texts_match(text, text)
