"""One row for each rule: what is set, and the reason that names it."""

from collections.abc import Callable

import pytest

from pykubelet.api.quantity import Quantity
from pykubelet.base.duration import Duration
from pykubelet.config.defaults import legacy
from pykubelet.config.flags import set_path
from pykubelet.config.gates import FeatureGates
from pykubelet.config.types import (
    ConfigError,
    KubeletConfiguration,
    KubeletFlags,
    MemoryReservation,
    MemorySwap,
    ShutdownGracePeriodByPodPriority,
    Taint,
    Tracing,
    UserNamespaces,
    VModuleItem,
)
from pykubelet.config.validation import validate, validate_flags

S = Duration.of


def reason(gates: dict[str, bool] | None = None, **fields: object) -> str:
    settled = FeatureGates(gates)
    config = legacy(settled)
    for name, value in fields.items():
        set_path(config, name.replace("__", "."), value)
    try:
        validate(config, settled)
    except ConfigError as error:
        return str(error)
    return ""


def reserve(**limits: str) -> list[MemoryReservation]:
    return [
        MemoryReservation(
            numaNode=0, limits={k.replace("_", "-"): Quantity.parse(v) for k, v in limits.items()}
        )
    ]


def test_defaults_are_valid() -> None:
    assert reason() == ""
    gates = FeatureGates()
    config = legacy(gates)
    validate(config, gates)


