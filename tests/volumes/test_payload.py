import pytest

from pykubelet.api.auth import TokenRequest, TokenRequestStatus
from pykubelet.api.core import (
    Container,
    Pod,
    PodSecurityContext,
    PodSpec,
    ResourceRequirements,
    SecurityContext,
)
from pykubelet.api.downward import DownwardFacts
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.objects import ConfigMap, Secret
from pykubelet.api.quantity import Quantity
from pykubelet.api.volumes import (
    ClusterTrustBundleProjection,
    ConfigMapProjection,
    ConfigMapVolumeSource,
    DownwardAPIProjection,
    DownwardAPIVolumeFile,
    DownwardAPIVolumeSource,
    KeyToPath,
    ObjectFieldSelector,
    PodCertificateProjection,
    ProjectedVolumeSource,
    ResourceFieldSelector,
    SecretProjection,
    SecretVolumeSource,
    ServiceAccountTokenProjection,
    Volume,
    VolumeProjection,
)
from pykubelet.base.errors import VolumeError
from pykubelet.volumes.payload import Facts, File, Missing, files_of, needed, token_request

POD = Pod(
    metadata=ObjectMeta(
        name="web", namespace="shop", uid="u1", labels={"b": "2", "a": "1"}, annotations={"note": 'say "hi"'}
    ),
    spec=PodSpec(
        containers=[
            Container(name="box", resources=ResourceRequirements(limits={"cpu": Quantity.parse("1500m")}))
        ],
        serviceAccountName="robot",
    ),
)
MAPS = {
    "settings": ConfigMap(data={"a": "1", "ü": "ü"}, binaryData={"raw": b"\xff\x00"}),
    "none": None,
    "late": Missing("failed to sync configmap cache: timed out waiting for the condition"),
}
SECRETS = {"keys": Secret(data={"key": b"k", "cert": b"c"}), "none": None}


def config_map(**options):
    options = {"name": "settings", "defaultMode": 0o644} | options
    return Volume(name="v", configMap=ConfigMapVolumeSource(**options))


def secret(**options):
    options = {"secretName": "keys", "defaultMode": 0o644} | options
    return Volume(name="v", secret=SecretVolumeSource(**options))


def downward(*items):
    return Volume(name="v", downwardAPI=DownwardAPIVolumeSource(items=list(items), defaultMode=0o644))


def field(path, selected, **options):
    return DownwardAPIVolumeFile(
        path=path, fieldRef=ObjectFieldSelector(apiVersion="v1", fieldPath=selected), **options
    )


def resource(path, name, container="box"):
    return DownwardAPIVolumeFile(
        path=path, resourceFieldRef=ResourceFieldSelector(containerName=container, resource=name)
    )


def projected(*sources, mode=0o644):
    return Volume(name="v", projected=ProjectedVolumeSource(sources=list(sources), defaultMode=mode))


TOKEN = VolumeProjection(
    serviceAccountToken=ServiceAccountTokenProjection(path="token", expirationSeconds=600)
)


def files(volume, pod=POD, **facts):
    return files_of(pod, volume, Facts(**({"config_maps": MAPS, "secrets": SECRETS} | facts)))


def error_of(volume, **facts):
    with pytest.raises(VolumeError) as caught:
        files(volume, **facts)
    return str(caught.value)


