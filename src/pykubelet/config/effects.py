"""Which fields and flags do something in this version, and which are only taken note of.

A field belongs in `EFFECTIVE`, `PARTLY` or `NOT_YET`, by its dotted path; a test holds both together
against the types. The warning at start-up names what is in `NOT_YET` and set off its default.
"""

from collections.abc import Iterator, Mapping

from msgspec import Struct

from .defaults import DEFAULT_EVICTION_HARD, complete_gated, legacy
from .gates import FeatureGates
from .types import KubeletConfiguration, KubeletFlags

#: Fields of KubeletConfiguration that the code honours (for the maps and lists: the whole field).
EFFECTIVE: frozenset[str] = frozenset(
    [
        "enableServer",
        "staticPodPath",
        "podLogsDir",
        "syncFrequency",
        "fileCheckFrequency",
        "httpCheckFrequency",
        "staticPodURL",
        "staticPodURLHeader",
        "address",
        "port",
        "readOnlyPort",
        "tlsCertFile",
        "tlsPrivateKeyFile",
        "tlsCipherSuites",
        "tlsMinVersion",
        "authentication.x509.clientCAFile",
        "authentication.anonymous.enabled",
        "authorization.mode",
        "registryPullQPS",
        "registryBurst",
        "enableDebuggingHandlers",
        "healthzPort",
        "healthzBindAddress",
        "oomScoreAdj",
        "clusterDomain",
        "clusterDNS",
        "streamingConnectionIdleTimeout",
        "cgroupRoot",
        "cgroupsPerQOS",
        "cgroupDriver",
        "singleProcessOOMKill",
        "runtimeRequestTimeout",
        "maxPods",
        "podPidsLimit",
        "resolvConf",
        "runOnce",
        "cpuCFSQuota",
        "cpuCFSQuotaPeriod",
        "serializeImagePulls",
        "maxParallelImagePulls",
        "imagePullCredentialsVerificationPolicy",
        "preloadedImagesVerificationAllowlist",
        "mergeDefaultEvictionSettings",
        "featureGates",
        "failSwapOn",
        "systemReserved",
        "kubeReserved",
        "enforceNodeAllocatable",
        "enableSystemLogHandler",
        "enableProfilingHandler",
        "enableDebugFlagsHandler",
        "logging.verbosity",
        "crashLoopBackOff.maxContainerRestartPeriod",
        "seccompDefault",
        "containerRuntimeEndpoint",
        "imageServiceEndpoint",
        "failCgroupV1",
        "podsPerCore",
        "maxOpenFiles",
        "memorySwap.swapBehavior",
        "reservedSystemCPUs",
        "systemReservedCgroup",
        "kubeReservedCgroup",
        "allowedUnsafeSysctls",
        "logging.format",
        "registerWithTaints",
        "localStorageCapacityIsolation",
        "rotateCertificates",
        "serverTLSBootstrap",
        "authentication.webhook.enabled",
        "authentication.webhook.cacheTTL",
        "authorization.webhook.cacheAuthorizedTTL",
        "authorization.webhook.cacheUnauthorizedTTL",
        "eventRecordQPS",
        "eventBurst",
        "nodeStatusUpdateFrequency",
        "nodeStatusReportFrequency",
        "nodeLeaseDurationSeconds",
        "podCIDR",
        "nodeStatusMaxImages",
        "kubeAPIQPS",
        "kubeAPIBurst",
        "enableControllerAttachDetach",
        "makeIPTablesUtilChains",
        "configMapAndSecretChangeDetectionStrategy",
        "providerID",
        "registerNode",
        "enableSystemLogQuery",
        "imageMinimumGCAge",
        "imageMaximumGCAge",
        "imageGCHighThresholdPercent",
        "imageGCLowThresholdPercent",
        "containerLogMaxSize",
        "containerLogMaxFiles",
        "containerLogMaxWorkers",
        "containerLogMonitorInterval",
        "userNamespaces",
        "volumeStatsAggPeriod",
    ]
)

#: Fields of which only a part is honoured, and which; named at start-up when set off the default.
PARTLY: Mapping[str, str] = {
    "evictionHard": "only reserves resources, no pod is evicted yet",
    "contentType": "JSON is spoken whatever it says",
}

