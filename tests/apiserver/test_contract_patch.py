"""The contract: patches of the status of pods and nodes."""

import pytest
from tests.apiserver.client import MERGE, Refusal
from tests.apiserver.cluster import Cluster
from tests.apiserver.contract import make_node, make_pod, version
from tests.apiserver.resources import Object


class TestStatusPatch:
    async def test_conditions_merge_by_type(self, cluster: Cluster) -> None:
        await make_pod(cluster)
        path = cluster.path("pods", "one", "status")
        await cluster.patch(
            path,
            {
                "status": {
                    "phase": "Running",
                    "conditions": [
                        {"type": "Ready", "status": "False", "reason": "ContainersNotReady"},
                        {"type": "Initialized", "status": "True"},
                    ],
                }
            },
        )
        patched = await cluster.patch(
            path,
            {
                "status": {
                    "$setElementOrder/conditions": [{"type": "Initialized"}, {"type": "Ready"}],
                    "conditions": [{"type": "Ready", "status": "True", "reason": None}],
                }
            },
        )
        conditions = patched["status"]["conditions"]
        assert [condition["type"] for condition in conditions] == ["Initialized", "Ready"]
        ready = conditions[1]
        assert ready["status"] == "True"
        assert "reason" not in ready
        gone = await cluster.patch(
            path, {"status": {"conditions": [{"type": "Initialized", "$patch": "delete"}]}}
        )
        assert [condition["type"] for condition in gone["status"]["conditions"]] == ["Ready"]

    async def test_container_statuses_are_replaced(self, cluster: Cluster) -> None:
        await make_pod(cluster)
        path = cluster.path("pods", "one", "status")
        status = {"name": "main", "image": "a", "imageID": "", "ready": True, "restartCount": 1}
        await cluster.patch(path, {"status": {"containerStatuses": [{**status, "started": True}]}})
        patched = await cluster.patch(path, {"status": {"containerStatuses": [status]}})
        assert "started" not in patched["status"]["containerStatuses"][0]

    async def test_addresses_merge_by_ip(self, cluster: Cluster) -> None:
        await make_pod(cluster)
        path = cluster.path("pods", "one", "status")
        first = await cluster.patch(path, {"status": {"podIP": "10.1.1.1", "podIPs": [{"ip": "10.1.1.1"}]}})
        assert first["status"]["podIPs"] == [{"ip": "10.1.1.1"}]
        replaced = await cluster.patch(
            path,
            {
                "status": {
                    "podIP": "10.1.1.2",
                    "$setElementOrder/podIPs": [{"ip": "10.1.1.2"}],
                    "podIPs": [{"ip": "10.1.1.2"}, {"$patch": "delete", "ip": "10.1.1.1"}],
                }
            },
        )
        assert replaced["status"]["podIPs"] == [{"ip": "10.1.1.2"}]

    @pytest.mark.parametrize(
        ("body", "order"),
        [
            ({"conditions": [{"type": "B", "status": "False"}]}, "ABCD"),
            ({"conditions": [{"type": "B", "status": "True"}, {"type": "E", "status": "True"}]}, "ABECD"),
            (
                {
                    "$setElementOrder/conditions": [{"type": "D"}, {"type": "B"}],
                    "conditions": [{"type": "B", "status": "False"}],
                },
                "ACDB",
            ),
            ({"$setElementOrder/conditions": [{"type": "C"}, {"type": "A"}], "phase": "Running"}, "BCAD"),
            ({"conditions": [{"$patch": "replace"}, {"type": "Z", "status": "True"}]}, "Z"),
            ({"conditions": [{"$patch": "delete", "type": "A"}]}, "BCD"),
            ({"conditions": None}, ""),
            ({"$patch": "replace", "phase": "Running"}, ""),
        ],
    )
    async def test_the_order_of_conditions(self, cluster: Cluster, body: Object, order: str) -> None:
        await make_pod(cluster)
        path = cluster.path("pods", "one", "status")
        conditions = [{"type": name, "status": "True"} for name in "ABCD"]
        await cluster.patch(path, {"status": {"conditions": conditions}})
        patched = await cluster.patch(path, {"status": body})
        assert "".join(item["type"] for item in patched["status"].get("conditions", [])) == order

    async def test_what_go_makes_of_it(self, cluster: Cluster) -> None:
        await make_pod(cluster)
        status = {
            "conditions": [{"type": "Ready", "status": "True"}],
            "containerStatuses": [{"name": "main", "ready": True, "restartCount": 0, "lastState": None}],
            "startTime": "2026-11-21T02:00:00.123456Z",
            "podIP": "10.0.0.1",
            "podIPs": [{"ip": "10.0.0.2"}],
            "initContainerStatuses": [],
        }
        patched = await cluster.patch(cluster.path("pods", "one", "status"), {"status": status})
        assert patched["status"] == {
            "phase": "Pending",
            "qosClass": "BestEffort",
            "conditions": [
                {"type": "Ready", "status": "True", "lastProbeTime": None, "lastTransitionTime": None}
            ],
            "containerStatuses": [
                {
                    "name": "main",
                    "image": "",
                    "imageID": "",
                    "ready": True,
                    "restartCount": 0,
                    "state": {},
                    "lastState": {},
                }
            ],
            "startTime": "2026-11-21T02:00:00Z",
            "podIP": "10.0.0.1",
            "podIPs": [{"ip": "10.0.0.1"}],
        }

    async def test_the_qos_class_stays(self, cluster: Cluster) -> None:
        await make_pod(cluster)
        with pytest.raises(Refusal) as refused:
            await cluster.patch(cluster.path("pods", "one", "status"), {"status": {"qosClass": "Guaranteed"}})
        assert (refused.value.code, refused.value.reason) == (422, "Invalid")

    async def test_the_uid_must_be_the_pod_s(self, cluster: Cluster) -> None:
        made = await make_pod(cluster)
        path = cluster.path("pods", "one", "status")
        right = {"metadata": {"uid": made["metadata"]["uid"]}, "status": {"phase": "Running"}}
        assert (await cluster.patch(path, right))["status"]["phase"] == "Running"
        wrong = "00000000-0000-4000-8000-000000000000"
        with pytest.raises(Refusal) as refused:
            await cluster.patch(path, {"metadata": {"uid": wrong}, "status": {"phase": "Failed"}})
        # Not a conflict: the UID of a patch meets the validation, as an immutable field.
        assert (refused.value.code, refused.value.reason) == (422, "Invalid")
        assert refused.value.status["details"]["causes"][0]["field"] == "metadata.uid"

    async def test_it_writes_the_status_only(self, cluster: Cluster) -> None:
        made = await make_pod(cluster)
        path = cluster.path("pods", "one")
        body = {"spec": {"restartPolicy": "Never"}, "status": {"message": "m"}}
        patched = await cluster.patch(f"{path}/status", body)
        assert patched["spec"] == made["spec"]
        assert patched["status"]["message"] == "m"
        assert patched["metadata"]["generation"] == 1
        labelled = await cluster.patch(path, {"metadata": {"labels": {"a": "b"}}, "status": {"message": "n"}})
        assert labelled["status"]["message"] == "m"
        assert labelled["metadata"]["labels"] == {"a": "b"}

    async def test_it_may_write_annotations(self, cluster: Cluster) -> None:
        await make_pod(cluster)
        path = cluster.path("pods", "one", "status")
        patched = await cluster.patch(path, {"metadata": {"annotations": {"a": "b"}}})
        assert patched["metadata"]["annotations"] == {"a": "b"}

    async def test_the_same_again_changes_nothing(self, cluster: Cluster) -> None:
        await make_pod(cluster)
        path = cluster.path("pods", "one", "status")
        first = await cluster.patch(path, {"status": {"phase": "Running"}})
        assert version(await cluster.patch(path, {"status": {"phase": "Running"}})) == version(first)

    async def test_of_a_pod_that_is_gone(self, cluster: Cluster) -> None:
        with pytest.raises(Refusal) as refused:
            await cluster.patch(cluster.path("pods", "none", "status"), {"status": {"phase": "Running"}})
        assert (refused.value.code, refused.value.reason) == (404, "NotFound")
        assert refused.value.status["details"] == {"name": "none", "kind": "pods"}

    async def test_a_stale_version(self, cluster: Cluster) -> None:
        made = await make_pod(cluster)
        path = cluster.path("pods", "one", "status")
        await cluster.patch(path, {"status": {"phase": "Running"}})
        with pytest.raises(Refusal) as refused:
            await cluster.patch(
                path, {"metadata": {"resourceVersion": version(made)}, "status": {"phase": "Failed"}}
            )
        assert (refused.value.code, refused.value.reason) == (409, "Conflict")

    async def test_merge_patch(self, cluster: Cluster) -> None:
        await make_pod(cluster)
        path = cluster.path("pods", "one", "status")
        await cluster.patch(path, {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}, MERGE)
        patched = await cluster.patch(
            path,
            {"status": {"conditions": [{"type": "Initialized", "status": "True"}], "phase": "Running"}},
            MERGE,
        )
        assert [condition["type"] for condition in patched["status"]["conditions"]] == ["Initialized"]


