"""Files, drop-ins, flags and defaults: which wins, and what is said of what is wrong."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pykubelet.base.duration import Duration
from pykubelet.config import ConfigError, Loaded, OsFiles, load
from pykubelet.config.defaults import DEFAULT_EVICTION_HARD
from pykubelet.config.load import merge_patch

HEAD = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"


class Tree:
    """Files in memory."""

    def __init__(self, **texts: str) -> None:
        self.texts = {name: text.encode() for name, text in texts.items()}

    def read(self, path: str) -> bytes:
        if path not in self.texts:
            raise FileNotFoundError(2, "No such file or directory", path)
        return self.texts[path]

    def is_dir(self, path: str) -> bool:
        return any(name.startswith(f"{path}/") for name in self.texts)

    def walk(self, path: str) -> Iterator[str]:
        if not self.is_dir(path):
            raise FileNotFoundError(2, "No such file or directory", path)
        yield from sorted(name for name in self.texts if name.startswith(f"{path}/"))


def run(*argv: str, body: str | None = None, **drop_ins: str) -> Loaded:
    tree = Tree()
    args = list(argv)
    if body is not None:
        tree.texts["/etc/k/config.yaml"] = (HEAD + body).encode()
        args.append("--config=/etc/k/config.yaml")
    for name, text in drop_ins.items():
        tree.texts[f"/etc/k/d/{name}.conf"] = (HEAD + text).encode()
    if drop_ins:
        args.append("--config-dir=/etc/k/d")
    return load(args, files=tree, cwd="/cfg")


def failure(*argv: str, body: str | None = None, **drop_ins: str) -> str:
    with pytest.raises(ConfigError) as caught:
        run(*argv, body=body, **drop_ins)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_flags_only_has_the_legacy_defaults() -> None:
    config = run().config
    assert (
        config.authentication.anonymous.enabled,
        config.authentication.webhook.enabled,
        config.authorization.mode,
        config.readOnlyPort,
        config.evictionHard,
    ) == (True, False, "AlwaysAllow", 10255, {})
    assert run().warnings == []


def test_a_file_has_the_api_defaults() -> None:
    config = run(body="").config
    assert (
        config.authentication.anonymous.enabled,
        config.authentication.webhook.enabled,
        config.authorization.mode,
        config.readOnlyPort,
        config.evictionHard,
    ) == (False, True, "Webhook", 0, DEFAULT_EVICTION_HARD)
    assert config.crashLoopBackOff.maxContainerRestartPeriod == Duration.of(300)
    assert config.imagePullCredentialsVerificationPolicy == "NeverVerifyPreloadedImages"


def test_drop_ins_alone_stand_on_the_legacy_defaults() -> None:
    config = run(a="port: 1\n").config
    assert (config.port, config.readOnlyPort, config.evictionHard) == (1, 10255, {})
    assert config.authentication.anonymous.enabled


@pytest.mark.parametrize(
    ("body", "path", "value"),
    [
        ("maxPods: 0", "maxPods", 110),
        ("port: 0", "port", 10250),
        ("syncFrequency: 0s", "syncFrequency", Duration.of(60)),
        ("address: ''", "address", "0.0.0.0"),
        ("podPidsLimit: -7", "podPidsLimit", -1),
        ("podPidsLimit: 0", "podPidsLimit", 0),
        ("resolvConf: ''", "resolvConf", ""),
        ("enableServer: false", "enableServer", False),
        ("healthzPort: 0", "healthzPort", 0),
        ("registryPullQPS: 0", "registryPullQPS", 0),
        ("registryBurst: 0", "registryBurst", 10),
        ("maxPods: null", "maxPods", 110),
        ("maxParallelImagePulls: 2", "serializeImagePulls", False),
        ("maxParallelImagePulls: 1", "serializeImagePulls", True),
        ("nodeStatusUpdateFrequency: 7s", "nodeStatusReportFrequency", Duration.of(7)),
        ("nodeStatusUpdateFrequency: 0s", "nodeStatusReportFrequency", Duration.of(300)),
        (
            "nodeStatusUpdateFrequency: 7s\nnodeStatusReportFrequency: 8s",
            "nodeStatusReportFrequency",
            Duration.of(8),
        ),
        ("enforceNodeAllocatable: []", "enforceNodeAllocatable", []),
        ("evictionHard: {}", "evictionHard", {}),
        ("evictionHard: null", "evictionHard", DEFAULT_EVICTION_HARD),
        ("evictionHard: {memory.available: 1Gi}", "evictionHard", {"memory.available": "1Gi"}),
        (
            "mergeDefaultEvictionSettings: true\nevictionHard: {memory.available: 1Gi}",
            "evictionHard",
            {**DEFAULT_EVICTION_HARD, "memory.available": "1Gi"},
        ),
        ("staticPodPath: manifests", "staticPodPath", "/etc/k/manifests"),
        ("staticPodPath: ../manifests", "staticPodPath", "/etc/manifests"),
        ("podLogsDir: logs", "podLogsDir", "/etc/k/logs"),
    ],
)
def test_defaults_of_a_file(body: str, path: str, value: object) -> None:
    assert getattr(run(body=body).config, path) == value


def test_gated_defaults() -> None:
    config = run(
        body="featureGates: {KubeletCrashLoopBackOffMax: false, KubeletEnsureSecretPulledImages: false}"
    ).config
    assert config.crashLoopBackOff.maxContainerRestartPeriod is None
    assert config.imagePullCredentialsVerificationPolicy == ""
    flags = run("--feature-gates=KubeletCrashLoopBackOffMax=false", body="").config
    assert flags.crashLoopBackOff.maxContainerRestartPeriod is None


def test_flags_beat_drop_ins_beat_the_file() -> None:
    loaded = run(
        "--max-pods=4",
        body="maxPods: 1\nport: 1\npodsPerCore: 1\nkubeReserved: {cpu: '1', memory: 1Gi}\n",
        a10="maxPods: 2\nport: 2\npodsPerCore: 2\n",
        a20="maxPods: 3\nport: 3\nkubeReserved: {cpu: '2', pid: '5'}\n",
    )
    config = loaded.config
    assert (config.maxPods, config.port, config.podsPerCore) == (4, 3, 2)
    assert config.kubeReserved == {"cpu": "2", "memory": "1Gi", "pid": "5"}


def test_flag_maps_replace_but_gates_merge() -> None:
    loaded = run(
        "--kube-reserved=cpu=3",
        "--feature-gates=PodsAPI=true",
        body="kubeReserved: {memory: 1Gi}\nfeatureGates: {PodsAPI: false, EventedPLEG: true}\n",
    )
    assert loaded.config.kubeReserved == {"cpu": "3"}
    assert loaded.config.featureGates == {"PodsAPI": True, "EventedPLEG": True}
    assert loaded.gates.enabled("PodsAPI")
    assert loaded.gates.enabled("EventedPLEG")


def test_drop_ins_merge_the_default_eviction_map_delete_by_null_and_replace_lists() -> None:
    config = run(
        body="clusterDNS: [1.1.1.1, 2.2.2.2]\nmaxPods: 5\n",
        a="clusterDNS: [3.3.3.3]\nmaxPods: null\n"
        "evictionHard: {memory.available: 2Gi, nodefs.available: null}\n",
    ).config
    assert config.clusterDNS == ["3.3.3.3"]
    assert config.maxPods == 110
    assert config.evictionHard == {
        "memory.available": "2Gi",
        "nodefs.inodesFree": "5%",
        "imagefs.available": "15%",
        "imagefs.inodesFree": "5%",
    }


def test_drop_in_paths_are_not_resolved_and_other_names_are_skipped() -> None:
    tree = Tree(
        **{
            "/d/a.conf": HEAD + "staticPodPath: x\n",
            "/d/b.yaml": "not: ours",
            "/d/s/c.conf": HEAD + "port: 7\n",
        }
    )
    loaded = load(["--config-dir=/d"], files=tree, cwd="/")
    assert (loaded.config.staticPodPath, loaded.config.port) == ("x", 7)


def test_relative_config_path_counts_from_the_working_directory() -> None:
    tree = Tree(**{"/cfg/c.yaml": HEAD + "staticPodPath: m\n"})
    assert load(["--config=c.yaml"], files=tree, cwd="/cfg").config.staticPodPath == "/cfg/m"


def test_json_file() -> None:
    text = json.dumps(
        {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "port": 5}
    )
    assert load(["--config=/c"], files=Tree(**{"/c": text}), cwd="/").config.port == 5


def test_unknown_and_duplicate_fields_warn_and_are_named() -> None:
    loaded = run(
        body="bogus: 1\nport: 1\nport: 2\nauthentication: {x509: {caFile: x}}\n"
        "logging: {flushFrequency: 1000000000}\n",
        a="alsoBogus: 1\n",
    )
    assert loaded.config.port == 2
    assert loaded.config.logging.flushFrequency == Duration.of(1)
    assert set(loaded.unknown) <= set(loaded.warnings)
    named = "\n".join(loaded.unknown)
    for text in (
        'duplicate field "port"',
        'unknown field "bogus"',
        'unknown field "authentication.x509.caFile"',
        '"alsoBogus"',
    ):
        assert text in named


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("maxPods: many", "maxPods: "),
        ("maxPods: 99999999999", "maxPods: "),
        ("syncFrequency: 5", "syncFrequency: "),
        ("syncFrequency: soon", "syncFrequency: "),
        ("evictionHard: {memory.available: 5}", "evictionHard"),
        ("authentication: {x509: {clientCAFile: 5}}", "authentication.x509.clientCAFile: "),
        ("reservedMemory: [{numaNode: 0, limits: {memory: lots}}]", "reservedMemory[0].limits"),
        ("port: [", "couldn't parse the document"),
        ("featureGates: {Bogus: true}", "unrecognized feature gate: Bogus"),
        (
            "featureGates: {DynamicResourceAllocation: false}",
            "cannot set feature gate DynamicResourceAllocation",
        ),
        ("port: 70000", "invalid configuration: port (--port) 70000 must be between 1 and 65535"),
    ],
)
def test_bad_files(body: str, text: str) -> None:
    assert text in failure(body=body)
    assert text in failure(a=body)


def test_directory_as_config_names_the_flag_for_directories() -> None:
    with pytest.raises(ConfigError, match="--pod-manifest-path"):
        load(["--config=/d"], files=Tree(**{"/d/x": ""}), cwd="/")


@pytest.mark.parametrize("text", ["", "[]", "kind: Pod\napiVersion: v1\n", "port: 1\n"])
def test_files_that_are_no_configuration(text: str) -> None:
    for argv in (["--config=/d/c.conf"], ["--config-dir=/d"]):
        with pytest.raises(ConfigError, match="failed to load kubelet"):
            load(argv, files=Tree(**{"/d/c.conf": text}), cwd="/")


@pytest.mark.parametrize("argv", [["--config=/none"], ["--config-dir=/none"]])
def test_missing_files(argv: list[str]) -> None:
    with pytest.raises(ConfigError, match=r"/none.*No such file"):
        load(argv, files=Tree(), cwd="/")


@pytest.mark.parametrize(
    "argv", [["--help", "--config=/none"], ["-h"], ["--version", "--port=70000"], ["--version=raw"]]
)
def test_help_and_version_read_nothing(argv: list[str]) -> None:
    loaded = load(argv, files=Tree(), cwd="/")
    assert loaded.flags.help or loaded.flags.version in ("true", "raw")


def test_seccomp_default_by_flag_or_field() -> None:
    assert [run().seccomp_default, run("--seccomp-default").seccomp_default] == [False, True]
    assert run(body="seccompDefault: true").seccomp_default


def test_what_has_no_effect_is_named_once() -> None:
    loaded = run("--lock-file=/x", "--pods-per-core=3", body="tracing: {endpoint: 'localhost:1'}\n")
    (warning,) = [text for text in loaded.warnings if "without effect" in text]
    assert warning == "set, but without effect yet: tracing, --lock-file"


def test_real_files(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_text(HEAD + "port: 1\n")
    (tmp_path / "d" / "10").mkdir(parents=True)
    (tmp_path / "d" / "05.conf").write_text(HEAD + "port: 2\n")
    (tmp_path / "d" / "10" / "x.conf").write_text(HEAD + "port: 3\n")
    (tmp_path / "d" / "20.txt").write_text("no")
    assert OsFiles().is_dir(str(tmp_path))
    assert load(["--config=c.yaml", "--config-dir=d"], cwd=str(tmp_path)).config.port == 3


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
    max_leaves=10,
)


@given(
    st.dictionaries(st.text(max_size=2), _json, max_size=3),
    st.dictionaries(st.text(max_size=2), _json, max_size=3),
)
def test_merge_patch_is_idempotent(target: dict[str, object], patch: dict[str, object]) -> None:
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once
    assert merge_patch(target, {}) == target


@pytest.mark.parametrize(
    ("target", "patch", "merged"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_merge_patch_examples(target: object, patch: object, merged: object) -> None:
    assert merge_patch(target, patch) == merged


def test_the_command_line_is_kept_as_it_was_written_without_secrets() -> None:
    loaded = run(
        "-v=4",
        "--max_pods",
        "7",
        "--max-pods=8",
        "--storage-driver-password=hush",
        "--manifest-url-header=a:hush",
    )
    assert loaded.command_line == {"v": "4", "max-pods": "8"}
