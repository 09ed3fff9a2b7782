"""Certificates on disk, as upstream keeps them."""

import os
import stat
from datetime import timedelta
from pathlib import Path

import pytest
from tests.cluster.csr_api import Authority

from pykubelet.base.clock import ManualClock
from pykubelet.cluster.certificate_requests import new_key, signing_request
from pykubelet.cluster.certificate_store import CertificateStore, StoreError, parse_pair
from pykubelet.cluster.rotation import Template

TEMPLATE = Template("system:node:n1", dns_names=("n1",), addresses=("10.0.0.1", "fd00::1"))


def make(clock: ManualClock, authority: Authority | None = None) -> tuple[bytes, bytes]:
    key = new_key()
    now = clock.now().replace(microsecond=0)
    signed = (authority or Authority()).sign(signing_request(key, TEMPLATE), now, now + timedelta(hours=1))
    return signed, key


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(tmp_path: Path) -> CertificateStore:
    return CertificateStore("kubelet-client", tmp_path / "pki")


def test_an_update_is_current_and_older_files_stay(
    store: CertificateStore, clock: ManualClock, tmp_path: Path
) -> None:
    assert store.current() is None
    first = store.update(*make(clock), clock.now())
    clock.advance(3600)
    second = store.update(*make(clock), clock.now())
    assert first.key != second.key
    assert store.current() == second
    names = sorted(path.name for path in (tmp_path / "pki").iterdir())
    assert len(names) == 3
    assert names[2] == "kubelet-client-current.pem"
    stamp = clock.now().astimezone().strftime("%Y-%m-%d-%H-%M-%S")
    assert names[1] == f"kubelet-client-{stamp}.pem"
    assert os.readlink(store.current_path) == str(tmp_path / "pki" / names[1])
    assert stat.S_IMODE(store.current_path.stat().st_mode) == 0o600
    text = store.current_path.read_text()
    assert text.startswith("-----BEGIN CERTIFICATE-----\n")
    assert "-----BEGIN EC PRIVATE KEY-----\n" in text
    assert second.leaf.common_name == "system:node:n1"
    assert second.leaf.organizations == {"system:nodes"}
    assert second.leaf.dns_names == {"n1"}
    assert second.leaf.addresses == {"10.0.0.1", "fd00::1"}
    assert "PRIVATE KEY" not in repr(second)


def test_a_switch_that_was_cut_is_finished(store: CertificateStore, clock: ManualClock) -> None:
    kept = store.update(*make(clock), clock.now())
    # Go removes the link before it renames the new one over it.
    store.current_path.rename(store.current_path.with_name("kubelet-client-updated.pem"))
    assert store.current() == kept
    assert store.current_path.is_symlink()


def test_a_left_over_link_is_no_obstacle(store: CertificateStore, clock: ManualClock) -> None:
    store.update(*make(clock), clock.now())
    store.current_path.with_name("kubelet-client-updated.pem").symlink_to("/nowhere")
    clock.advance(1)
    assert store.update(*make(clock), clock.now()) == store.current()


def test_a_file_in_the_links_place_is_refused(store: CertificateStore, clock: ManualClock) -> None:
    store.update(*make(clock), clock.now())
    store.current_path.unlink()
    store.current_path.write_text("x")
    with pytest.raises(StoreError, match=r"expected .*current\.pem to be a symlink but it is a file"):
        store.update(*make(clock), clock.now())


def test_given_files_and_old_names_are_fallbacks(tmp_path: Path, clock: ManualClock) -> None:
    given = (tmp_path / "given.crt", tmp_path / "given.key")
    store = CertificateStore("kubelet-server", tmp_path, fallback=given)
    pairs = {}
    for files in ((tmp_path / "kubelet-server.crt", tmp_path / "kubelet-server.key"), given):
        chain, key = pairs[files] = make(clock)
        files[0].write_bytes(chain)
        files[1].write_bytes(key)
        found = store.current()
        assert found is not None
        assert (found.files, found.key) == (files, key)


def test_what_does_not_fit_is_refused_and_changes_nothing(
    store: CertificateStore, clock: ManualClock, tmp_path: Path
) -> None:
    kept = store.update(*make(clock), clock.now())
    clock.advance(1)
    chain, _ = make(clock)
    for wrong in (b"", b"garbage", new_key()):
        with pytest.raises(StoreError) as caught:
            store.update(chain, wrong, clock.now())
        assert "PRIVATE" not in str(caught.value)
    with pytest.raises(StoreError):
        store.update(b"garbage", new_key(), clock.now())
    assert store.current() == kept
    store.current_path.resolve().write_text("broken")
    with pytest.raises(StoreError, match=r"current\.pem"):
        store.current()


def test_the_chain_is_kept_whole(clock: ManualClock, tmp_path: Path) -> None:
    authority = Authority()
    leaf, key = make(clock, authority)
    other, _ = make(clock, authority)
    pair = parse_pair(leaf + b"a comment\n" + other, key, (tmp_path, tmp_path))
    assert pair.chain == leaf + other
