"""Which certificate is wanted, and when."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.api.node import NodeAddress
from pykubelet.cluster.certificate_manager import retry_wait
from pykubelet.cluster.certificate_store import Leaf
from pykubelet.cluster.rotation import (
    Template,
    client_template,
    rotation_deadline,
    serving_template,
    unsatisfied,
)

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def leaf(**changes: object) -> Leaf:
    facts: dict[str, object] = {
        "common_name": "system:node:n1",
        "organizations": frozenset({"system:nodes"}),
        "dns_names": frozenset({"n1"}),
        "addresses": frozenset({"10.0.0.1"}),
        "not_before": BEGIN,
        "not_after": BEGIN + timedelta(days=365),
    }
    return Leaf(**{**facts, **changes})  # type: ignore[arg-type]


def addresses(*pairs: str) -> list[NodeAddress]:
    return [NodeAddress(type=pair.split("=")[0], address=pair.split("=")[1]) for pair in pairs]


@pytest.mark.parametrize(
    ("given_addresses", "names", "ips"),
    [
        (["InternalIP=10.0.0.2", "Hostname=n1", "InternalIP=10.0.0.1"], ("n1",), ("10.0.0.1", "10.0.0.2")),
        (["InternalIP=FD00::0:1", "ExternalIP=1.2.3.4"], (), ("1.2.3.4", "fd00::1")),
        (["Hostname=10.0.0.9"], (), ("10.0.0.9",)),
        (["InternalIP=x", "ExternalDNS=b", "InternalDNS=a", "Hostname=10.0.0.9"], ("a", "b"), ("10.0.0.9",)),
    ],
)
def test_names_of_a_serving_certificate(
    given_addresses: list[str], names: tuple[str, ...], ips: tuple[str, ...]
) -> None:
    found = serving_template("n1", addresses(*given_addresses))
    assert found == Template("system:node:n1", ("system:nodes",), names, ips)


def test_nothing_is_asked_for_before_there_is_an_ip() -> None:
    assert serving_template("n1", []) is None
    assert serving_template("n1", addresses("Hostname=n1", "Hostname=")) is None
    assert serving_template("n1", addresses("Hostname=n1"), dns_only=True) is not None


@pytest.mark.parametrize(
    ("template", "word"),
    [
        (client_template("n1"), ""),
        (client_template("n2"), "the name is 'system:node:n1', not "),
        (Template("system:node:n1", organizations=("system:nodes", "x")), "organizations x"),
        (Template("system:node:n1", dns_names=("n1", "n2", "n3")), "DNS names n2, n3"),
        (Template("system:node:n1", addresses=("10.0.0.2",)), "IP addresses 10.0.0.2"),
        (Template("system:node:n1", dns_names=("n1",), addresses=("10.0.0.1",)), ""),
    ],
)
def test_what_a_certificate_lacks(template: Template, word: str) -> None:
    missing = unsatisfied(leaf(), template)
    assert missing.startswith(word)
    assert bool(missing) == bool(word)


@given(share=st.floats(0, 1), seconds=st.integers(1, 10**9))
def test_the_deadline_lies_between_70_and_90_percent(share: float, seconds: int) -> None:
    one = leaf(not_after=BEGIN + timedelta(seconds=seconds))
    deadline = rotation_deadline(one, share)
    part = (deadline - BEGIN).total_seconds() / seconds
    assert 0.69999 <= part <= 0.90001


def test_waits_between_tries() -> None:
    assert [retry_wait(failures, 0.0) for failures in (1, 2, 3, 4, 5, 6, 99)] == [2, 4, 8, 16, 32, 32, 32]
    assert retry_wait(1, 1.0) == pytest.approx(2.2)
