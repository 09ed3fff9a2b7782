# ruff: noqa: E501
import json

import pytest

from pykubelet.pods.sources import Origin, read_manifests

ORIGIN = Origin("file", "/m/web.yaml")


def manifest(name="web", meta=None, container=None, **spec):
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name} | (meta or {}),
        "spec": {"containers": [{"name": "a", "image": "i:1"} | (container or {})]} | spec,
    }


def read(document, origin=ORIGIN, node="node1"):
    data = document if isinstance(document, bytes) else json.dumps(document).encode()
    return read_manifests(data, origin, node)


def sound(document, **more):
    pods, errors = read(document, **more)
    assert errors == []
    [static] = pods
    return static


def refused(document, **more):
    pods, errors = read(document, **more)
    assert pods == []
    [error] = errors
    return error


def test_what_makes_a_pod_static():
    pod = sound(manifest(meta={"annotations": {"mine": "x"}})).pod
    assert pod.metadata.name == "web-node1"
    assert pod.metadata.namespace == "default"
    assert len(pod.metadata.uid) == 32 and int(pod.metadata.uid, 16)
    assert pod.metadata.annotations == {"mine": "x", "kubernetes.io/config.hash": pod.metadata.uid}
    assert pod.spec.nodeName == "node1"
    assert [(t.operator, t.effect) for t in pod.spec.tolerations] == [("Exists", "NoExecute")]
    assert pod.status.phase == "Pending"
    assert pod.spec.restartPolicy == "Always"


def test_uid_is_stable_and_tells_manifests_apart():
    uid = sound(manifest()).pod.metadata.uid
    assert uid == sound(manifest()).pod.metadata.uid
    reordered = dict(reversed(manifest().items()))
    assert uid == sound(reordered).pod.metadata.uid
    others = [
        sound(manifest(container={"image": "i:2"})),
        sound(manifest(), node="node2"),
        sound(manifest(), origin=Origin("file", "/m/other.yaml")),
        sound(manifest(), origin=Origin("http", "/m/web.yaml")),
    ]
    assert len({uid, *(static.pod.metadata.uid for static in others)}) == 5
    assert sound(manifest(meta={"uid": "mine"})).pod.metadata.uid == "mine"
    # This exact value ties running pods to their manifests over an upgrade.
    assert uid == "dad7bf06d5aea73bfdd21199ff74b6ea"


