"""Checks of the configuration's nested parts: logging, tracing, reserved memory, user namespaces, labels."""

from collections.abc import Iterator, Mapping
from urllib.parse import urlsplit

from . import parsed
from .gates import FeatureGates
from .names import label_value_error, qualified_name_error
from .types import KubeletConfiguration

_ID_UNIT = 65536
_MAX_UINT32 = 2**32 - 1
_MAX_INT32 = 2**31 - 1

_NODE_LABELS = frozenset(
    [
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch",
        "kubernetes.io/os",
        "kubernetes.io/arch",
    ]
)
_NODE_LABEL_NAMESPACES = ("kubelet.kubernetes.io", "node.kubernetes.io")


def check_node_labels(labels: Mapping[str, str]) -> Iterator[str]:
    """Labels in Kubernetes' own namespaces must be ones that a kubelet may set; all must be well formed."""
    for key, value in sorted(labels.items()):
        namespace = key.partition("/")[0] if "/" in key else ""
        reserved = _within(namespace, "kubernetes.io") or _within(namespace, "k8s.io")
        allowed = key in _NODE_LABELS or any(_within(namespace, own) for own in _NODE_LABEL_NAMESPACES)
        problem = qualified_name_error(key) or label_value_error(value)
        if problem:
            yield f"--node-labels: invalid label {key}={value}: {problem}"
        elif reserved and not allowed:
            yield (
                f"--node-labels: unknown 'kubernetes.io' or 'k8s.io' label {key}: it must be in "
                f"{' or '.join(_NODE_LABEL_NAMESPACES)}, or one of {', '.join(sorted(_NODE_LABELS))}"
            )


def _within(namespace: str, domain: str) -> bool:
    return namespace == domain or namespace.endswith(f".{domain}")


def check_reserved_memory(config: KubeletConfiguration, _: FeatureGates) -> Iterator[str]:
    """reservedMemory: memory or huge pages, not zero, each once for a NUMA node."""
    seen: set[tuple[int, str]] = set()
    for reservation in config.reservedMemory:
        node = reservation.numaNode
        for kind, amount in reservation.limits.items():
            about = f'NUMA node {node} and resource "{kind}"'
            if kind != "memory" and not kind.startswith("hugepages-"):
                yield (
                    f'reservedMemory (--reserved-memory): the limit type "{kind}" for NUMA node {node} '
                    "is not supported, only memory and hugepages-<HugePageSize> are accepted"
                )
            if not amount:
                yield f"reservedMemory (--reserved-memory): reserved memory may not be zero for {about}"
            if (node, kind) in seen:
                yield f"reservedMemory (--reserved-memory): duplicate value for {about}"
            seen.add((node, kind))


def check_user_namespaces(config: KubeletConfiguration, _: FeatureGates) -> Iterator[str]:
    """userNamespaces.idsPerPod: whole units of 65536."""
    ids = config.userNamespaces.idsPerPod if config.userNamespaces else None
    if ids is None:
        return
    if ids < _ID_UNIT:
        yield f"userNamespaces.idsPerPod {ids} must not be less than {_ID_UNIT}"
    elif ids % _ID_UNIT:
        yield f"userNamespaces.idsPerPod {ids} must be a multiple of {_ID_UNIT}"
    elif ids > _MAX_UINT32:
        yield f"userNamespaces.idsPerPod {ids} must not be more than {_MAX_UINT32}"


def check_logging(config: KubeletConfiguration, gates: FeatureGates) -> Iterator[str]:
    """The logging section."""
    logging = config.logging
    if logging.flushFrequency <= 0:
        yield f"logging.flushFrequency {logging.flushFrequency} must be greater than zero"
    if logging.format not in ("text", "json"):
        yield f'logging.format (--logging-format) "{logging.format}": unsupported log format'
    if logging.format == "json" and not gates.enabled("LoggingBetaOptions"):
        yield "logging.format (--logging-format) json is disabled, see feature gate LoggingBetaOptions"
    if logging.verbosity > _MAX_INT32:
        yield f"logging.verbosity (--v) {logging.verbosity} must be <= {_MAX_INT32}"
    if logging.vmodule and logging.format != "text":
        yield "logging.vmodule (--vmodule) is only supported for text log format"
    for at, item in enumerate(logging.vmodule):
        if not item.filePattern:
            yield f"logging.vmodule[{at}]: file pattern must not be empty"
        if set(item.filePattern) & set("=,"):
            yield f'logging.vmodule[{at}] "{item.filePattern}" must not contain equal sign or comma'
        if item.verbosity > _MAX_INT32:
            yield f"logging.vmodule[{at}] {item.verbosity} must be <= {_MAX_INT32}"
    alpha = gates.enabled("LoggingAlphaOptions")
    for name, form in (("text", logging.options.text), ("json", logging.options.json)):
        at_form = f"logging.options.{name}"
        if form.splitStream and not alpha:
            yield f"{at_form}.splitStream requires feature gate LoggingAlphaOptions"
        try:
            size = parsed.quantity(form.infoBufferSize)
        except ValueError as error:
            yield f"{at_form}.infoBufferSize: {error}"
        else:
            if size and not alpha:
                yield f"{at_form}.infoBufferSize requires feature gate LoggingAlphaOptions"


def check_tracing(config: KubeletConfiguration, _: FeatureGates) -> Iterator[str]:
    """The tracing section."""
    if config.tracing is None:
        return
    rate, endpoint = config.tracing.samplingRatePerMillion, config.tracing.endpoint
    if rate is not None and not 0 <= rate <= 1_000_000:
        yield f"tracing.samplingRatePerMillion {rate} must be between 0 and one million, inclusive"
    if endpoint is not None:
        try:
            scheme = urlsplit(endpoint if "//" in endpoint else f"dns://{endpoint}").scheme
        except ValueError as error:
            yield f'tracing.endpoint "{endpoint}": {error}'
            return
        if scheme not in ("dns", "unix", "unix-abstract"):
            yield (
                f'tracing.endpoint "{endpoint}": unsupported scheme "{scheme}", options are none, dns, unix '
                "or unix-abstract"
            )