#: Fields of KubeletConfiguration that have no effect yet.
NOT_YET: frozenset[str] = frozenset(
    [
        "tlsCurvePreferences",
        "enableContentionProfiling",
        "kubeletCgroups",
        "systemCgroups",
        "cpuManagerPolicy",
        "cpuManagerPolicyOptions",
        "cpuManagerReconcilePeriod",
        "memoryManagerPolicy",
        "topologyManagerPolicy",
        "topologyManagerScope",
        "topologyManagerPolicyOptions",
        "qosReserved",
        "hairpinMode",
        "evictionSoft",
        "evictionSoftGracePeriod",
        "evictionPressureTransitionPeriod",
        "evictionMaxPodGracePeriod",
        "evictionMinimumReclaim",
        "protectKernelDefaults",
        "iptablesMasqueradeBit",
        "iptablesDropBit",
        "showHiddenMetricsForVersion",
        "volumePluginDir",
        "kernelMemcgNotification",
        "logging.flushFrequency",
        "logging.vmodule",
        "logging.options.text.splitStream",
        "logging.options.text.infoBufferSize",
        "logging.options.json.splitStream",
        "logging.options.json.infoBufferSize",
        "shutdownGracePeriod",
        "shutdownGracePeriodCriticalPods",
        "shutdownGracePeriodByPodPriority",
        "reservedMemory",
        "memoryThrottlingFactor",
        "memoryReservationPolicy",
        "tracing",
    ]
)

#: Flags beyond the configuration that the code honours, by their field in KubeletFlags.
EFFECTIVE_FLAGS: frozenset[str] = frozenset(
    [
        "config",
        "configDir",
        "hostnameOverride",
        "nodeIP",
        "certDir",
        "rootDir",
        "seccompDefault",
        "nodeLabels",
        "minimumContainerTTLDuration",
        "imageCredentialProviderConfig",
        "imageCredentialProviderBinDir",
        "maximumDeadContainersPerContainer",
        "maximumDeadContainers",
        "imageGCKeep",
        "experimentalAllocatableIgnoreEviction",
        "kubeconfig",
        "bootstrapKubeconfig",
        "cloudProvider",
        "containerRuntime",
        "enableManifestPush",
        "version",
        "help",
    ]
)

#: Flags beyond the configuration that have no effect yet, and their names on the command line.
NOT_YET_FLAGS: Mapping[str, str] = {
    "runtimeCgroups": "--runtime-cgroups",
    "lockFile": "--lock-file",
    "exitOnLockContention": "--exit-on-lock-contention",
    "experimentalMounterPath": "--experimental-mounter-path",
    "housekeepingInterval": "--housekeeping-interval",
    "maxHousekeepingInterval": "--max-housekeeping-interval",
    "applicationMetricsCountLimit": "--application-metrics-count-limit",
    "bootIDFile": "--boot-id-file",
    "containerHints": "--container-hints",
    "containerd": "--containerd",
    "containerdNamespace": "--containerd-namespace",
    "enableLoadReader": "--enable-load-reader",
    "eventStorageAgeLimit": "--event-storage-age-limit",
    "eventStorageEventLimit": "--event-storage-event-limit",
    "globalHousekeepingInterval": "--global-housekeeping-interval",
    "logCadvisorUsage": "--log-cadvisor-usage",
    "machineIDFile": "--machine-id-file",
    "storageDriverBufferDuration": "--storage-driver-buffer-duration",
    "storageDriverDB": "--storage-driver-db",
    "storageDriverHost": "--storage-driver-host",
    "storageDriverPassword": "--storage-driver-password",
    "storageDriverSecure": "--storage-driver-secure",
    "storageDriverTable": "--storage-driver-table",
    "storageDriverUser": "--storage-driver-user",
}

#: Values other than the default that are honoured although their field is not: they ask for nothing.
_HARMLESS = frozenset(
    {
        ("hairpinMode", "none"),
    }
)


def leaves(obj: Struct, prefix: str = "") -> Iterator[tuple[str, object]]:
    """Dotted path and value of every field below *obj*."""
    for name in obj.__struct_fields__:
        value = getattr(obj, name)
        if isinstance(value, Struct) and prefix + name not in NOT_YET | EFFECTIVE | PARTLY.keys():
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def idle(flags: KubeletFlags, config: KubeletConfiguration) -> list[str]:
    """Fields and flags that are set off their default and have no effect, in the order of the types."""
    usual = KubeletConfiguration(evictionHard=dict(DEFAULT_EVICTION_HARD))
    gates = FeatureGates()
    complete_gated(usual, gates)
    defaults = dict(leaves(usual))
    old = dict(leaves(legacy(gates)))
    idle_fields = [
        path
        for path, value in leaves(config)
        if path in NOT_YET
        and value not in (defaults.get(path), old.get(path))
        and (path, value if isinstance(value, str | bool) else None) not in _HARMLESS
    ]
    usual_flags = KubeletFlags()
    idle_flags = [
        shown
        for field, shown in NOT_YET_FLAGS.items()
        if getattr(flags, field) != getattr(usual_flags, field)
    ]
    partly = [
        f"{path} ({how})"
        for path, how in PARTLY.items()
        if dict(leaves(config))[path] not in (defaults[path], old[path])
    ]
    return idle_fields + idle_flags + partly
