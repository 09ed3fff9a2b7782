"""The contract: lists and watches."""

import asyncio
import secrets

import pytest
from tests.apiserver.client import Refusal
from tests.apiserver.cluster import Cluster
from tests.apiserver.contract import NOWHERE, following, make_pod, pod, silence, version


class TestWatch:
    async def test_from_a_version(self, cluster: Cluster) -> None:
        listed = await cluster.list(cluster.path("pods"))
        await make_pod(cluster)
        changed = await cluster.patch(cluster.path("pods", "one", "status"), {"status": {"phase": "Running"}})
        async with cluster.watch(cluster.path("pods"), resourceVersion=version(listed)) as events:
            added, modified = await following(events), await following(events)
            assert added["type"] == "ADDED"
            assert (added["object"]["kind"], added["object"]["apiVersion"]) == ("Pod", "v1")
            assert modified == {"type": "MODIFIED", "object": changed}
            assert await silence(events)

    async def test_from_now(self, cluster: Cluster) -> None:
        made = await make_pod(cluster)
        async with cluster.watch(cluster.path("pods"), resourceVersion="0") as events:
            assert await following(events) == {"type": "ADDED", "object": made}

    async def test_what_leaves_the_selector_is_deleted(self, cluster: Cluster) -> None:
        made = await make_pod(cluster)
        query = {"fieldSelector": "status.phase=Pending", "resourceVersion": version(made)}
        async with cluster.watch(cluster.path("pods"), **query) as events:
            left = await cluster.patch(
                cluster.path("pods", "one", "status"), {"status": {"phase": "Running"}}
            )
            gone = await following(events)
            assert gone["type"] == "DELETED"
            assert version(gone["object"]) == version(left)
            assert gone["object"]["status"]["phase"] == "Pending"
            await cluster.patch(cluster.path("pods", "one", "status"), {"status": {"phase": "Pending"}})
            assert (await following(events))["type"] == "ADDED"

    async def test_the_pods_of_a_node(self, cluster: Cluster) -> None:
        node = f"contract-{secrets.token_hex(4)}"
        await make_pod(cluster, "other")
        made = await make_pod(cluster, "unbound", node="")
        query = {"fieldSelector": f"spec.nodeName={node}", "resourceVersion": version(made)}
        async with cluster.watch("/api/v1/pods", **query) as events:
            await cluster.create(
                cluster.path("pods", "unbound", "binding"),
                {"metadata": {"name": "unbound"}, "target": {"kind": "Node", "name": node}},
            )
            bound = await following(events)
        assert (bound["type"], bound["object"]["metadata"]["name"]) == ("ADDED", "unbound")

    async def test_one_object_by_name(self, cluster: Cluster) -> None:
        for name in ("a", "b"):
            await cluster.create(
                cluster.path("secrets"), {"metadata": {"name": name}, "stringData": {"k": "v"}}
            )
        query = {"fieldSelector": "metadata.name=b", "resourceVersion": "0"}
        async with cluster.watch(cluster.path("secrets"), **query) as events:
            assert (await following(events))["object"]["metadata"]["name"] == "b"
            await cluster.patch(cluster.path("secrets", "a"), {"metadata": {"labels": {"x": "y"}}})
            await cluster.delete(cluster.path("secrets", "b"))
            assert (await following(events))["type"] == "DELETED"

    async def test_a_version_that_is_too_old(self, cluster: Cluster) -> None:
        try:
            async with cluster.watch("/api/v1/pods", resourceVersion="1") as events:
                event = await following(events)
        except Refusal as refused:
            status = refused.status
        else:
            assert event["type"] == "ERROR"
            status = event["object"]
        assert (status["kind"], status["code"], status["reason"]) == ("Status", 410, "Expired")

    async def test_its_time_is_over(self, cluster: Cluster) -> None:
        query = {"resourceVersion": "0", "timeoutSeconds": "1"}
        async with asyncio.timeout(10), cluster.watch(cluster.path("pods"), **query) as events:
            assert [event async for event in events] == []

    async def test_the_initial_events(self, cluster: Cluster) -> None:
        made = await make_pod(cluster)
        query = {
            "sendInitialEvents": "true",
            "resourceVersionMatch": "NotOlderThan",
            "allowWatchBookmarks": "true",
        }
        async with cluster.watch(cluster.path("pods"), **query) as events:
            first = await following(events, bookmarks=True)
            if "RequestWatchProgress" in first["object"].get("message", ""):
                pytest.skip("the cluster's etcd is too old for it")
            assert first == {"type": "ADDED", "object": made}
            end = await following(events, bookmarks=True)
            assert end["type"] == "BOOKMARK"
            assert end["object"]["kind"] == "Pod"
            assert end["object"]["metadata"]["annotations"] == {"k8s.io/initial-events-end": "true"}
            assert int(version(end["object"])) >= int(version(made))
            assert end["object"]["spec"]["containers"] is None
            await cluster.delete(cluster.path("pods", "one"), grace=0)
            assert (await following(events))["type"] == "MODIFIED"

    async def test_initial_events_need_a_match(self, cluster: Cluster) -> None:
        with pytest.raises(Refusal) as refused:
            async with cluster.watch(cluster.path("pods"), sendInitialEvents="true"):
                pass
        assert (refused.value.code, refused.value.reason) == (422, "Invalid")

    async def test_a_watch_is_refused_as_any_request(self, cluster: Cluster) -> None:
        with pytest.raises(Refusal) as refused:
            async with cluster.watch(cluster.path("pods"), fieldSelector="spec.nonsense=1"):
                pass
        assert (refused.value.code, refused.value.reason) == (400, "BadRequest")