RULES: list[tuple[dict[str, object], str]] = [
    ({"nodeLeaseDurationSeconds": -1}, "nodeLeaseDurationSeconds -1 must be greater than 0"),
    (
        {"systemCgroups": "/x"},
        "systemCgroups (--system-cgroups) was specified and cgroupRoot (--cgroup-root)",
    ),
    ({"eventBurst": -1}, "eventBurst (--event-burst) -1 must not be a negative number"),
    ({"eventRecordQPS": -1}, "eventRecordQPS (--event-qps) -1 must not be a negative number"),
    ({"healthzPort": 65536}, "healthzPort (--healthz-port) 65536 must be between 1 and 65535, inclusive"),
    (
        {"cpuCFSQuotaPeriod": S(0.0005)},
        "cpuCFSQuotaPeriod (--cpu-cfs-quota-period) 500µs must be between 1ms and 1sec",
    ),
    (
        {"cpuCFSQuotaPeriod": S(2)},
        "cpuCFSQuotaPeriod (--cpu-cfs-quota-period) 2s must be between 1ms and 1sec",
    ),
    (
        {"imageGCHighThresholdPercent": 101},
        "imageGCHighThresholdPercent (--image-gc-high-threshold) 101 must be",
    ),
    ({"imageGCLowThresholdPercent": -1}, "imageGCLowThresholdPercent (--image-gc-low-threshold) -1 must be"),
    (
        {"imageGCLowThresholdPercent": 85},
        "(--image-gc-low-threshold) 85 must be less than imageGCHighThresholdPercent",
    ),
    (
        {"imageMinimumGCAge": S(-1)},
        "imageMinimumGCAge (--minimum-image-ttl-duration) -1s must not be negative",
    ),
    ({"imageMaximumGCAge": S(-1)}, "imageMaximumGCAge -1s must not be negative"),
    ({"imageMaximumGCAge": S(60)}, "imageMaximumGCAge 1m0s must be greater than imageMinimumGCAge 2m0s"),
    ({"iptablesDropBit": 32}, "iptablesDropBit 32 must be between 0 and 31"),
    ({"iptablesMasqueradeBit": -1}, "iptablesMasqueradeBit -1 must be between 0 and 31"),
    ({"kubeAPIBurst": -1}, "kubeAPIBurst (--kube-api-burst) -1"),
    ({"kubeAPIQPS": -1}, "kubeAPIQPS (--kube-api-qps) -1"),
    ({"nodeStatusMaxImages": -2}, "nodeStatusMaxImages (--node-status-max-images) -2 must be -1 or greater"),
    ({"maxOpenFiles": -1}, "maxOpenFiles (--max-open-files) -1"),
    ({"maxPods": -1}, "maxPods (--max-pods) -1"),
    ({"oomScoreAdj": 1001}, "oomScoreAdj (--oom-score-adj) 1001 must be between -1000 and 1000"),
    ({"oomScoreAdj": -1001}, "oomScoreAdj (--oom-score-adj) -1001"),
    ({"podsPerCore": -1}, "podsPerCore (--pods-per-core) -1"),
    ({"port": 0}, "port (--port) 0 must be between 1 and 65535"),
    ({"readOnlyPort": -1}, "readOnlyPort (--read-only-port) -1 must be between 0 and 65535"),
    ({"registryBurst": -1}, "registryBurst (--registry-burst) -1"),
    ({"registryPullQPS": -1}, "registryPullQPS (--registry-qps) -1"),
    ({"maxParallelImagePulls": 0}, "maxParallelImagePulls 0 must be a positive number"),
    (
        {"maxParallelImagePulls": 2},
        "maxParallelImagePulls 2 cannot be larger than 1 unless serializeImagePulls",
    ),
    ({"runOnce": True}, "runOnce (--runonce) true"),
    ({"registerWithTaints": [Taint(key="a b")]}, "invalid taint a b=:"),
    (
        {"registerWithTaints": [Taint(key="a", effect="Never")]},
        "invalid taint a=:Never: effect must be one of",
    ),
    ({"registerWithTaints": [Taint(key="a", timeAdded="x")]}, "taint.timeAdded is not nil"),
    ({"topologyManagerPolicy": "x"}, 'topologyManagerPolicy (--topology-manager-policy) "x" must be one of'),
    ({"topologyManagerScope": "x"}, 'topologyManagerScope (--topology-manager-scope) "x" must be one of'),
    (
        {"shutdownGracePeriodCriticalPods": S(2)},
        "shutdownGracePeriodCriticalPods 2s must be <= shutdownGracePeriod 0s",
    ),
    ({"shutdownGracePeriod": S(0.5)}, "shutdownGracePeriod 500ms must be either zero or otherwise >= 1 sec"),
    (
        {"shutdownGracePeriod": S(9), "shutdownGracePeriodCriticalPods": S(0.5)},
        "CriticalPods 500ms must be either",
    ),
    (
        {
            "shutdownGracePeriod": S(9),
            "shutdownGracePeriodByPodPriority": [ShutdownGracePeriodByPodPriority()],
        },
        "both",
    ),
    ({"memorySwap": MemorySwap(swapBehavior="x")}, 'memorySwap.swapBehavior "x" must be one of'),
    ({"crashLoopBackOff__maxContainerRestartPeriod": S(301)}, "(got: 5m1s) must be set between 1s and 300s"),
    ({"crashLoopBackOff__maxContainerRestartPeriod": S(0.5)}, "(got: 500ms) must be set between 1s and 300s"),
    ({"enforceNodeAllocatable": ["pods", "pods"]}, 'duplicated enforcements "pods"'),
    ({"enforceNodeAllocatable": ["x"]}, 'option "x" specified for enforceNodeAllocatable'),
    ({"enforceNodeAllocatable": ["none", "pods"]}, 'may not contain additional enforcements when "none"'),
    (
        {"enforceNodeAllocatable": ["system-reserved"]},
        "systemReservedCgroup (--system-reserved-cgroup) must be",
    ),
    (
        {"enforceNodeAllocatable": ["kube-reserved-compressible"]},
        "kubeReservedCgroup (--kube-reserved-cgroup) must be",
    ),
    (
        {
            "enforceNodeAllocatable": ["kube-reserved", "kube-reserved-compressible"],
            "kubeReservedCgroup": "/k",
        },
        'both "kube-reserved" and "kube-reserved-compressible"',
    ),
    ({"cgroupsPerQOS": False}, 'cgroupsPerQOS (--cgroups-per-qos) must be set to true when "pods" contained'),
    ({"hairpinMode": "x"}, 'hairpinMode (--hairpin-mode) "x" must be one of'),
    (
        {"imagePullCredentialsVerificationPolicy": "x"},
        'imagePullCredentialsVerificationPolicy "x" must be one of',
    ),
    ({"preloadedImagesVerificationAllowlist": ["a"]}, "preloadedImagesVerificationAllowlist cannot be set"),
    ({"reservedSystemCPUs": "0-x"}, "reservedSystemCPUs (--reserved-cpus): "),
    (
        {"reservedSystemCPUs": "0", "kubeReservedCgroup": "/k"},
        "can't use reservedSystemCPUs (--reserved-cpus) with",
    ),
    ({"reservedMemory": reserve(cpu="1")}, 'the limit type "cpu" for NUMA node 0 is not supported'),
    ({"reservedMemory": reserve(memory="0")}, 'may not be zero for NUMA node 0 and resource "memory"'),
    ({"reservedMemory": reserve(memory="1") * 2}, 'duplicate value for NUMA node 0 and resource "memory"'),
    (
        {"userNamespaces": UserNamespaces(idsPerPod=1)},
        "userNamespaces.idsPerPod 1 must not be less than 65536",
    ),
    (
        {"userNamespaces": UserNamespaces(idsPerPod=65537)},
        "userNamespaces.idsPerPod 65537 must be a multiple of 65536",
    ),
    ({"userNamespaces": UserNamespaces(idsPerPod=2**32)}, "must not be more than 4294967295"),
    ({"showHiddenMetricsForVersion": "1.34"}, 'showHiddenMetricsForVersion "1.34" must be omitted'),
    ({"logging__flushFrequency": S(-1)}, "logging.flushFrequency -1s must be greater than zero"),
    ({"logging__format": "xml"}, 'logging.format (--logging-format) "xml": unsupported log format'),
    ({"logging__verbosity": 2**31}, "logging.verbosity (--v) 2147483648 must be <="),
    (
        {"logging__format": "json", "logging__vmodule": [VModuleItem(filePattern="a")]},
        "only supported for text",
    ),
    ({"logging__vmodule": [VModuleItem()]}, "logging.vmodule[0]: file pattern must not be empty"),
    ({"logging__vmodule": [VModuleItem(filePattern="a=")]}, "must not contain equal sign or comma"),
    (
        {"logging__vmodule": [VModuleItem(filePattern="a", verbosity=2**31)]},
        "logging.vmodule[0] 2147483648 must be",
    ),
    ({"logging__options__text__splitStream": True}, "logging.options.text.splitStream requires feature gate"),
    (
        {"logging__options__json__infoBufferSize": "1"},
        "logging.options.json.infoBufferSize requires feature gate",
    ),
    (
        {"logging__options__json__infoBufferSize": "x"},
        'logging.options.json.infoBufferSize: "x" is not a quantity',
    ),
    ({"tracing": Tracing(samplingRatePerMillion=-1)}, "tracing.samplingRatePerMillion -1 must be between"),
    ({"tracing": Tracing(samplingRatePerMillion=1_000_001)}, "tracing.samplingRatePerMillion 1000001"),
    ({"tracing": Tracing(endpoint="http://x")}, 'tracing.endpoint "http://x": unsupported scheme "http"'),
    ({"tracing": Tracing(endpoint="dns://[x")}, "tracing.endpoint"),
    ({"memoryThrottlingFactor": 0.0}, "memoryThrottlingFactor 0 must be greater than 0"),
    ({"memoryThrottlingFactor": 1.5}, "memoryThrottlingFactor 1.5 must be"),
    ({"memoryReservationPolicy": "TieredReservation"}, "requires feature gate MemoryQoS"),
    ({"memoryReservationPolicy": "x"}, 'memoryReservationPolicy "x" must be one of'),
    (
        {"containerRuntimeEndpoint": ""},
        "containerRuntimeEndpoint (--container-runtime-endpoint) was not specified",
    ),
    ({"enableSystemLogQuery": True, "enableSystemLogHandler": False}, "enableSystemLogHandler is required"),
    ({"containerLogMaxWorkers": 0}, "containerLogMaxWorkers 0 must be greater than or equal to 1"),
    (
        {"containerLogMonitorInterval": S(2)},
        "containerLogMonitorInterval 2s must be greater than or equal to 3s",
    ),
    (
        {"containerLogMaxFiles": 1},
        "containerLogMaxFiles (--container-log-max-files) 1 must be greater than 1",
    ),
    ({"podLogsDir": ""}, "podLogsDir was not specified"),
    ({"podLogsDir": "logs"}, 'podLogsDir "logs" must be an absolute path'),
    ({"podLogsDir": "/a/../b"}, 'podLogsDir "/a/../b" must be normalized'),
    ({"podLogsDir": "/ü"}, 'podLogsDir "/ü" must contain ASCII characters only'),
    ({"cpuManagerPolicy": "x"}, 'cpuManagerPolicy (--cpu-manager-policy) "x" must be one of'),
    (
        {"memoryManagerPolicy": "static"},
        'memoryManagerPolicy (--memory-manager-policy) "static" must be one of',
    ),
    ({"configMapAndSecretChangeDetectionStrategy": "x"}, "configMapAndSecretChangeDetectionStrategy"),
    ({"cgroupDriver": "x"}, 'cgroupDriver (--cgroup-driver) "x" must be one of: "cgroupfs", "systemd"'),
    ({"authorization__mode": "x"}, 'authorization.mode (--authorization-mode) "x" must be one of'),
    ({"tlsMinVersion": "x"}, 'tlsMinVersion (--tls-min-version) "x" must be one of'),
    ({"tlsCipherSuites": ["x"]}, "tlsCipherSuites (--tls-cipher-suites): cipher suite x is not supported"),
    ({"tlsCurvePreferences": [1]}, "tlsCurvePreferences: 1 is not a supported TLS group"),
    ({"tlsCurvePreferences": [23, 23]}, "tlsCurvePreferences: 23 is given twice"),
    ({"tlsCertFile": "/c"}, "tlsPrivateKeyFile (--tls-private-key-file) need each other"),
    (
        {"systemReserved": {"hugepages-2Mi": "1"}},
        'systemReserved (--system-reserved): cannot reserve "hugepages-2Mi"',
    ),
    ({"kubeReserved": {"cpu": "-1"}}, "kubeReserved (--kube-reserved): cpu: -1 must not be negative"),
    ({"kubeReserved": {"cpu": "x"}}, 'kubeReserved (--kube-reserved): cpu: "x" is not a quantity'),
    ({"qosReserved": {"memory": "50%"}}, "qosReserved (--qos-reserved) requires feature gate QOSReserved"),
    ({"address": "x"}, 'address (--address): "x" is not a valid IP address'),
    (
        {"healthzBindAddress": "x"},
        'healthzBindAddress (--healthz-bind-address): "x" is not a valid IP address',
    ),
    ({"clusterDNS": ["1.1.1.1", "x"]}, 'clusterDNS (--cluster-dns): "x" is not a valid IP address'),
    ({"clusterDNS": [""]}, "clusterDNS (--cluster-dns): "),
    ({"containerLogMaxSize": "x"}, 'containerLogMaxSize (--container-log-max-size): "x" is not a quantity'),
    ({"evictionHard": {"x": "1"}}, "evictionHard: unsupported eviction signal x"),
    ({"evictionHard": {"memory.available": "0"}}, "evictionHard: memory.available: 0 must be positive"),
    ({"evictionSoft": {"memory.available": "1"}}, "evictionSoft: memory.available needs a grace period"),
]


