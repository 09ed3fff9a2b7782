# ruff: noqa: E501
import pytest

from pykubelet.api import codec
from pykubelet.api.core import Pod
from pykubelet.api.defaults import set_pod_defaults
from pykubelet.api.validation import validate_pod

DISK = {"diskName": "n", "diskURI": "/subscriptions/1", "kind": "Managed"}
BLOB = "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd"
MANAGED = "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}"
RANGE = "must be between 1 and 255, inclusive"


def problems(kind, source):
    spec = {"containers": [{"name": "a", "image": "i"}], "volumes": [{"name": "v", kind: source}]}
    pod = codec.convert({"metadata": {"name": "web", "namespace": "default"}, "spec": spec}, Pod)
    found = validate_pod(set_pod_defaults(pod))
    return [str(error).removeprefix(f"spec.volumes[0].{kind}.") for error in found]


@pytest.mark.parametrize(
    ("kind", "source", "wanted"),
    [
        ("awsElasticBlockStore", {"volumeID": "v", "partition": 255}, []),
        ("awsElasticBlockStore", {}, ["volumeID: Required value"]),
        ("awsElasticBlockStore", {"volumeID": "v", "partition": 256}, [f"partition: Invalid value: 256: {RANGE}"]),
        ("gcePersistentDisk", {"pdName": "v", "partition": 0}, []),
        ("gcePersistentDisk", {"partition": -1}, ["pdName: Required value", f"partition: Invalid value: -1: {RANGE}"]),
        ("azureFile", {"secretName": "s", "shareName": "x"}, []),
        ("azureFile", {}, ["secretName: Required value", "shareName: Required value"]),
        ("cinder", {"volumeID": "v", "secretRef": {"name": "s"}}, []),
        ("cinder", {"secretRef": {}}, ["volumeID: Required value", "secretRef.name: Required value"]),
        ("portworxVolume", {"volumeID": "v"}, []),
        ("portworxVolume", {}, ["volumeID: Required value"]),
        ("vsphereVolume", {"volumePath": "v"}, []),
        ("vsphereVolume", {}, ["volumePath: Required value"]),
        ("azureDisk", DISK, []),
        ("azureDisk", {"diskName": "n", "diskURI": "https://x"}, []),
        ("azureDisk", {**DISK, "cachingMode": "x"}, ['cachingMode: Unsupported value: "x": supported values: "None", "ReadOnly", "ReadWrite"']),
        ("azureDisk", {**DISK, "diskURI": "https://x"}, [f'diskURI: Unsupported value: "https://x": supported values: "{MANAGED}"']),
        # Who says nothing means a blob.
        ("azureDisk", {**DISK, "kind": None}, [f'diskURI: Unsupported value: "/subscriptions/1": supported values: "{BLOB}"']),
        (
            "azureDisk",
            {"kind": "x", "diskName": "n", "diskURI": "https://x"},
            ['kind: Unsupported value: "x": supported values: "Dedicated", "Managed", "Shared"'],
        ),
        ("azureDisk", {"kind": "Managed"}, ["diskName: Required value", "diskURI: Required value", f'diskURI: Unsupported value: "": supported values: "{MANAGED}"']),
    ],
)  # fmt: skip
def test_sources(kind, source, wanted):
    assert problems(kind, source) == wanted
