"""What a kubelet relies on of an API server: how objects are made, changed and ended.

The tests of the contract run against the double and, unchanged, a real API server:
``PYKUBELET_TEST_KUBECONFIG=…/admin.kubeconfig pytest tests/apiserver -k contract``
holds a real one to it; so the double stays true.
"""

from datetime import UTC, datetime, timedelta

import pytest
from tests.apiserver.client import MERGE, Refusal
from tests.apiserver.cluster import Cluster
from tests.apiserver.contract import NOWHERE, by, following, make_node, make_pod, pod, version


class TestCreate:
    async def test_what_the_server_adds(self, cluster: Cluster) -> None:
        made = await cluster.create(
            cluster.path("configmaps"), {"metadata": {"name": "a"}, "data": {"k": "v"}}
        )
        metadata = made["metadata"]
        assert (made["kind"], made["apiVersion"]) == ("ConfigMap", "v1")
        assert metadata["namespace"] == cluster.namespace
        assert len(metadata["uid"]) == 36
        assert int(metadata["resourceVersion"]) > 0
        age = datetime.now(UTC) - datetime.fromisoformat(metadata["creationTimestamp"])
        assert abs(age) < timedelta(seconds=30)
        assert await cluster.get(cluster.path("configmaps", "a")) == made

    async def test_a_generated_name(self, cluster: Cluster) -> None:
        made = await cluster.create(cluster.path("pods"), pod())
        name = made["metadata"]["name"]
        assert name.startswith("made-")
        assert len(name) == len("made-") + 5
        assert made["metadata"]["generateName"] == "made-"

    async def test_twice(self, cluster: Cluster) -> None:
        await make_pod(cluster)
        with pytest.raises(Refusal) as refused:
            await make_pod(cluster)
        status = refused.value.status
        assert (refused.value.code, refused.value.reason) == (409, "AlreadyExists")
        assert refused.value.message == 'pods "one" already exists'
        assert (status["kind"], status["apiVersion"], status["status"]) == ("Status", "v1", "Failure")
        assert status["details"] == {"name": "one", "kind": "pods"}
        assert status["code"] == 409

    async def test_in_no_namespace(self, cluster: Cluster) -> None:
        with pytest.raises(Refusal) as refused:
            await cluster.create(
                "/api/v1/namespaces/contract-none/configmaps", {"metadata": {"name": "a"}, "data": {}}
            )
        assert (refused.value.code, refused.value.reason) == (404, "NotFound")
        assert refused.value.message == 'namespaces "contract-none" not found'

    async def test_in_another_namespace(self, cluster: Cluster) -> None:
        with pytest.raises(Refusal) as refused:
            await cluster.create(
                cluster.path("configmaps"), {"metadata": {"name": "a", "namespace": "other"}}
            )
        assert (refused.value.code, refused.value.reason) == (400, "BadRequest")

    async def test_with_a_version(self, cluster: Cluster) -> None:
        with pytest.raises(Refusal) as refused:
            await cluster.create(
                cluster.path("configmaps"), {"metadata": {"name": "a", "resourceVersion": "1"}}
            )
        assert refused.value.message == "resourceVersion should not be set on objects to be created"

    async def test_a_pod_s_status_is_the_server_s(self, cluster: Cluster) -> None:
        made = await cluster.create(cluster.path("pods"), {**pod("one"), "status": {"phase": "Running"}})
        assert made["status"]["phase"] == "Pending"

    async def test_a_node_s_status_is_kept(self, cluster: Cluster) -> None:
        made = await make_node(cluster, status={"capacity": {"pods": "7"}})
        assert made["status"]["capacity"] == {"pods": "7"}


