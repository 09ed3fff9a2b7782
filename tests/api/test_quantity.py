# ruff: noqa: E501
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.api import codec
from pykubelet.api.core import ResourceRequirements
from pykubelet.api.quantity import Format, Quantity

CANONICAL = [
    ("0", "0"), ("0n", "0"), ("0Ki", "0"), ("-0", "0"), ("1", "1"), ("+1", "1"), ("-1", "-1"),
    ("1Ki", "1Ki"), ("8Ki", "8Ki"), ("7Mi", "7Mi"), ("1024Mi", "1Gi"), ("5Ti", "5Ti"), ("4Pi", "4Pi"), ("3Ei", "3Ei"),
    ("10Ti", "10Ti"), ("100Ti", "100Ti"), ("1000Ki", "1000Ki"), ("1023Ki", "1023Ki"), ("1.5Gi", "1536Mi"),
    ("0.5Ki", "512"), ("0.1Ki", "102400m"), ("1.1Mi", "1153433600m"),
    ("5n", "5n"), ("4u", "4u"), ("3m", "3m"), ("9", "9"), ("8k", "8k"), ("50k", "50k"), ("7M", "7M"),
    ("6G", "6G"), ("5T", "5T"), ("40T", "40T"), ("300T", "300T"), ("2P", "2P"), ("1E", "1E"), ("9.3E", "9300P"),
    ("1000", "1k"), ("1000000", "1M"), ("1500m", "1500m"), ("1000m", "1"), ("0.5", "500m"), ("12.5", "12500m"),
    ("1e3", "1e3"), ("12E6", "12e6"), ("1e-3", "1e-3"), ("100e-3", "100e-3"), ("10e2", "1e3"), ("1E+3", "1e3"),
    ("0.0000000001", "1n"), ("-0.0000000001", "-1n"), ("0.1n", "1n"), ("1.0000000001", "1000000001n"),
    ("9Ei", "9223372036854775807"), ("-9Ei", "-9223372036854775807"), ("100000E", "100000E"),
    ("1.", "1"), (".5", "500m"), ("1.M", "1M"), ("00001", "1"), ("0.50", "500m"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "canonical"), CANONICAL)
def test_canonical_text(text, canonical):
    assert str(Quantity.parse(text)) == canonical
    assert str(Quantity.parse(canonical)) == canonical


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "regular expression"), ("1.1.M", "regular expression"), ("1+1.0M", "regular expression"),
        ("0.1am", "regular expression"), ("aoeu", "regular expression"), (" 1", "regular expression"),
        ("1 ", "regular expression"), ("m", "regular expression"), ("٣", "regular expression"),
        (".5i", "suffix"), ("1i", "suffix"), ("-3.01i", "suffix"), ("0.1mi", "suffix"), ("-3.01e-", "suffix"),
        ("1K", "suffix"), ("1e1000000000", "suffix"), (".", "numeric"),
    ],
)  # fmt: skip
def test_what_is_no_quantity(text, problem):
    with pytest.raises(ValueError, match=problem):
        Quantity.parse(text)


@pytest.mark.parametrize("raw", [True, None, [], "1" * 600])
def test_other_values_are_no_quantities(raw):
    with pytest.raises(ValueError):
        Quantity.parse(raw)


@pytest.mark.parametrize(
    ("text", "value", "milli"),
    [
        ("1", 1, 1000),
        ("1m", 1, 1),
        ("1500m", 2, 1500),
        ("1n", 1, 1),
        ("-1500m", -2, -1500),
        ("1Ki", 1024, 1024000),
    ],
)
def test_values_round_away_from_zero(text, value, milli):
    quantity = Quantity.parse(text)
    assert (quantity.value(), quantity.milli_value()) == (value, milli)


@pytest.mark.parametrize(
    ("raw", "canonical"),
    [(1, "1"), (0.1, "100m"), (1.5, "1500m"), (1e16, "10P"), (1e21, "1e21"), (1e-7, "100e-9")],
)
def test_numbers_are_read_as_json_has_them(raw, canonical):
    assert str(Quantity.parse(raw)) == canonical


def test_family_of_a_sum_is_that_of_its_first_part_that_is_not_zero():
    assert str(Quantity.zero() + Quantity.parse("2048Ki")) == "2Mi"
    assert str(Quantity.parse("1Mi") + Quantity.parse("1M")) == "2048576"
    assert str(Quantity.parse("1500m") - Quantity.parse("1")) == "500m"
    assert str(Quantity.parse("100m") * 30) == "3"


def test_equality_order_and_truth_are_by_amount():
    assert Quantity.parse("1Ki") == Quantity.parse("1024") != Quantity.parse("1023")
    assert hash(Quantity.parse("1Ki")) == hash(Quantity.parse("1.024k"))
    assert Quantity.parse("1") < Quantity.parse("1001m") <= Quantity.parse("1001m") > Quantity.of_milli(1)
    assert Quantity.of(1) >= Quantity.of(1)
    assert not Quantity.parse("0")
    assert Quantity.parse("1n")
    assert Quantity.parse("1") != "1"
    assert -Quantity.of(1) == Quantity.parse("-1")
    assert repr(Quantity.of(1000)) == "Quantity('1k')"
    assert Quantity.parse("1Ki").format is Format.BINARY_SI


SUFFIXES = [
    "n",
    "u",
    "m",
    "",
    "k",
    "M",
    "G",
    "T",
    "P",
    "E",
    "Ki",
    "Mi",
    "Gi",
    "Ti",
    "Pi",
    "Ei",
    "e3",
    "E-3",
    "e10",
]
texts = st.builds(
    lambda sign, number, fraction, suffix: f"{sign}{number}{'.' + fraction if fraction else ''}{suffix}",
    st.sampled_from(["", "-", "+"]),
    st.integers(0, 10**15),
    st.text("0123456789", max_size=12),
    st.sampled_from(SUFFIXES),
)


@given(texts)
def test_canonical_text_keeps_the_amount(text):
    quantity = Quantity.parse(text)
    again = Quantity.parse(str(quantity))
    assert again == quantity
    assert str(again) == str(quantity)


@given(st.integers(-(2**63 - 1) * 10**9, (2**63 - 1) * 10**9), st.sampled_from(Format))
def test_every_amount_has_a_text(nano, form):
    quantity = Quantity(nano, form)
    assert Quantity.parse(str(quantity)) == quantity
    assert quantity.value() == (-1 if nano < 0 else 1) * -(-abs(Fraction(nano, 10**9)) // 1)


@given(texts, texts)
def test_sums_are_exact(one, other):
    a, b = Quantity.parse(one), Quantity.parse(other)
    assert (a + b).nano_value() == a.nano_value() + b.nano_value()
    assert (a + b) - b == a


def test_structs_hold_quantities():
    raw = b'{"limits":{"cpu":"500m","memory":"1024Ki","a.b/c":2}}'
    resources = codec.decode(raw, ResourceRequirements)
    assert resources.limits == {
        "cpu": Quantity.parse("0.5"),
        "memory": Quantity.parse("1Mi"),
        "a.b/c": Quantity.of(2),
    }
    assert codec.encode(resources) == b'{"limits":{"cpu":"500m","memory":"1Mi","a.b/c":"2"}}'
    assert codec.decode(b'{"limits":{"cpu":null}}', ResourceRequirements).limits == {"cpu": Quantity.zero()}
