"""What kubeadm leaves on a node, read by us in the Go kubelet's place."""

import re
import shlex
from collections.abc import Iterator

import pytest

from pykubelet import KUBELET_VERSION
from pykubelet.cli.main import is_kubelet
from pykubelet.config import HostFacts, check_host, load, version_text
from pykubelet.server import check_standalone_auth

#: /usr/lib/systemd/system/kubelet.service.d/10-kubeadm.conf
DROP_IN = """\
# Note: This dropin only works with kubeadm and kubelet v1.11+
[Service]
Environment="KUBELET_KUBECONFIG_ARGS=--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf \
--kubeconfig=/etc/kubernetes/kubelet.conf"
Environment="KUBELET_CONFIG_ARGS=--config=/var/lib/kubelet/config.yaml"
EnvironmentFile=-/var/lib/kubelet/kubeadm-flags.env
EnvironmentFile=-/etc/default/kubelet
ExecStart=
ExecStart=/usr/bin/kubelet $KUBELET_KUBECONFIG_ARGS $KUBELET_CONFIG_ARGS $KUBELET_KUBEADM_ARGS \
$KUBELET_EXTRA_ARGS
"""
#: /var/lib/kubelet/kubeadm-flags.env, as kubeadm before 1.36 writes it
FLAGS_ENV = (
    'KUBELET_KUBEADM_ARGS="--container-runtime-endpoint=unix:///run/containerd/containerd.sock '
    "--hostname-override=worker-1 --pod-infra-container-image=registry.k8s.io/pause:3.10 "
    '--register-with-taints=node-role.kubernetes.io/control-plane:NoSchedule"\n'
)
#: The same file by kubeadm 1.36, which names the runtime in config.yaml.
FLAGS_ENV_136 = 'KUBELET_KUBEADM_ARGS="--hostname-override=worker-1 --register-with-taints=a=b:NoSchedule"\n'
#: /etc/default/kubelet
DEFAULTS = 'KUBELET_EXTRA_ARGS="--node-labels=disk=ssd,zone=a --node-ip=10.0.0.7"\n'
#: /var/lib/kubelet/config.yaml
CONFIG = """\
apiVersion: kubelet.config.k8s.io/v1beta1
authentication:
  anonymous:
    enabled: false
  webhook:
    cacheTTL: 0s
    enabled: true
  x509:
    clientCAFile: /etc/kubernetes/pki/ca.crt
authorization:
  mode: Webhook
  webhook:
    cacheAuthorizedTTL: 0s
    cacheUnauthorizedTTL: 0s
cgroupDriver: systemd
clusterDNS:
- 10.96.0.10
clusterDomain: cluster.local
containerRuntimeEndpoint: ""
cpuManagerReconcilePeriod: 0s
crashLoopBackOff: {}
evictionPressureTransitionPeriod: 0s
fileCheckFrequency: 0s
healthzBindAddress: 127.0.0.1
healthzPort: 10248
httpCheckFrequency: 0s
imageMaximumGCAge: 0s
imageMinimumGCAge: 0s
kind: KubeletConfiguration
logging:
  flushFrequency: 0
  options:
    json:
      infoBufferSize: "0"
    text:
      infoBufferSize: "0"
  verbosity: 0
memorySwap: {}
nodeStatusReportFrequency: 0s
nodeStatusUpdateFrequency: 0s
rotateCertificates: true
runtimeRequestTimeout: 0s
shutdownGracePeriod: 0s
shutdownGracePeriodCriticalPods: 0s
staticPodPath: /etc/kubernetes/manifests
streamingConnectionIdleTimeout: 0s
syncFrequency: 0s
volumeStatsAggPeriod: 0s
"""

#: As older documents start the kubelet.
OLD_COMMAND = """
--bootstrap-kubeconfig=/etc/kubernetes/bootstrap-kubelet.conf
--kubeconfig=/etc/kubernetes/kubelet.conf
--pod-manifest-path=/etc/kubernetes/manifests
--allow-privileged=true
--network-plugin=cni
--cni-conf-dir=/etc/cni/net.d
--cni-bin-dir=/opt/cni/bin
--cluster-dns=10.96.0.10
--cluster-domain=cluster.local
--authorization-mode=Webhook
--client-ca-file=/etc/kubernetes/pki/ca.crt
--cadvisor-port=0
--rotate-certificates=true
--cert-dir=/var/lib/kubelet/pki
--cgroup-driver=cgroupfs
--require-kubeconfig
--docker-endpoint=unix:///var/run/docker.sock
"""


class NodeFiles:
    """Implements ``Files`` with kubeadm's."""

    def __init__(self, config: str = CONFIG) -> None:
        self._config = config

    def read(self, path: str) -> bytes:
        assert path == "/var/lib/kubelet/config.yaml"
        return self._config.encode()

    def is_dir(self, path: str) -> bool:
        return False

    def walk(self, path: str) -> Iterator[str]:
        yield from ()


