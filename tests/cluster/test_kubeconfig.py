"""Kubeconfig files: what they resolve to, what is refused, and that no secret is told."""

import base64
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from pykubelet.cluster.access import Access, Pem
from pykubelet.cluster.kubeconfig import KubeconfigError, load, parse

SECRET = "s3cr3t-value"


def config(cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "https://api:6443", **(cluster or {})}}],
        "users": [{"name": "u", "user": user or {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u", "namespace": "default"}}],
        "current-context": "x",
        "preferences": {},
    }


def read(cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None) -> Access:
    return parse(yaml.safe_dump(config(cluster, user)).encode(), Path("/etc/kubernetes/kubelet.conf"))


def test_what_kubeadm_writes() -> None:
    pem = "/var/lib/kubelet/pki/kubelet-client-current.pem"
    access = read(
        {"certificate-authority-data": base64.b64encode(b"CA").decode(), "server": "https://10.0.0.1:6443/"},
        {"client-certificate": pem, "client-key": pem},
    )
    assert access.server == "https://10.0.0.1:6443"
    assert access.ca == Pem(data=b"CA")
    assert access.certificate == access.key == Pem(path=Path(pem))


def test_json_and_relative_paths(tmp_path: Path) -> None:
    document = config(
        {"certificate-authority": "pki/ca.crt", "tls-server-name": "kube", "proxy-url": "http://p:3128"},
        {
            "client-certificate": "a.crt",
            "client-key": "/abs/a.key",
            "tokenFile": "token",
            "exec": {
                "command": "bin/get",
                "apiVersion": "client.authentication.k8s.io/v1",
                "interactiveMode": "Never",
                "args": None,
                "env": [{"name": "A", "value": "b"}],
                "provideClusterInfo": True,
            },
        },
    )
    path = tmp_path / "kubeconfig"
    path.write_bytes(msgspec.json.encode(document))
    access = load(path)
    assert access.ca == Pem(path=tmp_path / "pki/ca.crt")
    assert access.server_name == "kube"
    assert access.proxy is not None
    assert access.proxy.url == "http://p:3128"
    assert access.certificate == Pem(path=tmp_path / "a.crt")
    assert access.key == Pem(path=Path("/abs/a.key"))
    assert access.token_file == tmp_path / "token"
    assert access.exec is not None
    assert access.exec.command == str(tmp_path / "bin/get")
    assert access.exec.env == (("A", "b"),)
    assert access.exec.cluster_info is not None
    assert access.exec.cluster_info["tls-server-name"] == "kube"


def test_base64_in_lines() -> None:
    assert read({"certificate-authority-data": "Q0\nE=\n"}).ca == Pem(data=b"CA")


def test_a_bare_command_is_looked_for_in_path() -> None:
    plugin = {"command": "get", "apiVersion": "client.authentication.k8s.io/v1beta1"}
    access = read(user={"exec": plugin})
    assert access.exec is not None
    assert access.exec.command == "get"


def test_impersonation() -> None:
    access = read(
        user={"as": "jane", "as-uid": "7", "as-groups": ["a", "b"], "as-user-extra": {"scopes/x": ["v"]}}
    )
    assert access.impersonation == (
        ("Impersonate-User", "jane"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
        ("Impersonate-Extra-scopes%2Fx", "v"),
    )


def test_plain_http_tells_nobody_who_we_are() -> None:
    access = read({"server": "http://api:8080"}, {"token": SECRET})
    assert access.token == ""


@pytest.mark.parametrize(
    ("cluster", "user", "text"),
    [
        ({"server": ""}, {}, "clusters[c].cluster.server"),
        ({"server": "ftp://x"}, {}, "clusters[c].cluster.server"),
        ({"server": f"https://me:{SECRET}@x"}, {}, "clusters[c].cluster.server"),
        ({"certificate-authority": "a", "certificate-authority-data": "YQ=="}, {}, "certificate-authority"),
        ({"certificate-authority": "a", "insecure-skip-tls-verify": True}, {}, "insecure-skip-tls-verify"),
        ({"certificate-authority-data": "%%"}, {}, "clusters[c].cluster.certificate-authority-data"),
        (
            {},
            {"client-certificate": "a", "client-key-data": f"{SECRET}!"},
            "users[u].user.client-key-data",
        ),
        ({"proxy-url": f"socks5://u:{SECRET}@h"}, {}, "proxy-url"),
        ({}, {"token": SECRET, "username": "u", "password": SECRET}, "only one"),
        ({}, {"client-certificate": "a"}, "client-key"),
        ({}, {"client-certificate": "a", "client-certificate-data": "YQ==", "client-key": "k"}, "both"),
        ({}, {"auth-provider": {"name": "gcp", "config": {"access-token": SECRET}}}, "auth-provider"),
        ({}, {"as-uid": "1"}, "as-uid"),
        ({}, {"token": {"a": SECRET}}, "users[0].user.token"),
        ({}, {"exec": {"apiVersion": "client.authentication.k8s.io/v1"}}, "exec.command"),
        ({}, {"exec": {"command": "x", "apiVersion": "client.authentication.k8s.io/v1alpha1"}}, "apiVersion"),
        ({}, {"exec": {"command": "x", "apiVersion": "client.authentication.k8s.io/v1"}}, "interactiveMode"),
        (
            {},
            {
                "exec": {
                    "command": "x",
                    "apiVersion": "client.authentication.k8s.io/v1",
                    "interactiveMode": "Always",
                }
            },
            "interactiveMode",
        ),
    ],
)
def test_what_is_refused(cluster: dict[str, Any], user: dict[str, Any], text: str) -> None:
    with pytest.raises(KubeconfigError) as refused:
        read(cluster, user)
    assert text in str(refused.value)
    assert "/etc/kubernetes/kubelet.conf" in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    "change",
    [
        {"current-context": ""},
        {"current-context": "other"},
        {"users": []},
        {"clusters": []},
        {"kind": "Pod"},
        {"contexts": [{"name": "x"}, {"name": "x"}]},
        {"clusters": "no"},
    ],
)
def test_incomplete_files(change: dict[str, Any]) -> None:
    with pytest.raises(KubeconfigError):
        parse(msgspec.json.encode({**config(), **change}), Path("f"))


@pytest.mark.parametrize("data", [b"", b"\xff", b"a: [", b"- 1", b"a: 1\na: 2"])
def test_garbage(data: bytes) -> None:
    with pytest.raises(KubeconfigError):
        parse(data, Path("f"))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KubeconfigError, match="nothing"):
        load(tmp_path / "nothing")


def test_no_repr_tells_a_secret() -> None:
    access = read(
        user={
            "token": SECRET,
            "client-certificate-data": base64.b64encode(b"c").decode(),
            "client-key-data": base64.b64encode(SECRET.encode()).decode(),
        }
    )
    assert access.token == SECRET
    assert SECRET not in repr(access)
