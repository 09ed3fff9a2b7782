import pytest
from tests.volumes.migration.kit import own, own_parts, persistent

from pykubelet.base.errors import VolumeError

KIND, DRIVER = "azureFile", "file.csi.azure.com"
GROUP = "kubernetes.io/azure-file-resource-group"
CLAIM = {"namespace": "claims", "name": "c"}


def csi(handle, secret, namespace, **rest):
    return {
        "driver": DRIVER,
        "volumeHandle": handle,
        "volumeAttributes": {"sharename": "share"},
        "nodeStageSecretRef": {"name": secret, "namespace": namespace},
        **rest,
    }


@pytest.mark.parametrize(
    ("source", "place", "wanted"),
    [
        (
            {"secretName": "azure-storage-account-acct-secret", "secretNamespace": "vault"},
            {"claimRef": CLAIM},
            csi("#acct#share#pv-1#vault", "azure-storage-account-acct-secret", "vault"),
        ),
        (
            {"secretName": "mine", "readOnly": True},
            {"claimRef": CLAIM},
            csi("#mine#share#pv-1#claims", "mine", "claims", readOnly=True),
        ),
        (
            {"secretName": "azure-storage-account-secret", "secretNamespace": "vault"},
            {"annotations": {GROUP: "rg"}},
            csi("rg#azure-storage-account-secret#share#pv-1#vault", "azure-storage-account-secret", "vault"),
        ),
        (
            {"secretName": "x-azure-storage-account-a-secret-secret-y", "secretNamespace": "vault"},
            {},
            csi("#a-secret#share#pv-1#vault", "x-azure-storage-account-a-secret-secret-y", "vault"),
        ),
    ],
)  # fmt: skip
def test_a_persistent_volume(source, place, wanted):
    spec = persistent(KIND, {"shareName": "share", **source}, accessModes=["ReadWriteMany"], **place)
    assert spec["csi"] == wanted
    assert spec["accessModes"] == ["ReadWriteMany"]


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ({}, {}),
        ({}, {"claimRef": {"name": "c"}}),
        # An empty namespace is one that was given.
        ({"secretNamespace": ""}, {"claimRef": CLAIM}),
    ],
)
def test_a_secret_in_no_namespace(source, place):
    with pytest.raises(VolumeError) as caught:
        persistent(KIND, {"secretName": "s", "shareName": "share", **source}, **place)
    assert str(caught.value) == (
        "failed to translate in-tree pv to CSI: "
        "could not find a secret namespace in PersistentVolumeSource or ClaimRef"
    )


@pytest.mark.parametrize(("namespace", "told"), [("shop", "shop"), ("", "default")])
def test_a_pods_own(namespace, told):
    source = {"secretName": "azure-storage-account-acct-secret", "shareName": "share"}
    handle = f"#acct#share#files#{told}"
    assert own_parts(KIND, source, name="files", namespace=namespace) == (
        handle,
        ["ReadWriteMany"],
        csi(handle, "azure-storage-account-acct-secret", told),
    )
    assert own(KIND, {**source, "readOnly": True}).read_only