@pytest.mark.parametrize(
    ("volume", "wanted"),
    [
        (config_map(), {"a": b"1", "ü": "ü".encode(), "raw": b"\xff\x00"}),
        (config_map(items=[KeyToPath(key="raw", path="x/y")]), {"x/y": b"\xff\x00"}),
        (config_map(items=[KeyToPath(key="no", path="x")], optional=True), {}),
        (config_map(name="none", optional=True), {}),
        (config_map(name="none", optional=True, items=[KeyToPath(key="a", path="x")]), {}),
        (secret(), {"key": b"k", "cert": b"c"}),
        (
            secret(items=[KeyToPath(key="key", path="k1"), KeyToPath(key="key", path="k2")]),
            {"k1": b"k", "k2": b"k"},
        ),
        (secret(secretName="none", optional=True), {}),
        (downward(), {}),
        (downward(field("labels", "metadata.labels")), {"labels": b'a="1"\nb="2"'}),
        (downward(field("notes", "metadata.annotations")), {"notes": b'note="say \\"hi\\""'}),
        (downward(field("one", "metadata.labels['b']")), {"one": b"2"}),
        (downward(field("none", "metadata.labels['z']")), {"none": b""}),
        (downward(field("uid", "metadata.uid"), field("n", "metadata.name")), {"uid": b"u1", "n": b"web"}),
        (downward(resource("cpu", "limits.cpu")), {"cpu": b"2"}),
        (downward(resource("memory", "limits.memory")), {"memory": b"1048576"}),
        (downward(resource("cpu", "requests.cpu")), {"cpu": b"0"}),
        (downward(DownwardAPIVolumeFile(path="empty")), {"empty": b""}),
    ],
)
def test_what_files_there_are(volume, wanted):
    facts = DownwardFacts(allocatable={"memory": Quantity.parse("1Mi")})
    found = files(volume, downward=facts)
    assert {path: file.data for path, file in found.items()} == wanted
    assert {file.mode for file in found.values()} <= {0o644}


def test_an_item_has_a_mode_of_its_own():
    items = [KeyToPath(key="key", path="a", mode=0o400), KeyToPath(key="cert", path="b")]
    assert files(secret(items=items)) == {"a": File(b"k", 0o400), "b": File(b"c", 0o644)}
    assert files(config_map(items=[KeyToPath(key="a", path="a", mode=0)])) == {"a": File(b"1", 0)}
    assert files(downward(field("n", "metadata.name", mode=0o440))) == {"n": File(b"web", 0o440)}


@pytest.mark.parametrize(
    ("volume", "text"),
    [
        (config_map(name="none"), 'configmap "none" not found'),
        (config_map(name="late"), "failed to sync configmap cache: timed out waiting for the condition"),
        (
            config_map(name="late", optional=True),
            "failed to sync configmap cache: timed out waiting for the condition",
        ),
        (
            config_map(items=[KeyToPath(key="no", path="x")]),
            "configmap references non-existent config key: no",
        ),
        (config_map(defaultMode=None), "no defaultMode used, not even the default value for it"),
        (secret(secretName="none"), 'secret "none" not found'),
        (secret(items=[KeyToPath(key="no", path="x")]), "references non-existent secret key: no"),
        (downward(field("x", "spec.nodeName")), "unsupported fieldPath: spec.nodeName"),
        (downward(resource("x", "limits.cpu", "no")), "container no not found"),
        (downward(resource("x", "limits.cpu", "")), "container  not found"),
        (
            downward(field("x", "no"), field("y", "no"), field("z", "nor")),
            "[unsupported fieldPath: no, unsupported fieldPath: nor]",
        ),
        (
            projected(
                VolumeProjection(secret=SecretProjection(name="none")),
                VolumeProjection(configMap=ConfigMapProjection(name="none", optional=True)),
                VolumeProjection(downwardAPI=DownwardAPIProjection(items=[field("x", "no")])),
                VolumeProjection(configMap=ConfigMapProjection(name="none")),
            ),
            '[secret "none" not found, unsupported fieldPath: no, configmap "none" not found]',
        ),
        (
            projected(VolumeProjection(clusterTrustBundle=ClusterTrustBundleProjection(name="x", path="p"))),
            "ClusterTrustBundle projection is not supported by this kubelet "
            "(feature ClusterTrustBundleProjection)",
        ),
        (
            projected(
                VolumeProjection(clusterTrustBundle=ClusterTrustBundleProjection(path="p", optional=True))
            ),
            "ClusterTrustBundle projection requires either name or signerName to be set",
        ),
        (
            projected(VolumeProjection(podCertificate=PodCertificateProjection(signerName="x"))),
            "podCertificate projection is not supported by this kubelet (feature PodCertificateRequest)",
        ),
        (Volume(name="v"), 'volume "v" has no contents of its own'),
    ],
)
def test_what_is_wrong(volume, text):
    assert error_of(volume) == text