@pytest.mark.parametrize(("fields", "text"), RULES, ids=[text for _, text in RULES])
def test_each_rule(fields: dict[str, object], text: str) -> None:
    told = reason(**fields)
    assert text in told
    assert "invalid configuration: " in told


@pytest.mark.parametrize(
    ("gates", "fields", "text"),
    [
        (
            {"CustomCPUCFSQuotaPeriod": False},
            {"cpuCFSQuotaPeriod": S(0.2)},
            "requires feature gate CustomCPUCFSQuota",
        ),
        ({"CustomCPUCFSQuotaPeriod": False}, {}, ""),
        (
            {"RotateKubeletServerCertificate": False},
            {"serverTLSBootstrap": True},
            "RotateKubeletServerCertificate",
        ),
        (
            {
                "GracefulNodeShutdown": False,
                "GracefulNodeShutdownBasedOnPodPriority": False,
                "WindowsGracefulNodeShutdown": False,
            },
            {"shutdownGracePeriod": S(5)},
            "requires feature gate GracefulNodeShutdown",
        ),
        (
            {"GracefulNodeShutdownBasedOnPodPriority": False},
            {"shutdownGracePeriodByPodPriority": [ShutdownGracePeriodByPodPriority()]},
            "GracefulNodeShutdownBasedOnPod",
        ),
        (
            {"KubeletCrashLoopBackOffMax": False},
            {"crashLoopBackOff__maxContainerRestartPeriod": S(5)},
            "must not be set",
        ),
        (
            {"KubeletEnsureSecretPulledImages": False},
            {"imagePullCredentialsVerificationPolicy": "AlwaysVerify"},
            "must not",
        ),
        (
            {"KubeletEnsureSecretPulledImages": False},
            {"preloadedImagesVerificationAllowlist": ["a"]},
            "must not be set",
        ),
        ({"LoggingBetaOptions": False}, {"logging__format": "json"}, "LoggingBetaOptions"),
        ({"LoggingAlphaOptions": True}, {"logging__options__json__splitStream": True}, ""),
        ({"MemoryQoS": True}, {"memoryReservationPolicy": "TieredReservation"}, ""),
        ({"QOSReserved": True}, {"qosReserved": {"memory": "50%"}}, ""),
        ({"QOSReserved": True}, {"qosReserved": {"cpu": "50%"}}, "only memory can be reserved"),
        ({"QOSReserved": True}, {"qosReserved": {"memory": "150%"}}, "must be a percentage"),
    ],
)
def test_gated_rules(gates: dict[str, bool], fields: dict[str, object], text: str) -> None:
    told = reason(gates, **fields)
    assert text in told
    assert bool(told) == bool(text)


