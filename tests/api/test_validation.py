# ruff: noqa: E501
import pytest

from pykubelet.api import codec
from pykubelet.api.core import Pod
from pykubelet.api.defaults import set_pod_defaults
from pykubelet.api.validation import validate_pod


def problems(spec=None, container=None, meta=None, defaults=True):
    raw = {
        "metadata": {"name": "web", "namespace": "default"} | (meta or {}),
        "spec": {"containers": [{"name": "a", "image": "i"} | (container or {})]} | (spec or {}),
    }
    pod = codec.convert(raw, Pod)
    return [str(error) for error in validate_pod(set_pod_defaults(pod) if defaults else pod)]


def begins(found, *wanted):
    assert len(found) == len(wanted), found
    for text, start in zip(found, wanted, strict=True):
        assert text.startswith(start)


def test_a_plain_pod_is_fine():
    assert problems() == []


def test_defaults_are_needed():
    begins(
        problems(defaults=False),
        "spec.terminationGracePeriodSeconds: Required value",
        "spec.containers[0].terminationMessagePolicy: Required value",
        "spec.containers[0].imagePullPolicy: Required value",
        "spec.restartPolicy: Required value",
        "spec.dnsPolicy: Required value",
    )


@pytest.mark.parametrize(
    ("meta", "wanted"),
    [
        ({"name": ""}, "metadata.name: Required value: name or generateName is required"),
        ({"name": "A"}, 'metadata.name: Invalid value: "A": a lowercase RFC 1123 subdomain must'),
        ({"namespace": "a.b"}, 'metadata.namespace: Invalid value: "a.b": must not contain dots'),
        ({"labels": {"a/b/c": "x"}}, 'metadata.labels: Invalid value: "a/b/c": a valid label key must'),
        ({"labels": {"a": "-x"}}, 'metadata.labels: Invalid value: "-x": a valid label must'),
        ({"annotations": {"a b": ""}}, 'metadata.annotations: Invalid value: "a b": name part must'),
        (
            {"annotations": {"a": "x" * 300_000}},
            "metadata.annotations: Too long: may not be more than 262144 bytes",
        ),
    ],
)
def test_metadata(meta, wanted):
    begins(problems(meta=meta), wanted)


HTTP = {"httpGet": {"port": 80}}


