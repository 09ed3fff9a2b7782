"""From a bootstrap kubeconfig to a client certificate, with a crash at any point."""

import asyncio
import base64
import contextlib
import stat
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tests.cluster.csr_api import CsrApi, immediate_threads

from pykubelet.base.clock import LoopClock
from pykubelet.base.journal import NullJournal
from pykubelet.base.tasks import TaskOwner
from pykubelet.cluster import kubeconfig
from pykubelet.cluster.access import Access, Pem
from pykubelet.cluster.bootstrap import Bootstrap, BootstrapError, kubeconfig_text, unusable
from pykubelet.cluster.certificate_requests import (
    CLIENT,
    digested_name,
    new_key,
    signing_request,
    usages,
)
from pykubelet.cluster.errors import Refused, Unreachable
from pykubelet.cluster.rotation import client_template

__all__ = ["immediate_threads"]
pytestmark = [pytest.mark.looptime, pytest.mark.usefixtures("immediate_threads")]

CA = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
#: As `kubeadm join` leaves it in /etc/kubernetes/bootstrap-kubelet.conf.
BOOTSTRAP = f"""\
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {base64.b64encode(CA).decode()}
    server: https://10.0.0.1:6443
  name: kubernetes
contexts:
- context:
    cluster: kubernetes
    user: tls-bootstrap-token-user
  name: tls-bootstrap-token-user@kubernetes
current-context: tls-bootstrap-token-user@kubernetes
kind: Config
preferences: {{}}
users:
- name: tls-bootstrap-token-user
  user:
    token: abcdef.0123456789abcdef
"""


class Node:
    """A node's files, and bootstraps that begin as often as the test says."""

    def __init__(self, root: Path) -> None:
        self.clock = LoopClock()
        self.api = CsrApi(self.clock)
        self.kubeconfig = root / "etc" / "kubelet.conf"
        self.bootstrap = root / "bootstrap-kubelet.conf"
        self.bootstrap.write_text(BOOTSTRAP)
        self.pki = root / "pki"
        self.asked_with: list[Access] = []

    def make(self, *, without_bootstrap: bool = False) -> Bootstrap:
        return Bootstrap(
            self.kubeconfig, None if without_bootstrap else self.bootstrap, self.pki, "n1",
            clock=self.clock, random=Random(1), journal=NullJournal(),
        )  # fmt: skip

    async def obtain(self) -> None:
        await self.make().obtain(self.api_for)

    async def problem(self) -> str:
        """Why the kubeconfig does not serve."""
        return await asyncio.to_thread(unusable, self.kubeconfig, self.clock.now())

    @contextlib.asynccontextmanager
    async def api_for(self, access: Access) -> AsyncIterator[CsrApi]:
        self.asked_with.append(access)
        yield self.api


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_the_kubeconfig_is_the_one_that_go_writes(tmp_path: Path) -> None:
    access = kubeconfig.parse(BOOTSTRAP.encode(), tmp_path / "x")
    assert (
        kubeconfig_text(access, Path("/var/lib/kubelet/pki/kubelet-client-current.pem"))
        == f"""\
apiVersion: v1
clusters:
- cluster:
    certificate-authority-data: {base64.b64encode(CA).decode()}
    server: https://10.0.0.1:6443
  name: default-cluster
contexts:
- context:
    cluster: default-cluster
    namespace: default
    user: default-auth
  name: default-context
current-context: default-context
kind: Config
users:
- name: default-auth
  user:
    client-certificate: /var/lib/kubelet/pki/kubelet-client-current.pem
    client-key: /var/lib/kubelet/pki/kubelet-client-current.pem
"""
    )


