"""The contract: leases, events, certificates, tokens and reviews."""

import base64
import contextlib
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from tests.apiserver.client import Refusal
from tests.apiserver.cluster import Cluster
from tests.apiserver.contract import following, make_pod, version
from tests.apiserver.node_identity import certificate_request
from tests.apiserver.resources import Object


class TestLease:
    def path(self, cluster: Cluster, name: str = "") -> str:
        root = f"/apis/coordination.k8s.io/v1/namespaces/{cluster.namespace}/leases"
        return f"{root}/{name}" if name else root

    async def test_its_life(self, cluster: Cluster) -> None:
        spec = {"holderIdentity": "n", "leaseDurationSeconds": 40, "renewTime": "2026-11-21T02:00:00.123456Z"}
        made = await cluster.create(self.path(cluster), {"metadata": {"name": "n"}, "spec": spec})
        assert made["spec"] == spec
        later = {**spec, "renewTime": "2026-11-21T02:00:10.000000Z"}
        renewed = await cluster.update(self.path(cluster, "n"), {**made, "spec": later})
        assert renewed["spec"] == later
        with pytest.raises(Refusal) as refused:
            await cluster.update(self.path(cluster, "n"), {**made, "spec": spec})
        assert (refused.value.code, refused.value.reason) == (409, "Conflict")

    @pytest.mark.parametrize("fraction", ["", ".5", ".123456789"])
    async def test_times_have_six_digits(self, cluster: Cluster, fraction: str) -> None:
        spec = {"holderIdentity": "n", "renewTime": f"2026-11-21T02:00:00{fraction}Z"}
        with pytest.raises(Refusal) as refused:
            await cluster.create(self.path(cluster), {"metadata": {"name": "n"}, "spec": spec})
        assert (refused.value.code, refused.value.reason) == (400, "BadRequest")

    async def test_an_update_needs_the_version(self, cluster: Cluster) -> None:
        lease = {"metadata": {"name": "n"}, "spec": {"holderIdentity": "n"}}
        assert (await cluster.update(self.path(cluster, "n"), lease))["metadata"]["uid"]
        with pytest.raises(Refusal) as refused:
            await cluster.update(self.path(cluster, "n"), {"metadata": {"name": "n"}, "spec": {}})
        assert (refused.value.code, refused.value.reason) == (422, "Invalid")


class TestEvents:
    def event(self, cluster: Cluster, **more: Any) -> Object:
        return {
            "metadata": {"name": "one.1234"},
            "involvedObject": {"kind": "Pod", "namespace": cluster.namespace, "name": "one", "uid": "u"},
            "reason": "Started",
            "message": "Started container",
            "source": {"component": "kubelet", "host": "n"},
            "firstTimestamp": "2026-11-21T02:00:00Z",
            "lastTimestamp": "2026-11-21T02:00:00Z",
            "count": 1,
            "type": "Normal",
            **more,
        }

    async def test_create_and_count(self, cluster: Cluster) -> None:
        made = await cluster.create(cluster.path("events"), self.event(cluster))
        assert made["involvedObject"]["name"] == "one"
        body = {"count": 2, "lastTimestamp": "2026-11-21T02:00:05Z"}
        patched = await cluster.patch(cluster.path("events", "one.1234"), body)
        assert (patched["count"], patched["lastTimestamp"]) == (2, "2026-11-21T02:00:05Z")
        listed = await cluster.list(
            cluster.path("events"), fieldSelector="involvedObject.name=one,reason=Started,type=Normal"
        )
        assert len(listed["items"]) == 1

    async def test_times_of_a_series_have_six_digits(self, cluster: Cluster) -> None:
        more = {
            "eventTime": "2026-11-21T02:00:00.000000Z",
            "action": "Starting",
            "reportingComponent": "kubelet",
            "reportingInstance": "n",
        }
        made = await cluster.create(cluster.path("events"), self.event(cluster, **more))
        assert made["eventTime"] == "2026-11-21T02:00:00.000000Z"
        body = {"series": {"count": 2, "lastObservedTime": "2026-11-21T02:00:01.000000Z"}}
        assert (await cluster.patch(cluster.path("events", "one.1234"), body))["series"] == body["series"]
        body["series"]["lastObservedTime"] = "2026-11-21T02:00:02Z"
        with pytest.raises(Refusal) as refused:
            await cluster.patch(cluster.path("events", "one.1234"), body)
        assert (refused.value.code, refused.value.reason) == (422, "Invalid")

    async def test_a_patch_of_what_is_gone(self, cluster: Cluster) -> None:
        with pytest.raises(Refusal) as refused:
            await cluster.patch(cluster.path("events", "none.1"), {"count": 2})
        assert (refused.value.code, refused.value.reason) == (404, "NotFound")

    async def test_of_an_object_elsewhere(self, cluster: Cluster) -> None:
        elsewhere = {"kind": "Pod", "namespace": "other", "name": "one"}
        with pytest.raises(Refusal) as refused:
            await cluster.create(cluster.path("events"), self.event(cluster, involvedObject=elsewhere))
        assert (refused.value.code, refused.value.reason) == (422, "Invalid")