@pytest.mark.parametrize(
    ("container", "wanted"),
    [
        ({"name": ""}, "name: Required value"),
        ({"name": "a.b"}, 'name: Invalid value: "a.b": must not contain dots'),
        ({"name": "a" * 64}, f'name: Invalid value: "{"a" * 64}": must be no more than 63 characters'),
        ({"image": ""}, "image: Required value"),
        ({"image": " a"}, 'image: Invalid value: " a": must not have leading or trailing whitespace'),
        ({"imagePullPolicy": "x"}, 'imagePullPolicy: Unsupported value: "x": supported values: "Always", "IfNotPresent", "Never"'),
        ({"ports": [{}]}, "ports[0].containerPort: Required value"),
        ({"ports": [{"containerPort": 70000}]}, "ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive"),
        ({"ports": [{"containerPort": 1, "protocol": "x"}]}, 'ports[0].protocol: Unsupported value: "x": supported values: "SCTP", "TCP", "UDP"'),
        ({"ports": [{"containerPort": 1, "name": "x"}, {"containerPort": 2, "name": "x"}]}, 'ports[1].name: Duplicate value: "x"'),
        ({"ports": [{"containerPort": 1, "hostPort": 1}, {"containerPort": 2, "hostPort": 1}]}, 'ports[1].hostPort: Duplicate value: "TCP//1"'),
        ({"env": [{"name": "a=b"}]}, 'env[0].name: Invalid value: "a=b": a valid environment variable name must consist only'),
        ({"env": [{"name": "a", "valueFrom": {}}]}, 'env[0].valueFrom: Invalid value: "": must specify one of'),
        ({"env": [{"name": "a", "valueFrom": {"fieldRef": {"fieldPath": "spec.x"}}}]}, 'env[0].valueFrom.fieldRef.fieldPath: Unsupported value: "spec.x"'),
        ({"env": [{"name": "a", "value": "x", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}]}, 'env[0].valueFrom: Invalid value: "": may not be specified when `value` is not empty'),
        ({"env": [{"name": "a", "valueFrom": {"resourceFieldRef": {"resource": "limits.cpu", "divisor": "3"}}}]}, 'env[0].valueFrom.resourceFieldRef.divisor: Invalid value: "limits.cpu": only divisor'),
        ({"envFrom": [{}]}, 'envFrom: Invalid value: "": must specify one of: `configMapRef` or `secretRef`'),
        ({"volumeMounts": [{"name": "x", "mountPath": "/x"}]}, 'volumeMounts[0].name: Not found: "x"'),
        ({"livenessProbe": {}}, "livenessProbe: Required value: must specify a handler type"),
        ({"livenessProbe": HTTP | {"exec": {"command": ["x"]}}}, "livenessProbe.httpGet: Forbidden: may not specify more than 1 handler type"),
        ({"livenessProbe": HTTP | {"successThreshold": 2}}, "livenessProbe.successThreshold: Invalid value: 2: must be 1"),
        ({"readinessProbe": HTTP | {"terminationGracePeriodSeconds": 2}}, "readinessProbe.terminationGracePeriodSeconds: Invalid value: 2: must not be set for readinessProbes"),
        ({"livenessProbe": HTTP | {"periodSeconds": -1}}, "livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0"),
        ({"lifecycle": {"preStop": {"sleep": {"seconds": 31}}}}, "lifecycle.preStop.sleep: Invalid value: 31: must be non-negative and less than terminationGracePeriodSeconds (30)"),
        ({"lifecycle": {"stopSignal": "SIGINT"}}, "lifecycle.stopSignal: Forbidden: may not be set for containers with empty `spec.os.name`"),
        ({"resources": {"requests": {"cpu": "2"}, "limits": {"cpu": "1"}}}, 'resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1'),
        ({"resources": {"limits": {"foo": "1"}}}, 'resources.limits[foo]: Invalid value: "foo": must be a standard resource for containers|'),
        ({"resources": {"limits": {"cpu": "-1"}, "requests": {"cpu": "-2"}}}, 'resources.limits[cpu]: Invalid value: "-1": must be greater than or equal to 0|'),
        ({"resources": {"requests": {"a.b/c": "1"}}}, "resources.limits: Required value: Limit must be set for non overcommitable resources"),
        ({"resources": {"limits": {"hugepages-2Mi": "3Mi", "cpu": "1"}, "requests": {"hugepages-2Mi": "3Mi"}}}, "resources.limits[hugepages-2Mi]: Invalid value|"),
        ({"securityContext": {"runAsUser": -1}}, "securityContext.runAsUser: Invalid value: -1: must be between 0 and 2147483647, inclusive"),
        ({"securityContext": {"privileged": True, "allowPrivilegeEscalation": False}}, "securityContext: Invalid value: {"),
        ({"securityContext": {"seccompProfile": {"type": "Localhost"}}}, "securityContext.seccompProfile.localhostProfile: Required value: must be set when seccomp type is Localhost"),
        ({"restartPolicyRules": [{"action": "Restart", "exitCodes": {"operator": "In"}}]}, "restartPolicy: Required value: must specify restartPolicy when restart rules are used"),
        ({"restartPolicy": "x"}, 'restartPolicy: Unsupported value: "x": supported values: "Always", "Never", "OnFailure"'),
    ],
)  # fmt: skip
def test_containers(container, wanted):
    found = problems(container=container)
    if wanted.endswith("|"):
        assert found[0].startswith("spec.containers[0]." + wanted[:-1])
    else:
        begins(found, "spec.containers[0]." + wanted)


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({"containers": []}, "spec.containers: Required value"),
        ({"containers": [{"name": "a", "image": "i"}] * 2}, 'spec.containers[1].name: Duplicate value: "a"'),
        ({"initContainers": [{"name": "a", "image": "i"}]}, 'spec.initContainers[0].name: Duplicate value: "a"'),
        ({"initContainers": [{"name": "b", "image": "i", "livenessProbe": HTTP}]}, "spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always"),
        ({"restartPolicy": "x"}, 'spec.restartPolicy: Unsupported value: "x": supported values: "Always", "OnFailure", "Never"'),
        ({"dnsPolicy": "None"}, "spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"),
        ({"dnsConfig": {"nameservers": ["x"]}}, 'spec.dnsConfig.nameservers[0]: Invalid value: "x": must be a valid IP address'),
        ({"dnsConfig": {"nameservers": ["1.1.1.1"] * 4}}, "spec.dnsConfig.nameservers: Invalid value: ["),
        ({"hostname": "A"}, 'spec.hostname: Invalid value: "A": a lowercase RFC 1123 label must'),
        ({"activeDeadlineSeconds": 0}, "spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive"),
        ({"hostAliases": [{"ip": "1.2.3"}]}, 'spec.hostAliases[0].ip: Invalid value: "1.2.3": must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)'),
        ({"tolerations": [{"operator": "Equal"}]}, 'spec.tolerations[0].operator: Invalid value: "Equal": operator must be Exists when `key` is empty'),
        ({"tolerations": [{"key": "a", "effect": "x"}]}, 'spec.tolerations[0].effect: Unsupported value: "x": supported values: "NoSchedule", "PreferNoSchedule", "NoExecute"'),
        ({"nodeSelector": {"a": "b c"}}, 'spec.nodeSelector: Invalid value: "b c": a valid label must'),
        ({"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [{"matchExpressions": [{"key": "a", "operator": "x"}]}]}}}}, 'spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms[0].matchExpressions[0].operator: Invalid value: "x": not a valid selector operator'),
        ({"hostPID": True, "shareProcessNamespace": True}, "spec.securityContext.shareProcessNamespace: Invalid value: true: ShareProcessNamespace"),
        ({"hostUsers": False, "hostPID": True}, "spec.HostPID: Forbidden: when `hostUsers` is false"),
        ({"securityContext": {"sysctls": [{"name": "A"}]}}, 'spec.securityContext.sysctls[0].name: Invalid value: "A": must have at most 253'),
        ({"securityContext": {"sysctls": [{"name": "net.a"}, {"name": "net.a"}]}}, 'spec.securityContext.sysctls[1].name: Duplicate value: "net.a"'),
        ({"hostNetwork": True, "securityContext": {"sysctls": [{"name": "net.a"}]}}, "spec.securityContext.sysctls[0].name: Invalid value: \"net.a\": may not be specified when 'hostNetwork' is true"),
        ({"hostNetwork": True, "containers": [{"name": "a", "image": "i", "ports": [{"containerPort": 1, "hostPort": 2}]}]}, "spec.containers[0].ports[0].hostPort: Invalid value: 2: must match `containerPort` when `hostNetwork` is true"),
        ({"volumes": [{"name": "a"}, {"name": "a"}]}, 'spec.volumes[1].name: Duplicate value: "a"'),
        ({"volumes": [{"name": "a", "emptyDir": {}, "hostPath": {"path": "/"}}]}, "spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type"),
        ({"volumes": [{"name": "a", "hostPath": {"path": "/a/../b"}}]}, 'spec.volumes[0].hostPath.path: Invalid value: "/a/../b": must not contain \'..\''),
        ({"volumes": [{"name": "a", "hostPath": {"path": "/", "type": "x"}}]}, 'spec.volumes[0].hostPath.type: Unsupported value: "x": supported values: "", "BlockDevice"'),
        ({"volumes": [{"name": "a", "emptyDir": {"sizeLimit": "-1"}}]}, "spec.volumes[0].emptyDir.sizeLimit: Forbidden: SizeLimit field must be a valid resource quantity"),
        ({"volumes": [{"name": "a", "downwardAPI": {"items": [{"path": "../x"}]}}]}, 'spec.volumes[0].downwardAPI.path: Invalid value|'),
        ({"ephemeralContainers": [{"name": "e", "image": "i"}]}, "spec.ephemeralContainers: Forbidden: cannot be set on create"),
        ({"resources": {"requests": {"cpu": "1"}}, "containers": [{"name": "a", "image": "i", "resources": {"requests": {"cpu": "2"}}}]}, 'spec.resources.requests[cpu]: Invalid value: "1": must be greater than or equal to aggregate container requests of 2'),
    ],
)  # fmt: skip
def test_spec(spec, wanted):
    found = problems(spec=spec)
    if wanted.endswith("|"):
        assert found[0].startswith(wanted[:-1])
    else:
        begins(found, wanted)


