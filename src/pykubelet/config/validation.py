"""Whether a loaded configuration makes sense: every check of the kubelet 1.36, and bad values it finds late.

Each check is a generator of reasons; each reason names the field, its flag and what is wrong. Checks
that need to know the host are in `host`. Source: the kubelet's configuration validation, and the
places that parse a field only while starting (TLS, reservations, eviction thresholds).
"""

import posixpath
from collections.abc import Callable, Iterator

from ..base.gotext import aggregate, go_list
from . import names, parsed, values
from .gates import FeatureGates
from .tlsnames import CIPHER_SUITES, CURVES, INSECURE_CIPHER_SUITES, VERSIONS
from .types import ConfigError, KubeletConfiguration, KubeletFlags
from .validation_more import (
    check_logging,
    check_node_labels,
    check_reserved_memory,
    check_tracing,
    check_user_namespaces,
)

Config = KubeletConfiguration
Reasons = Iterator[str]

_MS = 1_000_000
_SECOND = 1_000_000_000


def validate(config: Config, gates: FeatureGates) -> None:
    """Check the whole configuration.

    :raises ConfigError: all reasons, aggregated into one line.
    """
    reasons = [reason for check in _CHECKS for reason in check(config, gates)]
    if reasons:
        raise ConfigError(aggregate(f"invalid configuration: {reason}" for reason in reasons))


def validate_flags(flags: KubeletFlags) -> None:
    """Check what only flags can say.

    :raises ConfigError: all reasons, aggregated into one line.
    """
    reasons = list(check_node_labels(flags.nodeLabels))
    if flags.cloudProvider not in ("", "external"):
        reasons.append(f'--cloud-provider: "{flags.cloudProvider}" must be empty or "external"')
    if flags.containerRuntime not in ("remote", "docker"):
        reasons.append(
            f'--container-runtime: "{flags.containerRuntime}" is not supported: only "remote" '
            '(any CRI runtime, at --container-runtime-endpoint) and "docker" (through cri-dockerd)'
        )
    if flags.minimumContainerTTLDuration < 0:
        age = flags.minimumContainerTTLDuration
        reasons.append(f"--minimum-container-ttl-duration: {age} must not be negative")
    if flags.exitOnLockContention and not flags.lockFile:
        reasons.append("--exit-on-lock-contention needs --lock-file")
    try:
        parsed.node_ips(flags.nodeIP)
    except ValueError as error:
        reasons.append(f"--node-ip: {error}")
    if reasons:
        raise ConfigError(f"failed to validate kubelet flags: {aggregate(reasons)}")


def _named(field: str, flag: str) -> str:
    return f"{field} (--{flag})" if flag else field


# --- numbers -------------------------------------------------------------------

#: field, flag, least, most (None: no such end), and how the range is told.
_RANGES: tuple[tuple[str, str, int | None, int | None, str], ...] = (
    ("nodeLeaseDurationSeconds", "", 1, None, "must be greater than 0"),
    ("eventBurst", "event-burst", 0, None, "must not be a negative number"),
    ("eventRecordQPS", "event-qps", 0, None, "must not be a negative number"),
    ("healthzPort", "healthz-port", 0, 65535, "must be between 1 and 65535, inclusive"),
    (
        "imageGCHighThresholdPercent",
        "image-gc-high-threshold",
        0,
        100,
        "must be between 0 and 100, inclusive",
    ),
    ("imageGCLowThresholdPercent", "image-gc-low-threshold", 0, 100, "must be between 0 and 100, inclusive"),
    ("imageMinimumGCAge", "minimum-image-ttl-duration", 0, None, "must not be negative"),
    ("imageMaximumGCAge", "", 0, None, "must not be negative"),
    ("iptablesDropBit", "", 0, 31, "must be between 0 and 31, inclusive"),
    ("iptablesMasqueradeBit", "", 0, 31, "must be between 0 and 31, inclusive"),
    ("kubeAPIBurst", "kube-api-burst", 0, None, "must not be a negative number"),
    ("kubeAPIQPS", "kube-api-qps", 0, None, "must not be a negative number"),
    ("nodeStatusMaxImages", "node-status-max-images", -1, None, "must be -1 or greater"),
    ("maxOpenFiles", "max-open-files", 0, None, "must not be a negative number"),
    ("maxPods", "max-pods", 0, None, "must not be a negative number"),
    ("oomScoreAdj", "oom-score-adj", -1000, 1000, "must be between -1000 and 1000, inclusive"),
    ("podsPerCore", "pods-per-core", 0, None, "must not be a negative number"),
    ("port", "port", 1, 65535, "must be between 1 and 65535, inclusive"),
    ("readOnlyPort", "read-only-port", 0, 65535, "must be between 0 and 65535, inclusive"),
    ("registryBurst", "registry-burst", 0, None, "must not be a negative number"),
    ("registryPullQPS", "registry-qps", 0, None, "must not be a negative number"),
    ("containerLogMaxWorkers", "", 1, None, "must be greater than or equal to 1"),
    ("containerLogMonitorInterval", "", 3 * _SECOND, None, "must be greater than or equal to 3s"),
    ("containerLogMaxFiles", "container-log-max-files", 2, None, "must be greater than 1"),
)