class TestNode:
    async def test_addresses_are_replaced(self, cluster: Cluster) -> None:
        node = await make_node(cluster)
        path = f"/api/v1/nodes/{node['metadata']['name']}/status"
        await cluster.patch(
            path,
            {"status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.1"}]}},
        )
        merged = await cluster.patch(path, {"status": {"addresses": [{"type": "Hostname", "address": "h"}]}})
        assert {address["type"] for address in merged["status"]["addresses"]} == {"InternalIP", "Hostname"}
        addresses = [
            {"type": "InternalIP", "address": "10.0.0.2"},
            {"type": "InternalIP", "address": "fd00::2"},
            {"type": "Hostname", "address": "h"},
        ]
        replaced = await cluster.patch(path, {"status": {"addresses": [*addresses, {"$patch": "replace"}]}})
        assert replaced["status"]["addresses"] == addresses

    async def test_conditions_merge_and_images_do_not(self, cluster: Cluster) -> None:
        node = await make_node(cluster)
        path = f"/api/v1/nodes/{node['metadata']['name']}/status"
        for image, kind in (("a", "ContractA"), ("b", "ContractB")):
            patched = await cluster.patch(
                path,
                {
                    "status": {
                        "images": [{"names": [image], "sizeBytes": 1}],
                        "conditions": [{"type": kind, "status": "True"}],
                        "volumesInUse": [f"kubernetes.io/csi/{image}"],
                    }
                },
            )
        status = patched["status"]
        assert {"ContractA", "ContractB"} <= {condition["type"] for condition in status["conditions"]}
        assert status["images"] == [{"names": ["b"], "sizeBytes": 1}]
        assert status["volumesInUse"] == ["kubernetes.io/csi/b"]

    async def test_the_status_patch_writes_annotations_but_not_the_spec(self, cluster: Cluster) -> None:
        node = await make_node(cluster)
        path = f"/api/v1/nodes/{node['metadata']['name']}/status"
        body = {"metadata": {"annotations": {"a": "b"}}, "spec": {"providerID": "x"}}
        patched = await cluster.patch(path, body)
        assert patched["metadata"]["annotations"]["a"] == "b"
        assert "providerID" not in patched.get("spec", {})

    async def test_the_main_patch_writes_labels_but_not_the_status(self, cluster: Cluster) -> None:
        node = await make_node(cluster, status={"capacity": {"pods": "7"}})
        path = f"/api/v1/nodes/{node['metadata']['name']}"
        patched = await cluster.patch(
            path, {"metadata": {"labels": {"a": "b"}}, "status": {"capacity": {"pods": "8"}}}
        )
        assert patched["metadata"]["labels"]["a"] == "b"
        assert patched["status"]["capacity"] == {"pods": "7"}

    async def test_deletion(self, cluster: Cluster) -> None:
        node = await make_node(cluster)
        name, uid = node["metadata"]["name"], node["metadata"]["uid"]
        deleted = await cluster.delete(f"/api/v1/nodes/{name}")
        assert deleted["status"] == "Success"
        assert deleted["details"] == {"name": name, "kind": "nodes", "uid": uid}
        with pytest.raises(Refusal) as refused:
            await cluster.get(f"/api/v1/nodes/{name}")
        assert refused.value.code == 404


