"""Kubeconfig files: written for the kubelet under test, read to reach a real server."""

import base64
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True, slots=True)
class Credentials:
    """Where a server is and how to come in."""

    server: str
    ca: bytes = b""
    token: str = ""
    certificate: bytes = b""
    key: bytes = b""

    def context(self) -> ssl.SSLContext | None:
        """TLS of a client; None for plain HTTP."""
        if not self.server.startswith("https:"):
            return None
        context = ssl.create_default_context(cadata=self.ca.decode())
        if self.certificate:
            with tempfile.NamedTemporaryFile() as pair:
                pair.write(self.certificate + b"\n" + self.key)
                pair.flush()
                context.load_cert_chain(pair.name)
        return context


def write(path: Path, credentials: Credentials) -> Path:
    """Write a kubeconfig that holds all of *credentials* in itself."""
    cluster: dict[str, Any] = {"server": credentials.server}
    user: dict[str, Any] = {}
    if credentials.ca:
        cluster["certificate-authority-data"] = _text(credentials.ca)
    if credentials.token:
        user["token"] = credentials.token
    if credentials.certificate:
        user |= {
            "client-certificate-data": _text(credentials.certificate),
            "client-key-data": _text(credentials.key),
        }
    path.write_text(
        yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "tests", "cluster": cluster}],
                "users": [{"name": "tests", "user": user}],
                "contexts": [{"name": "tests", "context": {"cluster": "tests", "user": "tests"}}],
                "current-context": "tests",
            }
        )
    )
    path.chmod(0o600)
    return path


def read(path: Path) -> Credentials:
    """The credentials of the current context."""
    config = yaml.safe_load(path.read_text())
    context = _named(config["contexts"], config["current-context"])["context"]
    cluster = _named(config["clusters"], context["cluster"])["cluster"]
    user = _named(config["users"], context["user"])["user"]
    return Credentials(
        cluster["server"],
        _data(path, cluster, "certificate-authority"),
        user.get("token", ""),
        _data(path, user, "client-certificate"),
        _data(path, user, "client-key"),
    )


def _named(entries: list[dict[str, Any]], name: str) -> dict[str, Any]:
    return next(entry for entry in entries if entry["name"] == name)


def _data(path: Path, entry: dict[str, Any], key: str) -> bytes:
    """A PEM that stands in the file, or in another beside it."""
    if f"{key}-data" in entry:
        return base64.b64decode(entry[f"{key}-data"])
    return (path.parent / entry[key]).read_bytes() if key in entry else b""


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