def _ranges(config: Config, _: FeatureGates) -> Reasons:
    for field, flag, least, most, told in _RANGES:
        value = getattr(config, field)
        if (least is not None and value < least) or (most is not None and value > most):
            yield f"{_named(field, flag)} {value} {told}"


def _cpu_quota(config: Config, gates: FeatureGates) -> Reasons:
    period = config.cpuCFSQuotaPeriod
    if not gates.enabled("CustomCPUCFSQuotaPeriod"):
        if period != 100 * _MS:
            yield (
                f"cpuCFSQuotaPeriod (--cpu-cfs-quota-period) {period} requires feature gate "
                "CustomCPUCFSQuotaPeriod"
            )
    elif not _MS <= period <= _SECOND:
        yield f"cpuCFSQuotaPeriod (--cpu-cfs-quota-period) {period} must be between 1ms and 1sec, inclusive"


def _images(config: Config, gates: FeatureGates) -> Reasons:
    low, high = config.imageGCLowThresholdPercent, config.imageGCHighThresholdPercent
    if low >= high:
        yield (
            f"imageGCLowThresholdPercent (--image-gc-low-threshold) {low} must be less than "
            f"imageGCHighThresholdPercent (--image-gc-high-threshold) {high}"
        )
    if 0 < config.imageMaximumGCAge <= config.imageMinimumGCAge:
        yield (
            f"imageMaximumGCAge {config.imageMaximumGCAge} must be greater than "
            f"imageMinimumGCAge {config.imageMinimumGCAge}"
        )
    pulls = config.maxParallelImagePulls
    if pulls is not None and pulls < 1:
        yield f"maxParallelImagePulls {pulls} must be a positive number"
    if config.serializeImagePulls and (pulls or 0) > 1:
        yield (
            f"maxParallelImagePulls {pulls} cannot be larger than 1 unless serializeImagePulls "
            "(--serialize-image-pulls) is set to false"
        )
    yield from _credentials(config, gates)


_VERIFICATION = ("NeverVerify", "NeverVerifyPreloadedImages", "NeverVerifyAllowlistedImages", "AlwaysVerify")


def _credentials(config: Config, gates: FeatureGates) -> Reasons:
    policy, allowed = (
        config.imagePullCredentialsVerificationPolicy,
        config.preloadedImagesVerificationAllowlist,
    )
    if not gates.enabled("KubeletEnsureSecretPulledImages"):
        for field, value in (
            ("imagePullCredentialsVerificationPolicy", policy),
            ("preloadedImagesVerificationAllowlist", allowed),
        ):
            if value:
                yield f"{field} must not be set while feature gate KubeletEnsureSecretPulledImages is off"
        return
    yield from _one_of("imagePullCredentialsVerificationPolicy", "", policy, _VERIFICATION)
    if allowed and policy != "NeverVerifyAllowlistedImages":
        yield (
            "preloadedImagesVerificationAllowlist cannot be set if imagePullCredentialsVerificationPolicy "
            'is not "NeverVerifyAllowlistedImages"'
        )
        return
    for pattern in allowed:
        problem = _pattern_problem(pattern)
        if problem:
            yield f"preloadedImagesVerificationAllowlist: {problem}: {pattern}"


