"""Which objects a pod needs, place by place."""

import pytest

from pykubelet.api.codec import convert
from pykubelet.api.core import Pod
from pykubelet.cluster.references import References, references


def pod(**spec: object) -> Pod:
    return convert({"metadata": {"name": "web", "namespace": "ns"}, "spec": spec}, Pod)


CONTAINER = {
    "name": "c",
    "envFrom": [{"configMapRef": {"name": "m1"}}, {"secretRef": {"name": "s1"}}, {"prefix": "X"}],
    "env": [
        {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "m2", "key": "k"}}},
        {"name": "B", "valueFrom": {"secretKeyRef": {"name": "s2", "key": "k", "optional": True}}},
        {"name": "C", "value": "c"},
        {"name": "D", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
    ],
}


@pytest.mark.parametrize("where", ["containers", "initContainers", "ephemeralContainers"])
def test_environments(where: str) -> None:
    found = references(pod(**{where: [CONTAINER]}))
    assert found == References(config_maps=frozenset({"m1", "m2"}), secrets=frozenset({"s1", "s2"}))


@pytest.mark.parametrize(
    ("source", "maps", "secrets"),
    [
        ({"configMap": {"name": "m"}}, {"m"}, set()),
        ({"secret": {"secretName": "s"}}, set(), {"s"}),
        (
            {
                "projected": {
                    "sources": [
                        {"configMap": {"name": "m"}},
                        {"secret": {"name": "s"}},
                        {"serviceAccountToken": {"path": "t"}},
                        {"downwardAPI": {}},
                    ]
                }
            },
            {"m"},
            {"s"},
        ),
        ({"emptyDir": {}}, set(), set()),
        ({"persistentVolumeClaim": {"claimName": "c"}}, set(), set()),
    ],
)
def test_volumes(source: dict[str, object], maps: set[str], secrets: set[str]) -> None:
    found = references(pod(volumes=[{"name": "v", **source}]))
    assert (found.config_maps, found.secrets) == (maps, secrets)
    assert (found.mounted_config_maps, found.mounted_secrets) == (maps, secrets)


@pytest.mark.parametrize(
    "source",
    [
        {"csi": {"driver": "d", "nodePublishSecretRef": {"name": "s"}}},
        {"flexVolume": {"driver": "d", "secretRef": {"name": "s"}}},
        {"iscsi": {"targetPortal": "p", "secretRef": {"name": "s"}}},
        {"rbd": {"secretRef": {"name": "s"}}},
        {"cephfs": {"secretRef": {"name": "s"}}},
        {"cinder": {"secretRef": {"name": "s"}}},
        {"scaleIO": {"secretRef": {"name": "s"}}},
        {"storageos": {"secretRef": {"name": "s"}}},
        {"azureFile": {"secretName": "s"}},
    ],
)
def test_secrets_of_drivers_are_no_contents_of_volumes(source: dict[str, object]) -> None:
    found = references(pod(volumes=[{"name": "v", **source}]))
    assert found == References(secrets=frozenset({"s"}))


@pytest.mark.parametrize(
    "source",
    [
        {"csi": {"driver": "d"}},
        {"flexVolume": {"driver": "d"}},
        {"rbd": {"secretRef": None}},
        {"rbd": {"secretRef": {"name": 7}}},
        {"azureFile": {"shareName": "x"}},
    ],
)
def test_drivers_without_secrets(source: dict[str, object]) -> None:
    assert references(pod(volumes=[{"name": "v", **source}])) == References()


def test_secrets_of_image_pulls_and_names_that_are_missing() -> None:
    found = references(
        pod(
            imagePullSecrets=[{"name": "pull"}, {"name": ""}, {}],
            containers=[{"name": "c", "envFrom": [{"configMapRef": {}}, {"secretRef": {"name": ""}}]}],
            volumes=[{"name": "v", "configMap": {}}, {"name": "w", "secret": {}}],
        )
    )
    assert found == References(secrets=frozenset({"pull"}))