def test_projected_sources_are_taken_in_order():
    volume = projected(
        VolumeProjection(
            configMap=ConfigMapProjection(name="settings", items=[KeyToPath(key="a", path="x")])
        ),
        VolumeProjection(secret=SecretProjection(name="keys", items=[KeyToPath(key="key", path="x")])),
        TOKEN,
        VolumeProjection(downwardAPI=DownwardAPIProjection(items=[field("pod/name", "metadata.name")])),
        VolumeProjection(clusterTrustBundle=ClusterTrustBundleProjection(name="n", path="ca", optional=True)),
        VolumeProjection(),
        mode=0o444,
    )
    token = TokenRequest(status=TokenRequestStatus(token="abc"))
    assert files(volume, tokens=[token]) == {
        "x": File(b"k", 0o444),
        "token": File(b"abc", 0o444),
        "pod/name": File(b"web", 0o444),
        "ca": File(b"", 0o444),
    }
    assert (
        error_of(projected(TOKEN), tokens=[Missing("failed to fetch token: no")])
        == "failed to fetch token: no"
    )
    assert error_of(projected(mode=None)) == "no defaultMode used, not even the default value for it"


def pod_as(pod_user=None, group=None, **users):
    containers = [
        Container(name=name, securityContext=SecurityContext(runAsUser=user)) for name, user in users.items()
    ]
    context = PodSecurityContext(runAsUser=pod_user, fsGroup=group)
    return Pod(metadata=POD.metadata, spec=PodSpec(containers=containers, securityContext=context))


@pytest.mark.parametrize(
    ("pod", "mode", "owner"),
    [
        (POD, 0o644, None),
        (pod_as(a=5, b=5), 0o600, 5),
        (pod_as(a=0), 0o600, 0),
        (pod_as(a=5, b=6), 0o644, None),
        (pod_as(a=5, b=None), 0o644, None),
        (pod_as(7, a=None, b=None), 0o600, 7),
        (pod_as(7, a=8, b=None), 0o644, None),
        (pod_as(7, a=8), 0o600, 8),
        (pod_as(group=3, a=None), 0o600, None),
        (pod_as(group=3, a=5), 0o600, 5),
    ],
)
def test_a_token_is_its_users_own(pod, mode, owner):
    token = TokenRequest(status=TokenRequestStatus(token="abc"))
    assert files(projected(TOKEN), pod, tokens=[token]) == {"token": File(b"abc", mode, owner)}


def test_what_has_to_be_fetched():
    assert needed(config_map()).config_maps == ("settings",)
    assert needed(secret()).secrets == ("keys",)
    found = needed(
        projected(
            TOKEN,
            VolumeProjection(secret=SecretProjection(name="a")),
            VolumeProjection(secret=SecretProjection(name="a")),
            VolumeProjection(configMap=ConfigMapProjection(name="b")),
        )
    )
    assert (found.secrets, found.config_maps, found.tokens) == (("a",), ("b",), (TOKEN.serviceAccountToken,))


@pytest.mark.parametrize(("audience", "audiences"), [("", None), ("vault", ["vault"])])
def test_the_request_for_a_token(audience, audiences):
    spec = token_request(POD, ServiceAccountTokenProjection(audience=audience, expirationSeconds=600)).spec
    assert (spec.audiences, spec.expirationSeconds) == (audiences, 600)
    bound = spec.boundObjectRef
    assert (bound.kind, bound.apiVersion, bound.name, bound.uid) == ("Pod", "v1", "web", "u1")