def test_toleration_is_not_doubled_and_only_for_files():
    tolerations = [
        {"operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5},
        {"key": "k", "operator": "Exists"},
    ]
    made = sound(manifest(tolerations=tolerations)).pod.spec.tolerations
    assert [(t.key, t.tolerationSeconds) for t in made] == [("", None), ("k", None)]
    assert sound(manifest(), origin=Origin("http", "http://x")).pod.spec.tolerations == []


def test_what_only_a_kubelet_knows_is_not_taken():
    own = {"kubernetes.io/config.mirror": "x", "kubernetes.io/config.source": "api"}
    meta = {"annotations": own, "deletionTimestamp": "2020-01-01T00:00:00Z"}
    static = sound(manifest(meta=meta) | {"status": {"phase": "Failed", "podIP": "1.2.3.4"}})
    assert list(static.pod.metadata.annotations) == ["kubernetes.io/config.hash"]
    assert static.pod.metadata.deletionTimestamp is None
    assert (static.pod.status.phase, static.pod.status.podIP) == ("Pending", "")


@pytest.mark.parametrize(
    ("document", "text", "field"),
    [
        (b"a: [", "/m/web.yaml: couldn't parse as pod(error converting YAML to JSON: yaml: line 2", ""),
        (b"", "couldn't parse as pod(the manifest is empty), please check config file", ""),
        (b"text", "an object is expected, not str", ""),
        (b"x: " + b"a" * 10 * 1024 * 1024, "the read limit is reached", ""),
        (b"[" * 1_000_000, "exceeded max depth", ""),
        ({"kind": "Pod"}, "Object 'apiVersion' is missing", "apiVersion"),
        ({"apiVersion": "v1"}, "Object 'Kind' is missing", "kind"),
        (manifest() | {"kind": "Service"}, 'no kind "Service"', "kind"),
        (manifest(name=""), "invalid pod: name is needed for the pod", "metadata.name"),
        (manifest(meta={"uid": "../x"}), 'metadata.uid: Invalid value: "../x"', "metadata.uid"),
        (manifest(container={"image": 5}), "spec.containers[0].image: Expected `str`, got `int`", "spec.containers[0].image"),
        (manifest(container={"name": ""}), "invalid pod: [spec.containers[0].name: Required value]", "spec.containers[0].name"),
    ],
)  # fmt: skip
def test_what_is_refused(document, text, field):
    error = refused(document)
    assert text in str(error)
    assert error.field == field


@pytest.mark.parametrize(
    ("document", "what"),
    [
        (manifest(serviceAccountName="s"), "serviceaccounts"),
        (manifest(serviceAccount="s"), "serviceaccounts"),
        (manifest(imagePullSecrets=[{"name": "s"}]), "secrets"),
        (manifest(container={"envFrom": [{"secretRef": {"name": "s"}}]}), "secrets"),
        (manifest(container={"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "s", "key": "k"}}}]}), "configmaps"),
        (manifest(volumes=[{"name": "v", "configMap": {"name": "c"}}]), "configmaps"),
        (manifest(volumes=[{"name": "v", "secret": {"secretName": "c"}}]), "secrets"),
        (manifest(volumes=[{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]), "persistentvolumeclaims"),
        (manifest(volumes=[{"name": "v", "csi": {"driver": "c"}}]), "csidrivers (via CSI volumes)"),
        (manifest(volumes=[{"name": "v", "projected": {"sources": [{"serviceAccountToken": {"path": "t"}}]}}]), "serviceaccounts"),
        (manifest(volumes=[{"name": "v", "projected": {"sources": [{"clusterTrustBundle": {"name": "t", "path": "x"}}]}}]), "clustertrustbundles"),
        (manifest(resourceClaims=[{"name": "c", "resourceClaimName": "x"}]), "resourceclaims"),
    ],
)  # fmt: skip
def test_references_to_the_api_are_refused(document, what):
    error = refused(document)
    if what == "serviceaccounts" and "volumes" in document["spec"]:
        what = "serviceaccounts (via projected volumes)"
    assert str(error) == f"static pods may not reference {what}"
    assert error.field.startswith("spec.")


def test_local_volumes_are_fine():
    volumes = [{"name": "a"}, {"name": "b", "hostPath": {"path": "/"}}]
    volumes.append(
        {
            "name": "c",
            "projected": {
                "sources": [
                    {"downwardAPI": {"items": [{"path": "x", "fieldRef": {"fieldPath": "metadata.uid"}}]}}
                ]
            },
        }
    )
    assert sound(manifest(volumes=volumes))


def test_unknown_fields_are_told_and_ignored():
    static = sound(manifest(container={"foo": 1}, bar=2) | {"status": {"x": 1}})
    assert set(static.warnings) == {'unknown field "spec.containers[0].foo"', 'unknown field "spec.bar"'}


def test_several_documents_and_lists():
    bare = {key: value for key, value in manifest("c").items() if key not in ("kind", "apiVersion")}
    documents = [
        manifest("a"),
        {
            "apiVersion": "v1",
            "kind": "List",
            "items": [manifest("b"), {"kind": "Service", "apiVersion": "v1"}],
        },
        {"apiVersion": "v1", "kind": "PodList", "items": [bare]},
    ]
    pods, errors = read(("---\n" + "\n---\n".join(json.dumps(one) for one in documents)).encode())
    assert [one.pod.metadata.name for one in pods] == ["a-node1", "b-node1", "c-node1"]
    assert ["Service" in str(error) for error in errors] == [True]