@pytest.mark.parametrize(
    ("mounts", "wanted"),
    [
        ([{"mountPath": "/a"}, {"mountPath": "/a"}], 'volumeMounts[1].mountPath: Invalid value: "/a": must be unique'),
        ([{"mountPath": ""}], "volumeMounts[0].mountPath: Required value"),
        ([{"mountPath": "/a", "subPath": "/x"}], 'volumeMounts[0].subPath: Invalid value: "/x": must be a relative path'),
        ([{"mountPath": "/a", "subPath": "x/.."}], "volumeMounts[0].subPath: Invalid value: \"x/..\": must not contain '..'"),
        ([{"mountPath": "/a", "mountPropagation": "Bidirectional"}], "volumeMounts[0].mountPropagation: Forbidden: Bidirectional"),
        ([{"mountPath": "/a", "recursiveReadOnly": "Enabled"}], "volumeMounts[0].recursiveReadOnly: Forbidden: may only be specified when readOnly is true"),
    ],
)  # fmt: skip
def test_mounts(mounts, wanted):
    container = {"name": "a", "image": "i", "volumeMounts": [{"name": "v"} | mount for mount in mounts]}
    found = problems({"volumes": [{"name": "v", "emptyDir": {}}], "containers": [container]})
    begins(found, "spec.containers[0]." + wanted)


def test_sidecars_may_have_probes_and_hooks():
    sidecar = {
        "name": "s",
        "image": "i",
        "restartPolicy": "Always",
        "startupProbe": HTTP,
        "lifecycle": {"preStop": HTTP},
    }
    assert problems({"initContainers": [sidecar]}) == []


def test_all_errors_are_told_in_order():
    found = problems(container={"name": "A", "image": ""})
    begins(found, "spec.containers[0].name: Invalid value", "spec.containers[0].image: Required value")