class TestUpdate:
    async def test_a_stale_version(self, cluster: Cluster) -> None:
        path = cluster.path("configmaps", "a")
        first = await cluster.create(
            cluster.path("configmaps"), {"metadata": {"name": "a"}, "data": {"k": "1"}}
        )
        second = await cluster.update(path, {**first, "data": {"k": "2"}})
        assert int(version(second)) > int(version(first))
        with pytest.raises(Refusal) as refused:
            await cluster.update(path, {**first, "data": {"k": "3"}})
        assert (refused.value.code, refused.value.reason) == (409, "Conflict")
        assert refused.value.message == (
            'Operation cannot be fulfilled on configmaps "a": the object has been modified; '
            "please apply your changes to the latest version and try again"
        )

    async def test_without_a_change(self, cluster: Cluster) -> None:
        first = await make_pod(cluster)
        second = await cluster.update(cluster.path("pods", "one"), first)
        assert version(second) == version(first)

    async def test_another_uid(self, cluster: Cluster) -> None:
        made = await make_pod(cluster)
        made["metadata"]["uid"] = wrong = "00000000-0000-4000-8000-000000000000"
        with pytest.raises(Refusal) as refused:
            await cluster.update(cluster.path("pods", "one"), made)
        assert (refused.value.code, refused.value.reason) == (409, "Conflict")
        why = f"Precondition failed: UID in precondition: {wrong}, UID in object meta: "
        assert why in refused.value.message

    async def test_of_nothing(self, cluster: Cluster) -> None:
        with pytest.raises(Refusal) as refused:
            await cluster.update(cluster.path("pods", "one"), pod("one"))
        assert (refused.value.code, refused.value.reason) == (404, "NotFound")

    async def test_under_another_name(self, cluster: Cluster) -> None:
        made = await make_pod(cluster)
        with pytest.raises(Refusal) as refused:
            await cluster.update(cluster.path("pods", "two"), made)
        assert refused.value.code == 400

    async def test_of_a_pod_s_spec(self, cluster: Cluster) -> None:
        made = await make_pod(cluster)
        made["spec"]["restartPolicy"] = "Never"
        with pytest.raises(Refusal) as refused:
            await cluster.update(cluster.path("pods", "one"), made)
        assert (refused.value.code, refused.value.reason) == (422, "Invalid")
        made["spec"]["restartPolicy"] = "Always"
        made["spec"]["containers"][0]["image"] = "registry.k8s.io/pause:3.9"
        assert made["metadata"]["generation"] == 1
        changed = await cluster.update(cluster.path("pods", "one"), made)
        assert changed["metadata"]["generation"] == 2