class TestCertificates:
    ROOT = "/apis/certificates.k8s.io/v1/certificatesigningrequests"

    async def request(self, cluster: Cluster, **more: Any) -> Object:
        spec = {
            "request": base64.b64encode(
                certificate_request("contract", ec.generate_private_key(ec.SECP256R1()))
            ).decode(),
            "signerName": "kubernetes.io/kube-apiserver-client-kubelet",
            "usages": ["digital signature", "client auth"],
            "expirationSeconds": 3600,
            **more,
        }
        made = await cluster.create(self.ROOT, {"metadata": {"generateName": "contract-"}, "spec": spec})
        cluster.later(f"{self.ROOT}/{made['metadata']['name']}")
        return made

    def conclude(self, csr: Object, kind: str) -> Object:
        conditions = [{"type": kind, "status": "True", "reason": "Contract", "message": "m"}]
        return {**csr, "status": {"conditions": conditions}}

    async def test_approved(self, cluster: Cluster) -> None:
        made = await self.request(cluster)
        assert made["spec"]["username"] == "kubernetes-admin"
        name = made["metadata"]["name"]
        query = {"fieldSelector": f"metadata.name={name}", "resourceVersion": version(made)}
        async with cluster.watch(self.ROOT, **query) as events:
            # A real cluster may approve its admin's request by itself.
            with contextlib.suppress(Refusal):
                await cluster.update(f"{self.ROOT}/{name}/approval", self.conclude(made, "Approved"))
            while not (csr := (await following(events))["object"])["status"].get("certificate"):
                pass
        assert csr["status"]["conditions"][0]["type"] == "Approved"
        certificate = x509.load_pem_x509_certificate(base64.b64decode(csr["status"]["certificate"]))
        assert certificate.subject.rfc4514_string() == "CN=system:node:contract,O=system:nodes"

    async def test_denied(self, cluster: Cluster) -> None:
        made = await self.request(cluster, signerName="contract.test/nobody")
        denied = await cluster.update(
            f"{self.ROOT}/{made['metadata']['name']}/approval", self.conclude(made, "Denied")
        )
        assert denied["status"]["conditions"][0]["type"] == "Denied"
        assert "certificate" not in denied["status"]

    async def test_nonsense(self, cluster: Cluster) -> None:
        with pytest.raises(Refusal) as refused:
            await self.request(cluster, request=base64.b64encode(b"nonsense").decode())
        assert (refused.value.code, refused.value.reason) == (422, "Invalid")


