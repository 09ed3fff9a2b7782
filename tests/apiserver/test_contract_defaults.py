"""The contract: what the server fills into new objects."""

import base64

import pytest
from tests.apiserver.client import Refusal
from tests.apiserver.cluster import Cluster
from tests.apiserver.contract import by, make_pod, pod
from tests.apiserver.resources import Object


class TestDefaults:
    async def test_of_a_pod(self, cluster: Cluster) -> None:
        made = await make_pod(
            cluster,
            volumes=[
                {"name": "e", "emptyDir": {}},
                {"name": "c", "configMap": {"name": "c"}},
                {"name": "s", "secret": {"secretName": "s"}},
                {"name": "h", "hostPath": {"path": "/tmp"}},
                {
                    "name": "d",
                    "downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]},
                },
                {"name": "p", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}},
            ],
            containers=[
                {
                    "name": "main",
                    "image": "a",
                    "env": [{"name": "N", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}],
                    "ports": [{"containerPort": 1}],
                    "resources": {"limits": {"cpu": "1"}},
                    "livenessProbe": {"httpGet": {"port": 1}},
                },
                {"name": "tagged", "image": "reg:5000/a:1"},
            ],
        )
        spec = made["spec"]
        assert spec["enableServiceLinks"] is True
        assert spec["terminationGracePeriodSeconds"] == 30
        assert (spec["restartPolicy"], spec["dnsPolicy"]) == ("Always", "ClusterFirst")
        assert spec["securityContext"] == {}
        assert (spec["serviceAccountName"], spec["serviceAccount"]) == ("default", "default")
        assert (spec["priority"], spec["preemptionPolicy"]) == (0, "PreemptLowerPriority")
        assert [item["key"] for item in spec["tolerations"]] == [
            "node.kubernetes.io/not-ready",
            "node.kubernetes.io/unreachable",
        ]
        volumes = by(spec["volumes"], "name")
        assert volumes["e"]["emptyDir"] == {}
        assert volumes["c"]["configMap"]["defaultMode"] == 0o644
        assert volumes["s"]["secret"]["defaultMode"] == 0o644
        assert volumes["h"]["hostPath"] == {"path": "/tmp", "type": ""}
        assert volumes["d"]["downwardAPI"] == {
            "items": [{"path": "n", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.name"}}],
            "defaultMode": 0o644,
        }
        assert volumes["p"]["projected"] == {
            "sources": [{"serviceAccountToken": {"path": "t", "expirationSeconds": 3600}}],
            "defaultMode": 0o644,
        }
        first, second = spec["containers"]
        assert (first["imagePullPolicy"], second["imagePullPolicy"]) == ("Always", "IfNotPresent")
        assert first["terminationMessagePath"] == "/dev/termination-log"
        assert first["terminationMessagePolicy"] == "File"
        assert first["ports"] == [{"containerPort": 1, "protocol": "TCP"}]
        assert first["resources"] == {"limits": {"cpu": "1"}, "requests": {"cpu": "1"}}
        assert first["env"][0]["valueFrom"]["fieldRef"] == {"apiVersion": "v1", "fieldPath": "metadata.name"}
        assert first["livenessProbe"] == {
            "httpGet": {"port": 1, "path": "/", "scheme": "HTTP"},
            "timeoutSeconds": 1,
            "periodSeconds": 10,
            "successThreshold": 1,
            "failureThreshold": 3,
        }
        assert made["status"] == {"phase": "Pending", "qosClass": "Burstable"}

    async def test_the_token_of_the_service_account(self, cluster: Cluster) -> None:
        made = await make_pod(cluster)
        [volume] = made["spec"]["volumes"]
        assert volume["name"].startswith("kube-api-access-")
        token, ca, namespace = volume["projected"]["sources"][:3]
        assert token == {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}
        assert ca["configMap"] == {
            "name": "kube-root-ca.crt",
            "items": [{"key": "ca.crt", "path": "ca.crt"}],
        }
        assert namespace["downwardAPI"]["items"][0]["path"] == "namespace"
        [mount] = made["spec"]["containers"][0]["volumeMounts"]
        assert mount == {
            "name": volume["name"],
            "readOnly": True,
            "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
        }
        without = await make_pod(cluster, "two", automountServiceAccountToken=False)
        assert "volumes" not in without["spec"]

    async def test_a_missing_service_account(self, cluster: Cluster) -> None:
        with pytest.raises(Refusal) as refused:
            await make_pod(cluster, serviceAccountName="none")
        assert (refused.value.code, refused.value.reason) == (403, "Forbidden")

    async def test_a_mirror_pod_has_no_token(self, cluster: Cluster) -> None:
        mirror = pod("static")
        mirror["metadata"]["annotations"] = {"kubernetes.io/config.mirror": "abc"}
        made = await cluster.create(cluster.path("pods"), mirror)
        assert "volumes" not in made["spec"]
        assert "serviceAccountName" not in made["spec"]

    @pytest.mark.parametrize(
        ("resources", "qos"),
        [
            ({}, "BestEffort"),
            ({"requests": {"cpu": "1"}}, "Burstable"),
            ({"limits": {"cpu": "1", "memory": "1Gi"}}, "Guaranteed"),
        ],
    )
    async def test_the_qos_class(self, cluster: Cluster, resources: Object, qos: str) -> None:
        made = await make_pod(cluster, containers=[{"name": "main", "image": "a", "resources": resources}])
        assert made["status"]["qosClass"] == qos


class TestSecret:
    async def test_its_data_is_bytes(self, cluster: Cluster) -> None:
        made = await cluster.create(
            cluster.path("secrets"), {"metadata": {"name": "a"}, "stringData": {"k": "v"}}
        )
        assert made["data"] == {"k": base64.b64encode(b"v").decode()}
        assert made["type"] == "Opaque"
        assert "stringData" not in made
