"""A serving certificate that comes from the cluster: absent at first, then there, then another."""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from tests.server.test_webhook import ask

from pykubelet.config import KubeletConfiguration
from pykubelet.server import KubeletServer
from pykubelet.server.tls import shortcomings

#: asyncio closes the connection before it has sent the alert.
REFUSED = (ssl.SSLError, ConnectionError)
ClientTls = Callable[..., ssl.SSLContext]


@dataclass
class Signed:
    """Implements ``ServingCertificate`` by what the test puts into it."""

    path: Path | None = None

    def files(self) -> tuple[Path, Path] | None:
        return None if self.path is None else (self.path, self.path)


def sign(authority: trustme.CA, path: Path) -> Path:
    """One file with certificate and key, as the store writes it."""
    pair = authority.issue_cert("127.0.0.1")
    path.write_bytes(pair.cert_chain_pems[0].bytes() + pair.private_key_pem.bytes())
    return path


async def served(server: KubeletServer, tls: ssl.SSLContext) -> bytes:
    """The certificate that a new connection is served with, as DER."""
    listener = server.listener("kubelet")
    assert listener is not None
    _, writer = await asyncio.open_connection("127.0.0.1", listener.port, ssl=tls)
    found = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    assert isinstance(found, bytes)
    return found


async def until_served(server: KubeletServer, tls: ssl.SSLContext, unlike: bytes = b"") -> bytes:
    async with asyncio.timeout(5):
        while True:
            try:
                found = await served(server, tls)
            except REFUSED:
                found = unlike
            if found != unlike:
                return found
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
async def test_no_handshake_until_it_is_signed_and_each_new_one_counts_at_once(
    start_server: Any,
    client_tls: ClientTls,
    authority: trustme.CA,
    tmp_path: Path,
    version: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    signed = Signed()
    server = await start_server(serving=signed)
    tls = client_tls("jane")
    tls.minimum_version = tls.maximum_version = ssl.TLSVersion[version]
    with pytest.raises(REFUSED):
        await served(server, tls)
    assert "no serving certificate available for the kubelet" in caplog.text

    signed.path = sign(authority, tmp_path / "first.pem")
    server.certificate_changed()
    first = await until_served(server, tls)
    signed.path = sign(authority, tmp_path / "second.pem")
    server.certificate_changed()
    second = await until_served(server, tls, first)
    assert second != first

    signed.path = None
    server.certificate_changed()
    async with asyncio.timeout(5):
        while True:
            try:
                await served(server, tls)
            except REFUSED:
                break


async def test_client_certificates_count_with_a_late_serving_certificate(
    start_server: Any, client_tls: ClientTls, authority: trustme.CA, tmp_path: Path
) -> None:
    signed = Signed()
    server = await start_server(serving=signed)
    signed.path = sign(authority, tmp_path / "first.pem")
    server.certificate_changed()
    await until_served(server, client_tls("jane"))
    assert (await ask(server, client_tls("jane"))).status == 200
    assert (await ask(server, client_tls())).status == 401


def test_what_cannot_be_chosen_is_told() -> None:
    assert shortcomings([], []) == []
    older = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
    newest = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]
    assert shortcomings([older], []) == []
    assert shortcomings([older, *newest], []) == []
    assert [one.partition(" ")[0] for one in shortcomings(newest[:1], [29])] == [
        "tlsCipherSuites",
        "tlsCurvePreferences:",
    ]
    assert KubeletConfiguration().tlsCurvePreferences == []