def _pattern_problem(pattern: str) -> str:
    if pattern != pattern.strip():
        return "leading or trailing spaces are not allowed"
    base = pattern.removesuffix("*") if pattern.endswith("/*") else pattern
    if not base:
        return "the pattern is too short"
    if "*" in base:
        return "only patterns ending with '/*' may have a wildcard"
    if base != pattern:
        return "at least the registry's name is required" if base == "/" else ""
    if "@" in base or ":" in base.rpartition("/")[2]:
        return "neither tag nor digest is accepted"
    return ""


# --- one of --------------------------------------------------------------------

_CHOICES: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    (
        "topologyManagerPolicy",
        "topology-manager-policy",
        ("none", "best-effort", "restricted", "single-numa-node"),
    ),
    ("topologyManagerScope", "topology-manager-scope", ("container", "pod")),
    ("hairpinMode", "hairpin-mode", ("none", "hairpin-veth", "promiscuous-bridge")),
    ("memoryReservationPolicy", "", ("None", "TieredReservation")),
    ("cpuManagerPolicy", "cpu-manager-policy", ("none", "static")),
    ("memoryManagerPolicy", "memory-manager-policy", ("None", "Static")),
    ("configMapAndSecretChangeDetectionStrategy", "", ("Get", "Cache", "Watch")),
    ("cgroupDriver", "cgroup-driver", ("cgroupfs", "systemd")),
    ("tlsMinVersion", "tls-min-version", ("", *VERSIONS)),
    ("authorization.mode", "authorization-mode", ("AlwaysAllow", "Webhook")),
    ("memorySwap.swapBehavior", "", ("", "LimitedSwap", "NoSwap")),
)


def _one_of(field: str, flag: str, value: str, allowed: tuple[str, ...]) -> Reasons:
    if value not in allowed:
        options = ", ".join(f'"{option}"' for option in allowed)
        yield f'{_named(field, flag)} "{value}" must be one of: {options}'


def _choices(config: Config, _: FeatureGates) -> Reasons:
    for field, flag, allowed in _CHOICES:
        outer, _dot, inner = field.partition(".")
        value = getattr(config, outer)
        yield from _one_of(field, flag, getattr(value, inner) if inner else value, allowed)


# --- groups of fields ----------------------------------------------------------


def _gated(config: Config, gates: FeatureGates) -> Reasons:
    if config.serverTLSBootstrap and not gates.enabled("RotateKubeletServerCertificate"):
        yield "serverTLSBootstrap true requires feature gate RotateKubeletServerCertificate"
    if config.memoryReservationPolicy == "TieredReservation" and not gates.enabled("MemoryQoS"):
        yield 'memoryReservationPolicy "TieredReservation" requires feature gate MemoryQoS'
    if config.qosReserved and not gates.enabled("QOSReserved"):
        yield "qosReserved (--qos-reserved) requires feature gate QOSReserved"
    if not 0 < config.memoryThrottlingFactor <= 1:
        yield (
            f"memoryThrottlingFactor {config.memoryThrottlingFactor:g} must be greater than 0 "
            "and less than or equal to 1.0"
        )


def _single(config: Config, _: FeatureGates) -> Reasons:
    if config.systemCgroups and not config.cgroupRoot:
        yield (
            "systemCgroups (--system-cgroups) was specified and cgroupRoot (--cgroup-root) was not specified"
        )
    if config.runOnce:
        yield "runOnce (--runonce) true: run-once mode is no longer supported and must not be set"
    if not config.containerRuntimeEndpoint:
        yield "containerRuntimeEndpoint (--container-runtime-endpoint) was not specified or empty"
    if config.enableSystemLogQuery and not config.enableSystemLogHandler:
        yield "enableSystemLogHandler is required for enableSystemLogQuery"
    if config.showHiddenMetricsForVersion not in ("", "1.35"):
        yield (
            f'showHiddenMetricsForVersion "{config.showHiddenMetricsForVersion}" must be omitted or have the '
            "value '1.35'; only the previous minor version is allowed"
        )