def unit_command(flags_env: str = FLAGS_ENV) -> list[str]:
    """The command line that systemd makes of the unit, without the program."""
    variables = dict(re.findall(r'^Environment="(\w+)=(.*)"$', DROP_IN, re.MULTILINE))
    for text in (flags_env, DEFAULTS):
        name, _, value = text.partition("=")
        variables[name] = shlex.split(value)[0]
    line = DROP_IN.rpartition("ExecStart=")[2].split()
    # A variable that is a word of its own is split at white space.
    return [word for part in line[1:] for word in variables[part.removeprefix("$")].split()]


def test_kubeadms_unit_starts_us() -> None:
    loaded = load(unit_command(), files=NodeFiles(), cwd="/")
    flags, config = loaded.flags, loaded.config
    assert flags.bootstrapKubeconfig == "/etc/kubernetes/bootstrap-kubelet.conf"
    assert flags.kubeconfig == "/etc/kubernetes/kubelet.conf"
    assert flags.hostnameOverride == "worker-1"
    assert flags.nodeLabels == {"disk": "ssd", "zone": "a"}
    assert flags.nodeIP == "10.0.0.7"
    assert config.containerRuntimeEndpoint == "unix:///run/containerd/containerd.sock"
    assert [taint.key for taint in config.registerWithTaints] == ["node-role.kubernetes.io/control-plane"]
    assert config.rotateCertificates is True
    assert config.authorization.mode == "Webhook"
    # What kubeadm writes as 0s means the default.
    assert config.authentication.webhook.cacheTTL.seconds == 120
    assert config.authorization.webhook.cacheAuthorizedTTL.seconds == 300
    assert config.authorization.webhook.cacheUnauthorizedTTL.seconds == 30
    assert config.streamingConnectionIdleTimeout.seconds == 4 * 3600
    assert check_standalone_auth(config, flags.kubeconfig) == []
    assert any("pod-infra-container-image" in warning for warning in loaded.warnings)


def test_the_runtime_that_kubeadm_136_names_in_the_file() -> None:
    endpoint = "unix:///run/containerd/containerd.sock"
    config = CONFIG.replace('containerRuntimeEndpoint: ""', f"containerRuntimeEndpoint: {endpoint}")
    loaded = load(unit_command(FLAGS_ENV_136), files=NodeFiles(config), cwd="/")
    assert loaded.config.containerRuntimeEndpoint == endpoint
    assert loaded.flags.hostnameOverride == "worker-1"
    assert [(one.key, one.value) for one in loaded.config.registerWithTaints] == [("a", "b")]


def test_the_systemd_driver_is_named_as_missing() -> None:
    loaded = load(unit_command(), files=NodeFiles(), cwd="/")
    (reason,) = check_host(loaded.config, HostFacts(cgroup_version=2))
    assert reason.startswith("cgroupDriver (--cgroup-driver): systemd is not supported yet")
    other = load(unit_command(), files=NodeFiles(CONFIG.replace("systemd", "cgroupfs")), cwd="/")
    assert check_host(other.config, HostFacts(cgroup_version=2)) == []


def test_the_documents_old_command_starts_unchanged() -> None:
    loaded = load(shlex.split(OLD_COMMAND), files=NodeFiles(), cwd="/")
    assert loaded.config.rotateCertificates is True
    assert loaded.config.authorization.mode == "Webhook"
    assert loaded.config.staticPodPath == "/etc/kubernetes/manifests"
    assert loaded.flags.certDir == "/var/lib/kubelet/pki"
    ignored = (
        "allow-privileged", "network-plugin", "cni-conf-dir", "cni-bin-dir", "cadvisor-port",
        "require-kubeconfig", "docker-endpoint",
    )  # fmt: skip
    for name in ignored:
        (warning,) = [one for one in loaded.warnings if f"--{name} " in one]
        assert "it has no effect" in warning


def test_the_version_is_what_kubeadm_parses() -> None:
    # cmd/kubeadm/app/preflight: the whole output must be this one line.
    expected = r"\s*Kubernetes v((0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)([-\w.+]*)?)\s*"
    assert re.fullmatch(expected, version_text("true", KUBELET_VERSION, "3.11", "linux/amd64"))


@pytest.mark.parametrize(
    ("program", "daemon"),
    [
        ("kubelet", True), ("hyperkubelet", True), ("pykubelet", False), ("my-pykubelet", False),
        ("kubelet.sh", False), ("__main__.py", False),
    ],
)  # fmt: skip
def test_by_which_names_only_the_daemon_runs(program: str, daemon: bool) -> None:
    assert is_kubelet(program) is daemon
