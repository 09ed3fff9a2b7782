from datetime import UTC, datetime

import pytest
from tests.volumes.csi.kit import pod_of

from pykubelet.api.auth import TokenRequestStatus
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.objects import Secret
from pykubelet.api.storage import CSIDriver, CSIDriverSpec, CSITokenRequest
from pykubelet.base.errors import VolumeError
from pykubelet.volumes.csi import context


def driver_of(**spec):
    return CSIDriver(spec=CSIDriverSpec(**spec))


def test_what_is_told_of_the_pod():
    assert context.pod_info(pod_of(), ephemeral=True) == {
        "csi.storage.k8s.io/pod.name": "web",
        "csi.storage.k8s.io/pod.namespace": "shop",
        "csi.storage.k8s.io/pod.uid": "uid-1",
        "csi.storage.k8s.io/serviceAccount.name": "clerk",
        "csi.storage.k8s.io/ephemeral": "true",
    }
    assert context.pod_info(pod_of(), ephemeral=False)["csi.storage.k8s.io/ephemeral"] == "false"


@pytest.mark.parametrize(
    ("driver", "told"),
    [
        (None, False),
        (driver_of(), False),
        (driver_of(podInfoOnMount=False), False),
        (driver_of(podInfoOnMount=True), True),
    ],
)
def test_who_is_told_of_the_pod(driver, told):
    assert context.wants_pod_info(driver) is told


def test_tokens_that_a_driver_wants():
    wanted = [CSITokenRequest(), CSITokenRequest(audience="vault", expirationSeconds=600)]
    requests = context.token_requests(driver_of(tokenRequests=wanted), pod_of())
    assert list(requests) == ["", "vault"]
    # An empty list, not none at all: as upstream asks.
    assert requests[""].spec.audiences == []
    spec = requests["vault"].spec
    assert (spec.audiences, spec.expirationSeconds) == (["vault"], 600)
    bound = spec.boundObjectRef
    assert (bound.kind, bound.apiVersion, bound.name, bound.uid) == ("Pod", "v1", "web", "uid-1")
    assert context.token_requests(None, pod_of()) == {}


def test_tokens_are_told_as_json():
    until = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    tokens = {
        "vault": TokenRequestStatus(token="b&", expirationTimestamp=until),
        "": TokenRequestStatus(token="a"),
    }
    assert context.tokens_text(tokens) == (
        '{"":{"token":"a","expirationTimestamp":null},'
        '"vault":{"token":"b\\u0026","expirationTimestamp":"2030-01-02T03:04:05Z"}}'
    )


@pytest.mark.parametrize(
    ("driver", "among"),
    [(None, False), (driver_of(), False), (driver_of(serviceAccountTokenInSecrets=True), True)],
)
def test_where_tokens_go(driver, among):
    assert context.tokens_in_secrets(driver) is among


def test_secrets_are_text():
    meta = ObjectMeta(namespace="shop", name="s")
    assert context.credentials(Secret(metadata=meta, data={"a": "ü".encode()})) == {"a": "ü"}
    with pytest.raises(VolumeError, match=r"secret shop/s: data\[b\]: not UTF-8") as caught:
        context.credentials(Secret(metadata=meta, data={"b": b"\xff\xfe"}))
    assert caught.value.__cause__ is None


def test_the_first_access_mode_counts():
    assert context.access_mode([]) == "ReadWriteOnce"
    assert context.access_mode(["ReadOnlyMany", "ReadWriteOnce"]) == "ReadOnlyMany"