def _taints(config: Config, _: FeatureGates) -> Reasons:
    for taint in config.registerWithTaints:
        problem = names.qualified_name_error(taint.key) or names.label_value_error(taint.value)
        if taint.effect and taint.effect not in values.TAINT_EFFECTS:
            problem = problem or f"effect must be one of {', '.join(values.TAINT_EFFECTS)}"
        if problem:
            shown = f"{taint.key}={taint.value}:{taint.effect}"
            yield f"registerWithTaints (--register-with-taints): invalid taint {shown}: {problem}"
        if taint.timeAdded is not None:
            yield "registerWithTaints (--register-with-taints): taint.timeAdded is not nil"


def _shutdown(config: Config, gates: FeatureGates) -> Reasons:
    total, critical = config.shutdownGracePeriod, config.shutdownGracePeriodCriticalPods
    by_priority = config.shutdownGracePeriodByPodPriority
    if gates.enabled("GracefulNodeShutdown"):
        if critical > total:
            yield f"shutdownGracePeriodCriticalPods {critical} must be <= shutdownGracePeriod {total}"
        for field, value in (
            ("shutdownGracePeriod", total),
            ("shutdownGracePeriodCriticalPods", critical),
        ):
            if value < 0 or 0 < value < _SECOND:
                yield f"{field} {value} must be either zero or otherwise >= 1 sec"
    elif total > 0 or critical > 0:
        yield (
            "specifying shutdownGracePeriod or shutdownGracePeriodCriticalPods requires feature gate "
            "GracefulNodeShutdown"
        )
    if by_priority and not gates.enabled("GracefulNodeShutdownBasedOnPodPriority"):
        yield (
            "specifying shutdownGracePeriodByPodPriority requires feature gate "
            "GracefulNodeShutdownBasedOnPodPriority"
        )
    elif by_priority and (total > 0 or critical > 0):
        yield "cannot specify both shutdownGracePeriodByPodPriority and shutdownGracePeriod at the same time"


def _back_off(config: Config, gates: FeatureGates) -> Reasons:
    period = config.crashLoopBackOff.maxContainerRestartPeriod
    if not gates.enabled("KubeletCrashLoopBackOffMax"):
        if period is not None:
            yield (
                "crashLoopBackOff.maxContainerRestartPeriod must not be set: feature gate "
                "KubeletCrashLoopBackOffMax is not enabled"
            )
    elif period is None or not _SECOND <= period <= 300 * _SECOND:
        yield f"crashLoopBackOff.maxContainerRestartPeriod (got: {period}) must be set between 1s and 300s"


_ENFORCEMENTS = (
    "pods",
    "system-reserved",
    "system-reserved-compressible",
    "kube-reserved",
    "kube-reserved-compressible",
    "none",
)


def _enforcement(config: Config, _: FeatureGates) -> Reasons:
    wanted, field = config.enforceNodeAllocatable, "enforceNodeAllocatable (--enforce-node-allocatable)"
    for key in ("system-reserved", "kube-reserved"):
        if {key, f"{key}-compressible"} <= set(wanted):
            yield f'both "{key}" and "{key}-compressible" cannot be specified together in {field}'
    for at, key in enumerate(wanted):
        if key in wanted[:at]:
            yield f'duplicated enforcements "{key}" in {field}'
        elif key not in _ENFORCEMENTS:
            yield f'option "{key}" specified for {field}. Valid options are {", ".join(_ENFORCEMENTS)}'
        elif key == "none":
            if len(wanted) > 1:
                yield f'{field} may not contain additional enforcements when "none" is specified'
        else:
            yield from _enforcement_needs(config, key, field)