def test_other_ways_to_trust_and_reach_the_server_are_kept() -> None:
    access = Access("https://x:1", server_name="api", ca=Pem(path=Path("/ca.crt")))
    (cluster,) = yaml.safe_load(kubeconfig_text(access, Path("/p")))["clusters"]
    assert cluster["cluster"] == {
        "server": "https://x:1",
        "certificate-authority": "/ca.crt",
        "tls-server-name": "api",
    }
    insecure = yaml.safe_load(kubeconfig_text(Access("https://x:1", insecure=True), Path("/p")))
    assert insecure["clusters"][0]["cluster"]["insecure-skip-tls-verify"] is True


async def test_with_rotation_only_the_kubeconfig_is_written(node: Node) -> None:
    found = await node.make().access()
    assert found.request.token == "abcdef.0123456789abcdef"
    assert (found.own.token, found.own.server) == ("", "https://10.0.0.1:6443")
    current = node.pki / "kubelet-client-current.pem"
    assert found.own.certificate == found.own.key == Pem(path=current)
    assert found.initial is None
    assert stat.S_IMODE(node.kubeconfig.stat().st_mode) == 0o600
    assert "abcdef" not in node.kubeconfig.read_text()
    assert "abcdef" not in repr(found)
    # Nothing is stored yet: the next start bootstraps again.
    assert (await node.make().access()).request.token


async def test_a_valid_kubeconfig_wins_over_the_bootstrap(node: Node) -> None:
    await node.obtain()
    node.bootstrap.unlink()
    written = node.kubeconfig.read_text()
    found = await node.make().access()
    assert found.request.certificate == Pem(path=node.pki / "kubelet-client-current.pem")
    await node.obtain()
    assert len(node.api.made) == 1
    assert node.kubeconfig.read_text() == written


async def test_an_expired_certificate_leads_back_to_the_bootstrap(node: Node) -> None:
    await node.obtain()
    await asyncio.sleep(3602)
    assert "expired" in await node.problem()
    assert (await node.make().access()).request.token


async def test_without_either_kubeconfig_both_troubles_are_told(node: Node) -> None:
    await node.obtain()
    await asyncio.sleep(3602)
    node.bootstrap.unlink()
    for ask in (node.make().access, node.obtain):
        with pytest.raises(BootstrapError) as caught:
            await ask()
        text = str(caught.value)
        assert text.startswith("unable to load bootstrap kubeconfig: ")
        assert f"{node.kubeconfig} cannot be used: a certificate of it has expired" in text


async def test_a_kubeconfig_alone_must_be_there_and_its_pair_is_the_first(node: Node) -> None:
    with pytest.raises(BootstrapError, match=r"kubelet\.conf"):
        await node.make(without_bootstrap=True).access()
    key = new_key()
    now = node.clock.now().replace(microsecond=0)
    request = signing_request(key, client_template("n1"))
    chain = node.api.authority.sign(request, now, now + timedelta(hours=1))
    config = yaml.safe_load(BOOTSTRAP)
    config["users"][0]["user"] = {
        "client-certificate-data": base64.b64encode(chain).decode(),
        "client-key-data": base64.b64encode(key).decode(),
    }
    node.kubeconfig.parent.mkdir()
    node.kubeconfig.write_text(yaml.safe_dump(config))
    found = await node.make(without_bootstrap=True).access()
    assert found.initial == (chain, key)
    assert found.own.certificate == Pem(path=node.pki / "kubelet-client-current.pem")
    assert "PRIVATE" not in repr(found)


async def test_without_rotation_the_certificate_is_waited_for(node: Node) -> None:
    await node.obtain()
    (csr,) = node.api.made
    key = (await asyncio.to_thread(node.make().store.current)).key  # type: ignore[union-attr]
    name = digested_name(key, client_template("n1"), usages(CLIENT, key))
    assert csr.metadata.name == name
    assert name.startswith("node-csr-")
    assert len(name) == len("node-csr-") + 43
    assert node.asked_with[0].token
    assert not (node.pki / "kubelet-client.key.tmp").exists()
    assert await node.problem() == ""


