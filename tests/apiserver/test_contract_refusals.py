"""The contract: what is refused and how, and the health of the server."""

import pytest
from tests.apiserver.client import Refusal
from tests.apiserver.cluster import Cluster
from tests.apiserver.contract import make_pod
from tests.apiserver.resources import Object


class TestBadRequests:
    async def send(
        self, cluster: Cluster, method: str, path: str, data: bytes, content_type: str = "application/json"
    ) -> Object:
        """The Status answered."""
        headers = {"Content-Type": content_type}
        async with cluster.session.request(method, path, data=data, headers=headers) as response:
            status: Object = await response.json()
            assert status["code"] == response.status
        assert (status["kind"], status["status"]) == ("Status", "Failure")
        return status

    async def test_no_json(self, cluster: Cluster) -> None:
        status = await self.send(cluster, "POST", cluster.path("pods"), b"{")
        assert (status["code"], status["reason"]) == (400, "BadRequest")

    async def test_another_kind(self, cluster: Cluster) -> None:
        body = b'{"kind": "Secret", "apiVersion": "v1", "metadata": {"name": "a"}}'
        status = await self.send(cluster, "POST", cluster.path("pods"), body)
        assert (status["code"], status["reason"]) == (400, "BadRequest")

    async def test_no_containers(self, cluster: Cluster) -> None:
        body = b'{"metadata": {"name": "a"}, "spec": {"containers": []}}'
        status = await self.send(cluster, "POST", cluster.path("pods"), body)
        assert (status["code"], status["reason"]) == (422, "Invalid")
        assert "spec.containers" in [cause["field"] for cause in status["details"]["causes"]]

    async def test_a_wrong_type(self, cluster: Cluster) -> None:
        body = b'{"metadata": {"name": "a"}, "spec": {"containers": "none"}}'
        status = await self.send(cluster, "POST", cluster.path("pods"), body)
        assert (status["code"], status["reason"]) == (400, "BadRequest")

    async def test_an_unknown_media_type(self, cluster: Cluster) -> None:
        status = await self.send(cluster, "POST", cluster.path("pods"), b"{}", "text/plain")
        assert (status["code"], status["reason"]) == (415, "UnsupportedMediaType")

    async def test_an_unknown_patch(self, cluster: Cluster) -> None:
        await make_pod(cluster)
        status = await self.send(cluster, "PATCH", cluster.path("pods", "one"), b"{}", "application/json")
        assert (status["code"], status["reason"]) == (415, "UnsupportedMediaType")

    async def test_a_method_that_is_not_there(self, cluster: Cluster) -> None:
        status = await self.send(cluster, "PUT", cluster.path("pods"), b"{}")
        assert (status["code"], status["reason"]) == (405, "MethodNotAllowed")

    async def test_a_patch_that_is_none(self, cluster: Cluster) -> None:
        await make_pod(cluster)
        path = cluster.path("pods", "one", "status")
        await cluster.patch(path, {"status": {"conditions": [{"type": "Ready", "status": "True"}]}})
        strategic = "application/strategic-merge-patch+json"
        for body in (b'{"conditions": [{"status": "True"}]}', b'{"$patch": "nonsense"}'):
            status = await self.send(cluster, "PATCH", path, b'{"status": ' + body + b"}", strategic)
            assert status["code"] == 500
        status = await self.send(cluster, "PATCH", path, b'{"status": {"conditions": "none"}}', strategic)
        assert (status["code"], status["reason"]) == (422, "Invalid")

    async def test_a_condition_without_its_type(self, cluster: Cluster) -> None:
        await make_pod(cluster)
        body = b'{"status": {"conditions": [{"status": "True"}]}}'
        strategic = "application/strategic-merge-patch+json"
        status = await self.send(cluster, "PATCH", cluster.path("pods", "one", "status"), body, strategic)
        assert (status["code"], status["reason"]) == (422, "Invalid")

    @pytest.mark.parametrize(
        "path", ["/api/v1/nonsense", "/apis/none/v1/things", "/apis/node.k8s.io/v1/runtimeclasses/none"]
    )
    async def test_unknown_paths(self, cluster: Cluster, path: str) -> None:
        with pytest.raises(Refusal) as refused:
            await cluster.get(path)
        assert refused.value.code == 404


class TestHealth:
    async def test_the_version(self, cluster: Cluster) -> None:
        answer = await cluster.get("/version")
        assert answer["major"] == "1"
        assert answer["gitVersion"].startswith("v1.")

    @pytest.mark.parametrize("path", ["/healthz", "/readyz", "/livez"])
    async def test_health(self, cluster: Cluster, path: str) -> None:
        async with cluster.session.get(path) as response:
            assert (response.status, await response.text()) == (200, "ok")


class TestRuntimeClasses:
    CLASSES = "/apis/node.k8s.io/v1/runtimeclasses"

    async def made(self, cluster: Cluster, **fields: object) -> str:
        name = f"{cluster.namespace}-{len(fields)}"
        body = {"metadata": {"name": name}, "handler": "h", **fields}
        await cluster.create(self.CLASSES, body)
        cluster.later(f"{self.CLASSES}/{name}")
        return name

    async def test_the_overhead_comes_from_the_class(self, cluster: Cluster) -> None:
        heavy = await self.made(cluster, overhead={"podFixed": {"cpu": "10m", "memory": "1Mi"}})
        pod = await make_pod(cluster, runtimeClassName=heavy)
        assert pod["spec"]["overhead"] == {"cpu": "10m", "memory": "1Mi"}

    @pytest.mark.parametrize(
        ("overhead", "given", "says"),
        [
            ({"cpu": "10m"}, {"cpu": "11m"}, "Pod's Overhead doesn't match RuntimeClass's defined Overhead"),
            (None, {"cpu": "11m"}, "Pod Overhead set without corresponding RuntimeClass defined Overhead"),
        ],
    )
    async def test_another_overhead_is_refused(
        self, cluster: Cluster, overhead: Object | None, given: Object, says: str
    ) -> None:
        more = {"overhead": {"podFixed": overhead}} if overhead else {}
        name = await self.made(cluster, **more)
        with pytest.raises(Refusal, match=says) as refused:
            await make_pod(cluster, runtimeClassName=name, overhead=given)
        assert refused.value.code == 403

    async def test_a_class_must_be_there(self, cluster: Cluster) -> None:
        with pytest.raises(Refusal, match='pod rejected: RuntimeClass "none" not found'):
            await make_pod(cluster, runtimeClassName="none")
