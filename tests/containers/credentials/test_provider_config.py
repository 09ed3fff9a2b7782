"""The configuration of credential provider plug-ins."""

import hashlib

import pytest
import yaml

from pykubelet.containers.credentials.provider_config import (
    ProviderConfigError,
    decode,
    read_provider_config,
)

PROVIDER = {
    "name": "ok",
    "matchImages": ["*.r.io"],
    "defaultCacheDuration": "10m",
    "apiVersion": "credentialprovider.kubelet.k8s.io/v1",
}
TOKENS = {
    "serviceAccountTokenAudience": "aud",
    "cacheType": "Token",
    "requireServiceAccount": True,
    "requiredServiceAccountAnnotationKeys": ["a.io/b"],
}


def document(*providers, version="v1", **more):
    return {
        "apiVersion": f"kubelet.config.k8s.io/{version}",
        "kind": "CredentialProviderConfig",
        "providers": list(providers),
        **more,
    }


@pytest.fixture
def bin_dir(tmp_path):
    made = tmp_path / "bin"
    made.mkdir()
    for name, mode in (("ok", 0o755), ("other", 0o755), ("plain", 0o644)):
        (made / name).touch(mode)
    return made


@pytest.fixture
def read(tmp_path, bin_dir):
    def reading(*providers, tokens=True, **more):
        file = tmp_path / "config.yaml"
        file.write_text(yaml.safe_dump(document(*providers, **more)))
        return read_provider_config(str(file), str(bin_dir), tokens=tokens)

    return reading


@pytest.mark.parametrize("version", ["v1", "v1beta1", "v1alpha1"])
def test_all_versions(read, version):
    [found] = read(
        {**PROVIDER, "args": ["x"], "env": [{"name": "A", "value": "b"}]}, version=version
    ).providers
    assert (found.name, found.args, found.env[0].value, found.tokenAttributes) == ("ok", ["x"], "b", None)
    assert found.defaultCacheDuration.seconds == 600


def test_token_attributes(read):
    [found] = read({**PROVIDER, "tokenAttributes": TOKENS}).providers
    assert found.tokenAttributes.requireServiceAccount is True


def test_a_directory(tmp_path, bin_dir):
    directory = tmp_path / "conf"
    directory.mkdir()
    with pytest.raises(ProviderConfigError, match="no configuration files found in directory"):
        read_provider_config(str(directory), str(bin_dir), tokens=True)
    first, second = (yaml.safe_dump(document({**PROVIDER, "name": name})) for name in ("ok", "other"))
    (directory / "b.yml").write_text(second)
    (directory / "a.json").write_text(first)
    (directory / "notes.txt").write_text("{")
    found = read_provider_config(str(directory), str(bin_dir), tokens=True)
    assert [provider.name for provider in found.providers] == ["ok", "other"]
    whole = b"".join(len(text).to_bytes(8, "big") + text.encode() for text in (first, second))
    assert found.digest == f"sha256:{hashlib.sha256(whole).hexdigest()}"
    (directory / "c.yaml").write_text(second)
    with pytest.raises(ProviderConfigError, match='duplicate provider name "other"'):
        read_provider_config(str(directory), str(bin_dir), tokens=True)


WRONG = [
    ({"name": "a/b"}, "providers.name: Invalid value: \"a/b\": provider name cannot contain '/'"),
    ({"name": "a b"}, "provider name cannot contain spaces"),
    ({"name": ".."}, "provider name cannot be '..'"),
    ({"name": ""}, "providers.name: Required value"),
    ({"name": "gone"}, "plugin binary executable .*/gone did not exist"),
    ({"name": "plain"}, "error inspecting binary executable .*/plain: permission denied"),
    ({"matchImages": []}, "providers.matchImages: Required value"),
    ({"matchImages": ["%"]}, "match image is invalid"),
    ({"defaultCacheDuration": None}, "providers.defaultCacheDuration: Required value"),
    ({"defaultCacheDuration": "-1s"}, "must be greater than or equal to 0"),
    ({"apiVersion": ""}, "providers.apiVersion: Required value"),
    ({"apiVersion": "v1"}, "providers.apiVersion: Unsupported value"),
    ({"tokenAttributes": {}}, "serviceAccountTokenAudience: Required value"),
    ({"tokenAttributes": {**TOKENS, "cacheType": "Pod"}}, "cacheType: Unsupported value"),
    ({"tokenAttributes": {**TOKENS, "cacheType": ""}}, "cacheType is required to be set"),
    ({"tokenAttributes": {**TOKENS, "requireServiceAccount": None}}, "requireServiceAccount: Required value"),
    (
        {"tokenAttributes": {**TOKENS, "requireServiceAccount": False}},
        "requireServiceAccount cannot be false",
    ),
    (
        {"tokenAttributes": {**TOKENS, "optionalServiceAccountAnnotationKeys": ["a.io/b"]}},
        "annotation keys cannot be both required and optional",
    ),
    (
        {"tokenAttributes": {**TOKENS, "optionalServiceAccountAnnotationKeys": ["x", "x"]}},
        "optionalServiceAccountAnnotationKeys: Duplicate value",
    ),
    (
        {"tokenAttributes": {**TOKENS, "requiredServiceAccountAnnotationKeys": ["a b"]}},
        "requiredServiceAccountAnnotationKeys: Invalid value",
    ),
    (
        {"tokenAttributes": TOKENS, "apiVersion": "credentialprovider.kubelet.k8s.io/v1beta1"},
        "tokenAttributes is only supported for",
    ),
    ({"unknown": 1}, "unknown field"),
    ({"args": "x"}, r"providers\[0\].args"),
]


@pytest.mark.parametrize(("change", "told"), WRONG)
def test_what_is_wrong_is_named(read, change, told):
    with pytest.raises(ProviderConfigError, match=told):
        read({**PROVIDER, **change})


def test_what_is_wrong_as_a_whole(read, tmp_path, bin_dir):
    with pytest.raises(ProviderConfigError, match="at least 1 item in plugins is required"):
        read()
    with pytest.raises(ProviderConfigError, match="feature gate is disabled"):
        read({**PROVIDER, "tokenAttributes": TOKENS}, tokens=False)
    with pytest.raises(ProviderConfigError, match=r"plugin binary directory .* did not exist"):
        read_provider_config("", str(tmp_path / "none"), tokens=True)
    with pytest.raises(ProviderConfigError, match="config path is empty"):
        read_provider_config("", str(bin_dir), tokens=True)
    with pytest.raises(ProviderConfigError, match="unable to access path"):
        read_provider_config(str(tmp_path / "none"), str(bin_dir), tokens=True)


@pytest.mark.parametrize("text", ["", "[]", "{", "kind: CredentialProviderConfig", "a: 1\na: 2"])
def test_no_such_document(text):
    with pytest.raises(ValueError, match=r".+"):
        decode(text.encode())


def test_old_versions_know_no_tokens():
    with pytest.raises(ValueError, match="unknown field"):
        decode(yaml.safe_dump(document({**PROVIDER, "tokenAttributes": TOKENS}, version="v1beta1")).encode())