def _enforcement_needs(config: Config, key: str, field: str) -> Reasons:
    if key.startswith("system-reserved") and not config.systemReservedCgroup:
        yield f'systemReservedCgroup (--system-reserved-cgroup) must be specified when "{key}" is in {field}'
    if key.startswith("kube-reserved") and not config.kubeReservedCgroup:
        yield f'kubeReservedCgroup (--kube-reserved-cgroup) must be specified when "{key}" is in {field}'
    if not config.cgroupsPerQOS:
        yield f'cgroupsPerQOS (--cgroups-per-qos) must be set to true when "{key}" contained in {field}'


def _reserved_cpus(config: Config, _: FeatureGates) -> Reasons:
    if not config.reservedSystemCPUs:
        return
    if config.systemReservedCgroup or config.kubeReservedCgroup:
        yield (
            "can't use reservedSystemCPUs (--reserved-cpus) with systemReservedCgroup "
            "(--system-reserved-cgroup) or kubeReservedCgroup (--kube-reserved-cgroup)"
        )
    yield from _parses(
        "reservedSystemCPUs", "reserved-cpus", lambda: parsed.cpuset(config.reservedSystemCPUs)
    )


def _log_directory(config: Config, _: FeatureGates) -> Reasons:
    path = config.podLogsDir
    if not path:
        yield "podLogsDir was not specified"
    if not path.startswith("/"):
        yield f'podLogsDir "{path}" must be an absolute path'
    if path != posixpath.normpath(path or "."):
        yield f'podLogsDir "{path}" must be normalized'
    if not path.isascii():
        yield f'podLogsDir "{path}" must contain ASCII characters only'


# --- text that must parse ------------------------------------------------------


def _parses(field: str, flag: str, read: Callable[[], object]) -> Reasons:
    try:
        read()
    except ValueError as error:
        yield f"{_named(field, flag)}: {error}"


def _texts(config: Config, _: FeatureGates) -> Reasons:
    yield from _parses("systemReserved", "system-reserved", lambda: parsed.reserved(config.systemReserved))
    yield from _parses("kubeReserved", "kube-reserved", lambda: parsed.reserved(config.kubeReserved))
    yield from _parses("qosReserved", "qos-reserved", lambda: parsed.qos_reserved(config.qosReserved))
    yield from _parses("address", "address", lambda: values.ip(None, config.address))
    yield from _parses(
        "healthzBindAddress", "healthz-bind-address", lambda: values.ip(None, config.healthzBindAddress)
    )
    for server in config.clusterDNS:
        yield from _parses("clusterDNS", "cluster-dns", lambda text=server: values.ip(None, text or "''"))  # type: ignore[misc]
    yield from _parses(
        "containerLogMaxSize",
        "container-log-max-size",
        lambda: parsed.quantity(config.containerLogMaxSize),
    )
    try:
        parsed.thresholds(config)
    except ValueError as error:
        yield str(error)


def _tls(config: Config, _: FeatureGates) -> Reasons:
    for suite in config.tlsCipherSuites:
        if suite not in CIPHER_SUITES and suite not in INSECURE_CIPHER_SUITES:
            yield f"tlsCipherSuites (--tls-cipher-suites): cipher suite {suite} is not supported"
    curves = config.tlsCurvePreferences
    for at, curve in enumerate(curves):
        if curve not in CURVES:
            yield f"tlsCurvePreferences: {curve} is not a supported TLS group"
        elif curve in curves[:at]:
            yield f"tlsCurvePreferences: {curve} is given twice in {go_list(curves)}"
    if bool(config.tlsCertFile) != bool(config.tlsPrivateKeyFile):
        yield "tlsCertFile (--tls-cert-file) and tlsPrivateKeyFile (--tls-private-key-file) need each other"


_CHECKS: tuple[Callable[[Config, FeatureGates], Reasons], ...] = (
    _ranges,
    _single,
    _cpu_quota,
    _images,
    _choices,
    _gated,
    _taints,
    _shutdown,
    _back_off,
    _enforcement,
    _reserved_cpus,
    check_reserved_memory,
    check_user_namespaces,
    check_logging,
    check_tracing,
    _log_directory,
    _texts,
    _tls,
)