class TestEphemeralContainers:
    async def test_they_are_added_by_their_subresource_alone(self, cluster: Cluster) -> None:
        made = await make_pod(cluster)
        path = cluster.path("pods", "one", "ephemeralcontainers")
        debug = {"name": "debug", "image": "busybox:1", "targetContainerName": "main"}
        added = await cluster.patch(
            path, {"metadata": {"labels": {"a": "b"}}, "spec": {"ephemeralContainers": [debug]}}
        )
        [shown] = added["spec"]["ephemeralContainers"]
        assert debug.items() <= shown.items()
        assert shown["terminationMessagePolicy"] == "File"
        assert added["metadata"]["generation"] == made["metadata"]["generation"] + 1
        assert added["spec"]["containers"] == made["spec"]["containers"]
        assert "labels" not in added["metadata"]
        assert await cluster.get(path) == await cluster.get(cluster.path("pods", "one"))

    async def test_those_that_are_there_stay_as_they_are(self, cluster: Cluster) -> None:
        await make_pod(cluster)
        path = cluster.path("pods", "one", "ephemeralcontainers")
        debug = {"name": "debug", "image": "busybox:1"}
        await cluster.patch(path, {"spec": {"ephemeralContainers": [debug]}})
        for body in (
            {"spec": {"ephemeralContainers": [{**debug, "image": "busybox:2"}]}},
            {"spec": {"ephemeralContainers": [{"name": "debug", "$patch": "delete"}]}},
        ):
            with pytest.raises(Refusal) as refused:
                await cluster.patch(path, body)
            assert refused.value.code == 422
        more = await cluster.patch(path, {"spec": {"ephemeralContainers": [{**debug, "name": "two"}]}})
        assert {c["name"] for c in more["spec"]["ephemeralContainers"]} == {"debug", "two"}