class TestTokens:
    async def test_a_token_bound_to_a_pod(self, cluster: Cluster) -> None:
        made = await make_pod(cluster)
        bound = {"kind": "Pod", "apiVersion": "v1", "name": "one", "uid": made["metadata"]["uid"]}
        body = {"spec": {"audiences": ["contract"], "expirationSeconds": 1200, "boundObjectRef": bound}}
        answer = await cluster.create(cluster.path("serviceaccounts", "default", "token"), body)
        assert answer["kind"] == "TokenRequest"
        until = datetime.fromisoformat(answer["status"]["expirationTimestamp"]) - datetime.now(UTC)
        assert timedelta(seconds=1100) < until < timedelta(seconds=1300)
        token = answer["status"]["token"]
        assert token.count(".") == 2
        review = await cluster.create(
            "/apis/authentication.k8s.io/v1/tokenreviews",
            {"spec": {"token": token, "audiences": ["contract", "other"]}},
        )
        status = review["status"]
        assert status["authenticated"] is True
        assert status["audiences"] == ["contract"]
        assert status["user"]["username"] == f"system:serviceaccount:{cluster.namespace}:default"
        assert "system:serviceaccounts" in status["user"]["groups"]
        foreign = await cluster.create(
            "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": token}}
        )
        assert not foreign["status"].get("authenticated")

    async def test_of_another_pod(self, cluster: Cluster) -> None:
        await make_pod(cluster)
        bound = {"kind": "Pod", "apiVersion": "v1", "name": "one", "uid": "0000"}
        path = cluster.path("serviceaccounts", "default", "token")
        with pytest.raises(Refusal) as refused:
            await cluster.create(path, {"spec": {"boundObjectRef": bound}})
        assert (refused.value.code, refused.value.reason) == (409, "Conflict")

    async def test_too_short(self, cluster: Cluster) -> None:
        path = cluster.path("serviceaccounts", "default", "token")
        with pytest.raises(Refusal) as refused:
            await cluster.create(path, {"spec": {"expirationSeconds": 599}})
        assert (refused.value.code, refused.value.reason) == (422, "Invalid")

    async def test_without_a_length_of_life(self, cluster: Cluster) -> None:
        path = cluster.path("serviceaccounts", "default", "token")
        spec = {"audiences": ["contract"], "expirationSeconds": None, "boundObjectRef": None}
        assert (await cluster.create(path, {"spec": spec}))["spec"]["expirationSeconds"] == 3600

    async def test_of_no_account(self, cluster: Cluster) -> None:
        with pytest.raises(Refusal) as refused:
            await cluster.create(cluster.path("serviceaccounts", "none", "token"), {"spec": {}})
        assert (refused.value.code, refused.value.reason) == (404, "NotFound")
        assert refused.value.message == 'serviceaccounts "none" not found'

    async def test_a_review_of_nonsense(self, cluster: Cluster) -> None:
        review = await cluster.create(
            "/apis/authentication.k8s.io/v1/tokenreviews", {"spec": {"token": "nonsense"}}
        )
        assert not review["status"].get("authenticated")
        assert review["status"]["error"]


class TestAccess:
    @pytest.mark.parametrize(("groups", "allowed"), [(["system:masters"], True), (["nobody"], False)])
    async def test_reviews(self, cluster: Cluster, groups: list[str], allowed: bool) -> None:
        attributes = {
            "verb": "get",
            "resource": "nodes",
            "subresource": "metrics",
            "name": "n",
            "version": "v1",
        }
        review = await cluster.create(
            "/apis/authorization.k8s.io/v1/subjectaccessreviews",
            {"spec": {"user": "someone", "groups": groups, "resourceAttributes": attributes}},
        )
        assert review["status"]["allowed"] is allowed

    async def test_a_bad_token(self, cluster: Cluster) -> None:
        headers = {"Authorization": "Bearer nonsense"}
        connector = aiohttp.TCPConnector(ssl=cluster.context_without_certificate or True)
        async with (
            aiohttp.ClientSession(cluster.url, connector=connector) as session,
            session.get(cluster.path("pods"), headers=headers) as response,
        ):
            assert response.status == 401
            status = await response.json()
        assert (status["kind"], status["reason"], status["code"]) == ("Status", "Unauthorized", 401)
