"""Who may use an image that is on the node."""

from datetime import UTC, datetime

import pytest

from pykubelet.containers.credentials.docker_config import Login
from pykubelet.containers.credentials.keyring import Credential, Source
from pykubelet.containers.pulled.access import (
    Policy,
    Verdict,
    credentials_used,
    judge,
    merged,
    pod_secrets,
    settled,
)
from pykubelet.containers.pulled.formats import (
    PullCredentials,
    PulledRecord,
    PullSecret,
    PullServiceAccount,
)

NOW, LATER = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)
EVERYONE = PullCredentials(nodePodsAccessible=True)


def credential(name="s", user="u", uid="1", kind="secret"):
    return Credential(Login(user, "p"), Source(kind, uid, "ns", name))


def known(*secrets, accounts=()):
    return PullCredentials(kubernetesSecrets=secrets, kubernetesServiceAccounts=accounts)


def as_secret(found):
    return pod_secrets([found])[0]


@pytest.mark.parametrize(
    ("policy", "allowlist", "preloaded", "pulled"),
    [
        ("NeverVerify", (), False, False),
        ("NeverVerifyPreloadedImages", (), False, True),
        ("AlwaysVerify", (), True, True),
        ("NeverVerifyAllowlistedImages", (), True, True),
        ("NeverVerifyAllowlistedImages", ("r.io/a",), False, False),
        ("NeverVerifyAllowlistedImages", ("r.io/*",), False, False),
        ("NeverVerifyAllowlistedImages", ("r.io/a/*", "r.io/b"), True, True),
    ],
)
def test_policies(policy, allowlist, preloaded, pulled):
    made = Policy(policy, allowlist)
    for image in ("r.io/a:v1", "r.io/a@sha256:" + "0" * 64, "r.io/a"):
        assert made.verifies(image, pulled_by_kubelet=False) is preloaded
        assert made.verifies(image, pulled_by_kubelet=True) is pulled
    odd = Policy("NeverVerifyAllowlistedImages", ("bad name",))
    assert odd.verifies("bad name", pulled_by_kubelet=True) is False


def test_what_the_record_says_whoever_asks():
    assert settled(None) is Verdict.MUST_AUTHENTICATE
    assert settled(PullCredentials()) is Verdict.MUST_AUTHENTICATE
    assert settled(EVERYONE) is Verdict.KNOWN
    assert settled(known(PullSecret())) is None


def test_the_same_secret():
    mine = credential()
    assert judge(known(as_secret(mine)), [mine]) == (Verdict.KNOWN, None)
    assert judge(known(as_secret(mine)), [credential(name="other", user="v")]) == (
        Verdict.MUST_AUTHENTICATE,
        None,
    )
    assert judge(known(as_secret(mine)), []) == (Verdict.MUST_AUTHENTICATE, None)
    # A login of the node's own is no one's.
    assert judge(known(as_secret(mine)), [Credential(Login("u", "p"))])[0] is Verdict.MUST_AUTHENTICATE


def test_a_secret_that_changed_or_moved_counts_from_then_on():
    kept = as_secret(credential())
    for mine in (credential(user="new"), credential(name="copy", uid="2")):
        assert judge(known(kept), [mine]) == (Verdict.KNOWN, known(as_secret(mine)))
    many = (kept, *(PullSecret(str(n), "ns", "x", f"{n}") for n in range(99)))
    assert judge(known(*many), [credential(user="new")]) == (Verdict.KNOWN, None)
    # A hash that could not be computed matches nothing.
    broken = PullSecret("9", "ns", "z", "")
    assert judge(known(broken), [credential()])[0] is Verdict.MUST_AUTHENTICATE


def test_the_same_service_account():
    account = PullServiceAccount("1", "ns", "robot")
    mine = credential("robot", kind="serviceaccount")
    assert judge(known(accounts=(account,)), [mine]) == (Verdict.KNOWN, None)
    assert judge(known(accounts=(account,)), [credential("robot", uid="2", kind="serviceaccount")])[0] is (
        Verdict.MUST_AUTHENTICATE
    )
    assert judge(known(accounts=(account,)), [credential("robot")])[0] is Verdict.MUST_AUTHENTICATE


def test_who_may_use_what_was_pulled():
    assert credentials_used(None) == EVERYONE
    assert credentials_used(Credential(Login("node"))) == EVERYONE
    assert credentials_used(credential()) == known(as_secret(credential()))
    assert credentials_used(credential("robot", kind="serviceaccount")) == known(
        accounts=(PullServiceAccount("1", "ns", "robot"),)
    )


def test_records_grow():
    first = merged(None, "ref", "img", None, NOW)
    assert first == PulledRecord(imageRef="ref", lastUpdatedTime=NOW)
    assert merged(first, "ref", "img", None, LATER) is None
    assert merged(first, "ref", "img", PullCredentials(), LATER) is None
    b, a = as_secret(credential("b")), as_secret(credential("a"))
    second = merged(first, "ref", "img", known(b), LATER)
    assert (second.credentialMapping, second.lastUpdatedTime) == ({"img": known(b)}, LATER)
    assert merged(second, "ref", "img", known(b), NOW) is None
    third = merged(second, "ref", "img", known(a), NOW)
    assert third.credentialMapping == {"img": known(a, b)}
    changed = as_secret(credential("b", user="new"))
    assert merged(third, "ref", "img", known(changed), NOW).credentialMapping == {"img": known(a, changed)}
    account = PullServiceAccount("1", "ns", "robot")
    fourth = merged(third, "ref", "img", known(accounts=(account,)), NOW)
    assert fourth.credentialMapping == {"img": known(a, b, accounts=(account,))}
    assert merged(fourth, "ref", "img", known(accounts=(account,)), NOW) is None
    fifth = merged(fourth, "ref", "img", EVERYONE, NOW)
    assert fifth.credentialMapping == {"img": EVERYONE}
    assert merged(fifth, "ref", "img", known(a), NOW) is None
    sixth = merged(fifth, "ref", "other", known(a), NOW)
    assert sixth.credentialMapping == {"img": EVERYONE, "other": known(a)}