class TestPodDeletion:
    async def test_with_the_pod_s_own_grace(self, cluster: Cluster) -> None:
        await make_pod(cluster, terminationGracePeriodSeconds=40)
        path = cluster.path("pods", "one")
        ending = await cluster.delete(path)
        metadata = ending["metadata"]
        assert ending["kind"] == "Pod"
        assert metadata["deletionGracePeriodSeconds"] == 40
        ahead = datetime.fromisoformat(metadata["deletionTimestamp"]) - datetime.now(UTC)
        assert timedelta(seconds=25) < ahead < timedelta(seconds=55)
        assert metadata["generation"] == 2
        assert (await cluster.get(path))["metadata"]["deletionTimestamp"] == metadata["deletionTimestamp"]

    async def test_grace_is_shortened_but_not_prolonged(self, cluster: Cluster) -> None:
        await make_pod(cluster)
        path = cluster.path("pods", "one")
        first = (await cluster.delete(path, grace=50))["metadata"]
        assert first["deletionGracePeriodSeconds"] == 50
        shorter = (await cluster.delete(path, grace=20))["metadata"]
        assert shorter["deletionGracePeriodSeconds"] == 20
        moved = datetime.fromisoformat(first["deletionTimestamp"]) - datetime.fromisoformat(
            shorter["deletionTimestamp"]
        )
        assert moved == timedelta(seconds=30)
        longer = (await cluster.delete(path, grace=60))["metadata"]
        assert longer["deletionTimestamp"] == shorter["deletionTimestamp"]
        assert version({"metadata": longer}) == version({"metadata": shorter})

    async def test_grace_zero_ends_it(self, cluster: Cluster) -> None:
        made = await make_pod(cluster)
        path = cluster.path("pods", "one")
        await cluster.delete(path)
        last = await cluster.delete(path, grace=0, uid=made["metadata"]["uid"])
        assert last["kind"] == "Pod"
        with pytest.raises(Refusal) as refused:
            await cluster.get(path)
        assert refused.value.code == 404

    async def test_of_another_uid(self, cluster: Cluster) -> None:
        await make_pod(cluster)
        with pytest.raises(Refusal) as refused:
            await cluster.delete(cluster.path("pods", "one"), grace=0, uid="0000")
        assert (refused.value.code, refused.value.reason) == (409, "Conflict")
        assert "the UID in the precondition (0000) does not match the UID in record" in refused.value.message

    @pytest.mark.parametrize("phase", ["Succeeded", "Failed"])
    async def test_of_a_pod_that_ended(self, cluster: Cluster, phase: str) -> None:
        await make_pod(cluster)
        path = cluster.path("pods", "one")
        await cluster.patch(f"{path}/status", {"status": {"phase": phase}})
        await cluster.delete(path)
        with pytest.raises(Refusal):
            await cluster.get(path)

    async def test_of_a_pod_without_a_node(self, cluster: Cluster) -> None:
        await make_pod(cluster, node="")
        path = cluster.path("pods", "one")
        await cluster.delete(path)
        with pytest.raises(Refusal):
            await cluster.get(path)

    async def test_of_nothing(self, cluster: Cluster) -> None:
        with pytest.raises(Refusal) as refused:
            await cluster.delete(cluster.path("pods", "none"))
        assert (refused.value.code, refused.value.reason) == (404, "NotFound")

    async def test_what_watchers_see(self, cluster: Cluster) -> None:
        made = await make_pod(cluster)
        path = cluster.path("pods", "one")
        async with cluster.watch(cluster.path("pods"), resourceVersion=version(made)) as events:
            await cluster.delete(path, grace=30)
            ending = await following(events)
            await cluster.delete(path, grace=0)
            ended = await following(events)
            deleted = await following(events)
        assert [event["type"] for event in (ending, ended, deleted)] == ["MODIFIED", "MODIFIED", "DELETED"]
        assert ended["object"]["metadata"]["deletionGracePeriodSeconds"] == 0
        assert deleted["object"]["metadata"]["deletionGracePeriodSeconds"] == 0
        assert int(version(deleted["object"])) > int(version(ended["object"]))

    async def test_finalizers_keep_it(self, cluster: Cluster) -> None:
        await make_pod(cluster)
        path = cluster.path("pods", "one")
        await cluster.patch(path, {"metadata": {"finalizers": ["contract.test/a"]}})
        merged = await cluster.patch(path, {"metadata": {"finalizers": ["contract.test/b"]}})
        assert sorted(merged["metadata"]["finalizers"]) == ["contract.test/a", "contract.test/b"]
        await cluster.delete(path, grace=0)
        held = await cluster.get(path)
        assert held["metadata"]["deletionGracePeriodSeconds"] == 0
        left = await cluster.patch(
            path, {"metadata": {"$deleteFromPrimitiveList/finalizers": ["contract.test/a"]}}
        )
        assert left["metadata"]["finalizers"] == ["contract.test/b"]
        await cluster.patch(path, {"metadata": {"finalizers": None}}, MERGE)
        with pytest.raises(Refusal):
            await cluster.get(path)


class TestFinalizersOfOthers:
    async def test_a_config_map(self, cluster: Cluster) -> None:
        path = cluster.path("configmaps", "a")
        body = {"metadata": {"name": "a", "finalizers": ["contract.test/a"]}}
        await cluster.create(cluster.path("configmaps"), body)
        marked = await cluster.delete(path)
        assert marked["metadata"]["deletionTimestamp"]
        await cluster.patch(path, {"metadata": {"finalizers": None}}, MERGE)
        with pytest.raises(Refusal):
            await cluster.get(path)


class TestBinding:
    async def test_it_assigns_the_node(self, cluster: Cluster) -> None:
        await make_pod(cluster, node="")
        body = {"metadata": {"name": "one"}, "target": {"kind": "Node", "name": NOWHERE}}
        await cluster.create(cluster.path("pods", "one", "binding"), body)
        bound = await cluster.get(cluster.path("pods", "one"))
        assert bound["spec"]["nodeName"] == NOWHERE
        assert by(bound["status"]["conditions"], "type")["PodScheduled"]["status"] == "True"
        with pytest.raises(Refusal) as refused:
            await cluster.create(cluster.path("pods", "one", "binding"), body)
        assert (refused.value.code, refused.value.reason) == (409, "Conflict")