class TestList:
    async def test_its_items_bear_no_kind(self, cluster: Cluster) -> None:
        made = await make_pod(cluster)
        listed = await cluster.list(cluster.path("pods"))
        assert (listed["kind"], listed["apiVersion"]) == ("PodList", "v1")
        [item] = listed["items"]
        assert item == {key: value for key, value in made.items() if key not in ("kind", "apiVersion")}
        assert int(version(listed)) >= int(version(made))

    async def test_of_nothing(self, cluster: Cluster) -> None:
        assert (await cluster.list(cluster.path("pods")))["items"] == []

    async def test_pages_show_one_moment(self, cluster: Cluster) -> None:
        for name in "abcde":
            await cluster.create(cluster.path("secrets"), {"metadata": {"name": name}})
        first = await cluster.list(cluster.path("secrets"), limit="2")
        assert [item["metadata"]["name"] for item in first["items"]] == ["a", "b"]
        assert first["metadata"]["remainingItemCount"] == 3
        await cluster.delete(cluster.path("secrets", "e"))
        token = first["metadata"]["continue"]
        second = await cluster.list(cluster.path("secrets"), **{"limit": "2", "continue": token})
        token = second["metadata"]["continue"]
        third = await cluster.list(cluster.path("secrets"), **{"limit": "2", "continue": token})
        names = [item["metadata"]["name"] for item in [*second["items"], *third["items"]]]
        assert names == ["c", "d", "e"]
        assert "continue" not in third["metadata"]
        assert version(first) == version(second) == version(third)

    async def test_at_versions(self, cluster: Cluster) -> None:
        made = await make_pod(cluster)
        await make_pod(cluster, "two")
        exact = await cluster.list(
            cluster.path("pods"), resourceVersion=version(made), resourceVersionMatch="Exact"
        )
        assert [item["metadata"]["name"] for item in exact["items"]] == ["one"]
        fresh = await cluster.list(
            cluster.path("pods"), resourceVersion=version(made), resourceVersionMatch="NotOlderThan"
        )
        assert int(version(fresh)) >= int(version(made))
        assert "items" in await cluster.list(cluster.path("pods"), resourceVersion="0")

    async def test_a_version_to_come(self, cluster: Cluster) -> None:
        with pytest.raises(Refusal) as refused:
            await cluster.list(cluster.path("pods"), resourceVersion="99999999")
        assert (refused.value.code, refused.value.reason) == (504, "Timeout")
        details = refused.value.status["details"]
        assert details["causes"][0]["reason"] == "ResourceVersionTooLarge"
        assert details["retryAfterSeconds"] == 1

    @pytest.mark.parametrize(
        ("query", "names"),
        [
            ({"fieldSelector": f"spec.nodeName={NOWHERE}"}, ["bound"]),
            ({"fieldSelector": "spec.nodeName="}, ["unbound"]),
            ({"fieldSelector": f"spec.nodeName!={NOWHERE}"}, ["unbound"]),
            ({"fieldSelector": "metadata.name=bound,status.phase=Pending"}, ["bound"]),
            ({"labelSelector": "app=x"}, ["bound"]),
            ({"labelSelector": "app in (x, y),app"}, ["bound"]),
            ({"labelSelector": "app notin (x)"}, ["unbound"]),
            ({"labelSelector": "!app"}, ["unbound"]),
            ({"labelSelector": "app!=x"}, ["unbound"]),
        ],
    )
    async def test_selectors(self, cluster: Cluster, query: dict[str, str], names: list[str]) -> None:
        bound = pod("bound")
        bound["metadata"]["labels"] = {"app": "x"}
        await cluster.create(cluster.path("pods"), bound)
        await make_pod(cluster, "unbound", node="")
        listed = await cluster.list(cluster.path("pods"), **query)
        assert [item["metadata"]["name"] for item in listed["items"]] == names

    async def test_a_field_that_cannot_be_selected(self, cluster: Cluster) -> None:
        with pytest.raises(Refusal) as refused:
            await cluster.list(cluster.path("pods"), fieldSelector="spec.nonsense=1")
        assert (refused.value.code, refused.value.reason) == (400, "BadRequest")
        assert "field label not supported: spec.nonsense" in refused.value.message

    async def test_services_without_the_headless(self, cluster: Cluster) -> None:
        for name, more in (("plain", {}), ("headless", {"clusterIP": "None"})):
            spec = {"ports": [{"port": 80}], "selector": {"a": "b"}, **more}
            await cluster.create(cluster.path("services"), {"metadata": {"name": name}, "spec": spec})
        listed = await cluster.list(cluster.path("services"), fieldSelector="spec.clusterIP!=None")
        [plain] = listed["items"]
        assert plain["metadata"]["name"] == "plain"
        assert plain["spec"]["clusterIP"]
        assert plain["spec"]["ports"] == [{"port": 80, "protocol": "TCP", "targetPort": 80}]