@pytest.mark.parametrize(
    ("pattern", "good"),
    [
        ("a.io/b", True),
        ("a.io:5000/b", True),
        ("a.io/*", True),
        ("a.io/b/*", True),
        (" a", False),
        ("/*", False),
        ("*", False),
        ("a*", False),
        ("a/*/b", False),
        ("a:1", False),
        ("a.io/b:tag", False),
        ("a@sha256:00", False),
        ("", False),
    ],
)
def test_allow_list_patterns(pattern: str, good: bool) -> None:
    told = reason(
        imagePullCredentialsVerificationPolicy="NeverVerifyAllowlistedImages",
        preloadedImagesVerificationAllowlist=[pattern],
    )
    assert (told == "") == good


@pytest.mark.parametrize(
    "change",
    [
        lambda config: setattr(config, "enforceNodeAllocatable", []),
        lambda config: setattr(config, "enforceNodeAllocatable", ["none"]),
        lambda config: setattr(config, "evictionHard", {"memory.available": "0%"}),
        lambda config: setattr(config, "tracing", Tracing(endpoint="localhost:4317")),
        lambda config: setattr(config, "userNamespaces", UserNamespaces()),
        lambda config: setattr(config, "tlsCipherSuites", ["TLS_RSA_WITH_RC4_128_SHA"]),
        lambda config: setattr(config, "readOnlyPort", 0),
        lambda config: setattr(config, "healthzPort", 0),
    ],
)
def test_what_is_fine(change: Callable[[KubeletConfiguration], None]) -> None:
    gates = FeatureGates()
    config = legacy(gates)
    change(config)
    validate(config, gates)


