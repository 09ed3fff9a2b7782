"""The API's defaults: what a field is worth that a file does not say, or says as zero.

Most defaults stand in the types. Here is the rest: which fields tell an explicit zero from absence
(pointers in the API), and the defaults that hang on other fields or on feature gates.
Source: the v1beta1 defaulting of kubelet 1.36.
"""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct, structs

from ..base.duration import Duration
from .gates import FeatureGates
from .types import (
    AnonymousAuthentication,
    KubeletConfiguration,
    UserNamespaces,
    WebhookAuthentication,
)

#: The signals a node evicts on when a config file does not say.
DEFAULT_EVICTION_HARD: Mapping[str, str] = {
    "memory.available": "100Mi",
    "nodefs.available": "10%",
    "nodefs.inodesFree": "5%",
    "imagefs.available": "15%",
    "imagefs.inodesFree": "5%",
}

#: Fields whose explicit zero counts: they are never defaulted once given, and always printed.
POINTERS: Mapping[type[Struct], frozenset[str]] = {
    WebhookAuthentication: frozenset({"enabled"}),
    AnonymousAuthentication: frozenset({"enabled"}),
    UserNamespaces: frozenset({"idsPerPod"}),
    KubeletConfiguration: frozenset(
        [
            "enableServer",
            "registryPullQPS",
            "eventRecordQPS",
            "enableDebuggingHandlers",
            "healthzPort",
            "oomScoreAdj",
            "imageGCHighThresholdPercent",
            "imageGCLowThresholdPercent",
            "cgroupsPerQOS",
            "singleProcessOOMKill",
            "podPidsLimit",
            "resolvConf",
            "cpuCFSQuota",
            "cpuCFSQuotaPeriod",
            "nodeStatusMaxImages",
            "kubeAPIQPS",
            "serializeImagePulls",
            "maxParallelImagePulls",
            "mergeDefaultEvictionSettings",
            "enableControllerAttachDetach",
            "makeIPTablesUtilChains",
            "iptablesMasqueradeBit",
            "iptablesDropBit",
            "failSwapOn",
            "containerLogMaxFiles",
            "containerLogMaxWorkers",
            "containerLogMonitorInterval",
            "enableSystemLogHandler",
            "enableSystemLogQuery",
            "enableProfilingHandler",
            "enableDebugFlagsHandler",
            "seccompDefault",
            "memoryThrottlingFactor",
            "registerNode",
            "localStorageCapacityIsolation",
            "failCgroupV1",
        ]
    ),
}


def complete(config: KubeletConfiguration, given: Mapping[str, Any], gates: FeatureGates) -> None:
    """Fill in, in place, what *given* (the decoded document) left to the API's defaults."""
    fill_zeros(config)
    if not given.get("nodeStatusReportFrequency") or not config.nodeStatusReportFrequency:
        explicit = given.get("nodeStatusUpdateFrequency")
        config.nodeStatusReportFrequency = (
            config.nodeStatusUpdateFrequency
            if explicit is not None and Duration.parse(explicit)
            else Duration.of(300)
        )
    if given.get("serializeImagePulls") is None:
        config.serializeImagePulls = (config.maxParallelImagePulls or 0) < 2
    config.podPidsLimit = max(config.podPidsLimit, -1)
    complete_gated(config, gates)


def complete_gated(config: KubeletConfiguration, gates: FeatureGates) -> None:
    """Fill in, in place, the defaults that only hold while a gate is on."""
    back_off = config.crashLoopBackOff
    if back_off.maxContainerRestartPeriod is None and gates.enabled("KubeletCrashLoopBackOffMax"):
        back_off.maxContainerRestartPeriod = Duration.of(300)
    if not config.imagePullCredentialsVerificationPolicy and gates.enabled("KubeletEnsureSecretPulledImages"):
        config.imagePullCredentialsVerificationPolicy = "NeverVerifyPreloadedImages"


def fill_zeros(obj: Struct) -> None:
    """Give every zero that means "unset" its default, in place, nested structs too."""
    pointers = POINTERS.get(type(obj), frozenset())
    for info in structs.fields(obj):
        value = getattr(obj, info.name)
        if isinstance(value, Struct):
            fill_zeros(value)
        elif isinstance(value, int | str | float) and not value and info.name not in pointers:
            default = info.default
            if isinstance(default, int | str | float) and default:
                setattr(obj, info.name, default)


def legacy(gates: FeatureGates) -> KubeletConfiguration:
    """The base for a start without ``--config``: the flags' own, older defaults."""
    config = KubeletConfiguration()
    complete_gated(config, gates)
    config.authentication.anonymous.enabled = True
    config.authentication.webhook.enabled = False
    config.authorization.mode = "AlwaysAllow"
    config.readOnlyPort = 10255
    return config
