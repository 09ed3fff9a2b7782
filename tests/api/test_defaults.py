# ruff: noqa: E501
import pytest

from pykubelet.api import codec
from pykubelet.api.core import Pod
from pykubelet.api.defaults import pull_policy, set_pod_defaults


def defaulted(spec):
    pod = codec.convert({"spec": {"containers": [{"name": "a", "image": "i"}]} | spec}, Pod)
    before = codec.encode(pod)
    result = set_pod_defaults(pod)
    assert codec.encode(pod) == before
    assert set_pod_defaults(result) == result
    return codec.to_builtins(result)["spec"]


@pytest.mark.parametrize(
    ("image", "policy"),
    [
        ("nginx", "Always"), ("nginx:latest", "Always"), ("nginx:1.2", "IfNotPresent"),
        ("host:5000/nginx", "Always"), ("host:5000/nginx:1", "IfNotPresent"),
        ("nginx@sha256:" + "a" * 64, "IfNotPresent"), ("nginx:latest@sha256:" + "a" * 64, "Always"), ("", "Always"),
    ],
)  # fmt: skip
def test_pull_policy_by_tag(image, policy):
    assert pull_policy(image) == policy


def test_spec():
    spec = defaulted({})
    assert spec["restartPolicy"] == "Always"
    assert spec["dnsPolicy"] == "ClusterFirst"
    assert spec["terminationGracePeriodSeconds"] == 30
    assert spec["securityContext"] == {}
    assert spec["schedulerName"] == "default-scheduler"
    assert spec["enableServiceLinks"] is True
    assert spec["containers"][0]["terminationMessagePath"] == "/dev/termination-log"
    assert spec["containers"][0]["terminationMessagePolicy"] == "File"
    assert defaulted({"terminationGracePeriodSeconds": 0})["terminationGracePeriodSeconds"] == 0


def test_containers():
    container = {
        "name": "a",
        "image": "i:1",
        "ports": [{"containerPort": 80}, {"containerPort": 53, "hostPort": 53, "protocol": "UDP"}],
        "env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
        "resources": {"limits": {"cpu": "1", "memory": "1.0000001"}, "requests": {"cpu": "100u"}},
        "livenessProbe": {"httpGet": {"port": 80}},
        "readinessProbe": {"grpc": {"port": 80}, "timeoutSeconds": 7},
        "lifecycle": {"preStop": {"httpGet": {"port": 1}}},
    }
    for network in (False, True):
        spec = defaulted({"hostNetwork": network, "containers": [container], "initContainers": [container]})
        for made in (spec["containers"][0], spec["initContainers"][0]):
            assert made["ports"][0] == {"containerPort": 80, "protocol": "TCP"} | (
                {"hostPort": 80} if network else {}
            )
            assert made["ports"][1]["hostPort"] == 53
            assert made["env"][0]["valueFrom"]["fieldRef"]["apiVersion"] == "v1"
            assert made["resources"]["requests"] == {"cpu": "1m", "memory": "1001m"}
            assert made["livenessProbe"] == {
                "httpGet": {"path": "/", "port": 80, "scheme": "HTTP"},
                "timeoutSeconds": 1,
                "periodSeconds": 10,
                "successThreshold": 1,
                "failureThreshold": 3,
            }
            assert made["readinessProbe"]["timeoutSeconds"] == 7
            assert made["readinessProbe"]["grpc"] == {"port": 80, "service": ""}
            assert made["lifecycle"]["preStop"]["httpGet"]["scheme"] == "HTTP"


def test_volumes():
    volumes = defaulted(
        {
            "volumes": [
                {"name": "bare"},
                {"name": "host", "hostPath": {"path": "/x"}},
                {"name": "secret", "secret": {"secretName": "s"}},
                {"name": "map", "configMap": {"name": "c", "defaultMode": 0o400}},
                {
                    "name": "down",
                    "downwardAPI": {"items": [{"path": "p", "fieldRef": {"fieldPath": "metadata.uid"}}]},
                },
                {"name": "all", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
                {"name": "image", "image": {"reference": "a:1"}},
                {"name": "disk", "azureDisk": {"diskName": "n", "diskURI": "u", "readOnly": True}},
            ]
        }
    )["volumes"]
    assert volumes[0]["emptyDir"] == {}
    assert volumes[1]["hostPath"]["type"] == ""
    assert volumes[2]["secret"]["defaultMode"] == 0o644
    assert volumes[3]["configMap"]["defaultMode"] == 0o400
    assert volumes[4]["downwardAPI"]["items"][0]["fieldRef"]["apiVersion"] == "v1"
    assert volumes[5]["projected"]["sources"][0]["serviceAccountToken"]["expirationSeconds"] == 3600
    assert volumes[6]["image"]["pullPolicy"] == "IfNotPresent"
    filled = {"cachingMode": "ReadWrite", "fsType": "ext4", "kind": "Shared"}
    assert volumes[7]["azureDisk"] == {"diskName": "n", "diskURI": "u", "readOnly": True, **filled}


def test_pod_level_resources():
    container = {"name": "a", "resources": {"requests": {"cpu": "1"}, "limits": {"hugepages-2Mi": "4Mi"}}}
    spec = defaulted({"containers": [container], "resources": {"limits": {"cpu": "2", "memory": "1Gi"}}})
    assert spec["resources"] == {
        "limits": {"cpu": "2", "memory": "1Gi", "hugepages-2Mi": "4Mi"},
        "requests": {"cpu": "1", "memory": "1Gi", "hugepages-2Mi": "4Mi"},
    }