def test_reasons_are_aggregated() -> None:
    told = reason(maxPods=-1, podsPerCore=-1)
    assert told == (
        "[invalid configuration: maxPods (--max-pods) -1 must not be a negative number, "
        "invalid configuration: podsPerCore (--pods-per-core) -1 must not be a negative number]"
    )


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (
            KubeletFlags(nodeLabels={"a": "b", "node.kubernetes.io/x": "", "x.kubelet.kubernetes.io/y": "z"}),
            "",
        ),
        (KubeletFlags(nodeLabels={"kubernetes.io/hostname": "n", "topology.kubernetes.io/zone": "z"}), ""),
        (KubeletFlags(nodeLabels={"node-role.kubernetes.io/x": ""}), "label node-role.kubernetes.io/x"),
        (KubeletFlags(nodeLabels={"k8s.io/x": ""}), "unknown 'kubernetes.io' or 'k8s.io' label k8s.io/x"),
        (KubeletFlags(nodeLabels={"a b": ""}), "--node-labels: invalid label a b="),
        (KubeletFlags(nodeLabels={"A_/b": ""}), "prefix part"),
        (KubeletFlags(nodeLabels={"a": "b c"}), "a valid label must be"),
        (
            KubeletFlags(minimumContainerTTLDuration=Duration(-1)),
            "--minimum-container-ttl-duration: -1ns must not be negative",
        ),
        (KubeletFlags(cloudProvider="aws"), '--cloud-provider: "aws" must be empty or "external"'),
        (KubeletFlags(exitOnLockContention=True), "--exit-on-lock-contention needs --lock-file"),
        (KubeletFlags(nodeIP="10.0.0.1,fd00::1"), ""),
        (KubeletFlags(nodeIP="::"), ""),
        (KubeletFlags(nodeIP="x"), "--node-ip: "),
        (KubeletFlags(nodeIP="10.0.0.1,10.0.0.2"), "one of each family"),
        (KubeletFlags(nodeIP="10.0.0.1,::"), "must not include"),
    ],
)
def test_flags_beyond_the_configuration(flags: KubeletFlags, text: str) -> None:
    try:
        validate_flags(flags)
        told = ""
    except ConfigError as error:
        told = str(error)
    assert text in told
    assert bool(told) == bool(text)