async def test_a_restart_takes_up_the_request_under_way(node: Node) -> None:
    node.api.verdict = ""
    first = TaskOwner("test").spawn("obtain", node.obtain())
    await asyncio.sleep(100)
    first.cancel()
    assert stat.S_IMODE((node.pki / "kubelet-client.key.tmp").stat().st_mode) == 0o600
    second = TaskOwner("test").spawn("obtain", node.obtain())
    await asyncio.sleep(100)
    assert len(node.api.made) == 1
    node.api.conclude(node.api.made[0].metadata.name, "Approved")
    await second
    assert await node.problem() == ""


async def test_a_crash_after_the_certificate_was_stored(node: Node) -> None:
    await node.obtain()
    node.kubeconfig.unlink()
    await node.obtain()
    assert len(node.api.made) == 1
    assert await node.problem() == ""


async def test_a_broken_pending_key_is_made_anew(node: Node) -> None:
    node.pki.mkdir()
    (node.pki / "kubelet-client.key.tmp").write_text("half of a k")
    await node.obtain()
    assert await node.problem() == ""


async def test_a_server_that_comes_up_late(node: Node) -> None:
    node.api.errors = [Unreachable("refused")] * 20 + [Refused(503, "", "starting")]
    await node.obtain()
    assert len(node.api.made) == 1


async def test_bounds_and_refusals_are_told(node: Node) -> None:
    node.api.errors = [Unreachable("connection refused")] * 999
    begin = node.clock.monotonic()
    with pytest.raises(BootstrapError, match="connection refused"):
        await node.obtain()
    assert 60 <= node.clock.monotonic() - begin <= 63
    node.api.errors = [Refused(401, "Unauthorized", "bad token")]
    with pytest.raises(BootstrapError, match="bad token"):
        await node.obtain()
    node.api.verdict = "Denied"
    with pytest.raises(BootstrapError, match="is denied"):
        await node.obtain()
    node.bootstrap.unlink()
    with pytest.raises(BootstrapError, match="bootstrap-kubelet"):
        await node.obtain()
    assert not node.kubeconfig.exists()


async def test_nobody_signs(node: Node) -> None:
    node.api.verdict = ""
    begin = node.clock.monotonic()
    with pytest.raises(BootstrapError, match="not signed within 3600 s"):
        await node.obtain()
    assert 3599 <= node.clock.monotonic() - begin <= 3602


async def test_a_foreign_request_of_that_name_is_not_taken(node: Node) -> None:
    node.api.verdict = ""
    first = TaskOwner("test").spawn("obtain", node.obtain())
    await asyncio.sleep(1)
    first.cancel()
    name = node.api.made[0].metadata.name
    other = signing_request(new_key(), client_template("n1"))
    node.api._known[name].spec.request = other
    with pytest.raises(BootstrapError, match="it was made with another key"):
        await node.obtain()


def test_keys_of_all_kinds() -> None:
    def pem(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> bytes:
        return key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )

    rsa_key = pem(rsa.generate_private_key(65537, 2048))
    assert usages(CLIENT, rsa_key) == ["digital signature", "client auth", "key encipherment"]
    with pytest.warns(UserWarning, match="length"):
        long = signing_request(rsa_key, client_template("n" * 200))
    assert long.startswith(b"-----BEGIN CERTIFICATE REQUEST")
    ec_key = pem(ec.generate_private_key(ec.SECP384R1()))
    assert usages(CLIENT, ec_key) == ["digital signature", "client auth"]
    with pytest.raises(ValueError, match=r"PEM|load"):
        usages(CLIENT, b"nothing")


def test_names_from_keys_are_stable() -> None:
    key = new_key()
    first = digested_name(key, client_template("n1"), ["a", "b"])
    assert first == digested_name(key, client_template("n1"), ["a", "b"])
    others = {
        digested_name(key, client_template("n2"), ["a", "b"]),
        digested_name(key, client_template("n1"), ["ab"]),
        digested_name(new_key(), client_template("n1"), ["a", "b"]),
    }
    assert len(others - {first}) == 3
