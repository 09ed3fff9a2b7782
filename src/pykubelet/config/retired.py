"""Flags that older documents show and that lost their meaning: accepted, with a word on what to use now."""

from collections.abc import Iterator

from . import values
from .flags import Flag

_CNI = "the container runtime sets up the network: configure CNI there"
_DOCKER = "Docker is spoken to through cri-dockerd: use --container-runtime=docker"
_EVICTION = "use --eviction-hard or --eviction-soft"
_KUBECONFIG = "use --kubeconfig"
_KLOG = "the log goes to standard error: redirect it there"
_POD_SECURITY = "what pods may do is decided at admission (Pod Security admission)"
_CLOUD = "use --cloud-provider=external and a cloud controller manager"
_CADVISOR = "container statistics are served on --port: /stats/summary and /metrics/cadvisor"

#: kind, replacement, names.
_RETIRED: tuple[tuple[values.Parse, str, str], ...] = (
    (values.boolean, _POD_SECURITY, "allow-privileged"),
    (values.string, _POD_SECURITY, "host-network-sources host-pid-sources host-ipc-sources"),
    (values.string, _CNI, "network-plugin network-plugin-dir cni-conf-dir cni-bin-dir cni-cache-dir"),
    (values.int32, _CNI, "network-plugin-mtu"),
    (values.string, _CNI + " (kubenet's bridge too)", "non-masquerade-cidr experimental-flannel-overlay"),
    (values.boolean, _CNI + " (kubenet's bridge too)", "configure-cbr0 reconcile-cidr"),
    (values.int32, _CADVISOR, "cadvisor-port"),
    (values.boolean, _CADVISOR, "enable-cadvisor-json-endpoints enable-custom-metrics"),
    (values.string, "use --container-runtime-endpoint", "remote-runtime-endpoint"),
    (values.string, "use --image-service-endpoint", "remote-image-endpoint"),
    (
        values.boolean,
        "use --container-runtime-endpoint",
        "experimental-cri enable-cri experimental-dockershim",
    ),
    (
        values.string,
        _DOCKER,
        "docker docker-endpoint docker-exec-handler docker-root docker-env-metadata-whitelist docker-tls-ca "
        "docker-tls-cert docker-tls-key experimental-dockershim-root-directory rkt-path rkt-api-endpoint "
        "rkt-stage1-image",
    ),
    (
        values.boolean,
        _DOCKER,
        "docker-only docker-tls docker-disable-shared-pid disable-shared-pid redirect-container-streaming",
    ),
    (
        values.duration,
        "the container runtime bounds its pulls: configure it there",
        "image-pull-progress-deadline",
    ),
    (values.string, "configure the sandbox image in the container runtime", "pod-infra-container-image"),
    (values.int32, _EVICTION, "low-diskspace-threshold-mb"),
    (values.duration, "use --eviction-pressure-transition-period", "outofdisk-transition-frequency"),
    (values.string, _KUBECONFIG, "api-servers auth-path"),
    (values.boolean, _KUBECONFIG, "require-kubeconfig"),
    (values.string, "use --bootstrap-kubeconfig", "experimental-bootstrap-kubeconfig"),
    (values.boolean, "use --register-with-taints", "register-schedulable"),
    (values.string, "use --config", "dynamic-config-dir init-config-dir"),
    (values.string, "use --pod-manifest-path", "bootstrap-checkpoint-path"),
    (values.string, _CLOUD, "cloud-config"),
    (
        values.string,
        "use --image-credential-provider-config and --image-credential-provider-bin-dir",
        "azure-container-registry-config",
    ),
    (values.string, "the service environment comes from namespace default", "master-service-namespace"),
    (values.boolean, "daemons are watched over by systemd", "babysit-daemons"),
    (values.boolean, "volumes of ended pods are always unmounted", "keep-terminated-pod-volumes"),
    (values.boolean, "run the kubelet on the host itself", "containerized"),
    (
        values.boolean,
        "mounts are checked when they are made",
        "experimental-check-node-capabilities-before-mount",
    ),
    (values.boolean, "use --fail-swap-on", "experimental-fail-swap-on"),
    (values.boolean, "use --kernel-memcg-notification", "experimental-kernel-memcg-notification"),
    (values.map_strings, "use --qos-reserved", "experimental-qos-reserved"),
    (values.string, "use --cgroups-per-qos", "experimental-cgroups-per-qos"),
    (values.string, "use --allowed-unsafe-sysctls", "experimental-allowed-unsafe-sysctls"),
    (values.string, "profiles lie in the directory seccomp of --root-dir", "seccomp-profile-root"),
    (values.string, "use --kubelet-cgroups", "resource-container"),
    (values.string, "use --system-cgroups", "system-container"),
    (values.string, "use --runtime-cgroups", "cgroup-parent docker-daemon-container"),
    (values.string, "it was only for tests", "chaos-chance"),
    (values.boolean, "it was only for tests", "really-crash-for-testing"),
    (values.int32, "GPUs come from device plug-ins", "experimental-nvidia-gpus"),
    (values.int32, "set iptablesMasqueradeBit in the file of --config", "iptables-masquerade-bit"),
    (values.int32, "set iptablesDropBit in the file of --config", "iptables-drop-bit"),
    (
        values.boolean,
        _KLOG,
        "logtostderr alsologtostderr skip-headers skip-log-headers add-dir-header one-output "
        "experimental-logging-sanitization",
    ),
    (values.string, _KLOG, "log-dir log-file log-backtrace-at stderrthreshold"),
    (values.int32, _KLOG, "log-file-max-size"),
)


def retired_flags() -> Iterator[Flag]:
    """The retired flags as rows of the table; they set nothing."""
    for parse, replacement, names in _RETIRED:
        for name in names.split():
            yield Flag(name, parse, "", "", "", f"it has no effect: {replacement}.")
