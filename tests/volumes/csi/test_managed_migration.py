"""Cloud providers' volumes through the volume manager, to a driver that took over and really mounts."""

import asyncio
import json
from pathlib import Path

import pytest
from tests.volumes.csi.joined import Joined, path_of, pod_of
from tests.volumes.fake_driver import sample
from tests.volumes.managed import until

from pykubelet.api import codec
from pykubelet.api.core import Container, Pod, PodSpec
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.storage import PersistentVolume
from pykubelet.api.volumes import PersistentVolumeClaimVolumeSource, Volume, VolumeMount
from pykubelet.base.metrics import Metrics
from pykubelet.volumes.csi.paths import attachment_name, unique_name
from pykubelet.volumes.spec import VolumeSpec

pytestmark = pytest.mark.integration

EBS, DISK = "ebs.csi.aws.com", "disk.csi.azure.com"
ZONE = "topology.kubernetes.io/zone"
URI = "/subscriptions/1/resourceGroups/2/providers/Microsoft.Compute/disks/it"


@pytest.fixture
def joined(node):
    node.calls_itself(EBS)
    node.objects.has_driver(EBS, attachRequired=True)
    return Joined(node)


def old_volume(*, read_only=False, **spec):
    """A claim's volume as a cluster has had it since before CSI."""
    source = {"volumeID": "aws://us-east-1a/vol-1", "fsType": "tmpfs"}
    meta = {"name": "pv-1", "labels": {ZONE: "us-east-1a"}}
    body = {"awsElasticBlockStore": source, "accessModes": ["ReadWriteOnce"], **spec}
    pv = codec.convert({"metadata": meta, "spec": body}, PersistentVolume)
    claim = PersistentVolumeClaimVolumeSource(claimName="data", readOnly=read_only)
    return VolumeSpec(Volume(name="data", persistentVolumeClaim=claim), pv)


def own(kind, source, name="data"):
    return VolumeSpec(codec.convert({"name": name, kind: source}, Volume))


def attach(joined, driver, handle):
    """What the attach/detach controller and the driver's attacher do."""
    name = unique_name(driver, handle)
    joined.node.objects.attach(handle, driver=driver, wwn="77")
    joined.cluster.written, joined.cluster.attached_to = {name}, {name: ""}
    joined.managed.manager.attachments_changed()


def events(joined):
    return [message for _, kind, _, message in joined.managed.story.events if kind == "Warning"]


async def test_a_claim(joined):
    node, spec = joined.node, old_volume(mountOptions=["noatime"])
    joined.has(spec)
    metrics, pod = Metrics(), pod_of("uid-1", spec)
    labels = {f"topology.{EBS}/zone": "us-east-1a"}
    async with joined.life(node_labels=lambda: labels, metrics=metrics) as manager:
        joined.managed.pods = [pod]
        waiting = asyncio.ensure_future(manager.wait_ready(pod))  # noqa: TID251
        await until(lambda: joined.cluster.used == {f"kubernetes.io/csi/{EBS}^vol-1"})
        assert node.driver.calls() == []
        attach(joined, EBS, "vol-1")
        await waiting
        assert path_of(joined, pod).host_path == node.paths.target("uid-1", "pv-1")
        staged = node.sent("NodeStageVolume")
        assert (staged["volume_id"], staged["publish_context"]) == ("vol-1", {"wwn": "77"})
        assert staged["volume_context"] == {"partition": "0"}
        assert staged["volume_capability"]["mount"] == {"fs_type": "tmpfs", "mount_flags": ["noatime"]}
        told = json.loads((Path(node.paths.pod_volume("uid-1", "pv-1")) / "vol_data.json").read_text())
        assert (told["specVolID"], told["volumeHandle"], told["driverName"]) == ("pv-1", "vol-1", EBS)
        assert told["attachmentID"] == attachment_name("vol-1", EBS, "node-1")
        text = (
            "resolve of volume data is done, it is the persistent volume pv-1 "
            f"(kubernetes.io/csi/{EBS}^vol-1), translated from awsElasticBlockStore"
        )
        assert ("VolumeResolveDone", text) in joined.managed.story.texts
        [story] = manager.explain("uid-1")
        assert (story.claim, story.persistent_volume) == ("shop/data", "pv-1")
        assert sample(
            metrics,
            "storage_operation_duration_seconds_count",
            volume_plugin=f"kubernetes.io/csi:{EBS}",
            operation_name="volume_mount",
            migrated="true",
        )
        # Metrics tell the calls apart; when it is taken away, nothing says any more what it was.
        assert node.clients.migrated == [True, True]
        await joined.run()
        await until(lambda: joined.cluster.used == set())
        assert node.clients.migrated == [True, True, False, False]
    assert node.count("NodeUnstageVolume") == 1
    assert joined.left() == []


async def test_a_node_in_another_zone(joined):
    spec = old_volume()
    joined.has(spec)
    pod = pod_of("uid-1", spec)
    async with joined.life(node_labels=lambda: {ZONE: "us-east-1a", f"topology.{EBS}/zone": "us-east-1b"}):
        joined.managed.pods = [pod]
        attach(joined, EBS, "vol-1")
        await until(lambda: events(joined))
        assert events(joined)[0] == (
            'MountVolume.NodeAffinity check failed for volume "pv-1" : no matching NodeSelectorTerms'
        )
        assert joined.node.driver.calls() == []


async def test_a_driver_that_is_not_there(joined):
    node, spec = joined.node, own("awsElasticBlockStore", {"volumeID": "vol-1", "fsType": "tmpfs"})
    endpoints, node.clients.endpoints = node.clients.endpoints, {}
    pod = pod_of("uid-1", spec)
    async with joined.life() as manager:
        joined.managed.pods = [pod]
        waiting = asyncio.ensure_future(manager.wait_ready(pod))  # noqa: TID251
        attach(joined, EBS, "vol-1")
        await until(lambda: events(joined))
        assert events(joined)[0] == (
            f'MountVolume.MountDevice failed for volume "{EBS}-vol-1" : kubernetes.io/csi: '
            f"attacher.MountDevice failed to create newCsiDriverClient: driver name {EBS} "
            "not found in the list of registered CSI drivers"
        )
        node.clients.endpoints = endpoints
        manager.retry(node.plugin.registered(EBS))
        await waiting
        await joined.run()


async def test_pods_that_name_the_disk_themselves(joined):
    """Its name has slashes, its directory none; a restart finds it again."""
    node = joined.node
    node.calls_itself(DISK)
    node.objects.has_driver(DISK, attachRequired=True)
    source = {"diskName": "it", "diskURI": URI, "kind": "Managed", "fsType": "tmpfs"}
    spec = own("azureDisk", source)
    first, second = (
        pod_of("uid-1", spec),
        pod_of("uid-2", own("azureDisk", {**source, "readOnly": True}, "ro")),
    )
    name = f"kubernetes.io/csi/{DISK}^{URI}"
    async with joined.life() as manager:
        attach(joined, DISK, URI)
        await joined.run(first)
        assert joined.cluster.used == {name}
        path = f"{node.paths.pod_volumes('uid-1')}/{URI.replace('/', '~')}/mount"
        assert path_of(joined, first).host_path == path
        Path(path, "file").write_text("kept")
        told = json.loads((Path(path).parent / "vol_data.json").read_text())
        assert (told["specVolID"], told["volumeLifecycleMode"]) == (URI, "Persistent")
        [story] = manager.explain("uid-1")
        assert (story.claim, story.persistent_volume, story.device) == ("", "", name)
    async with joined.life():
        attach(joined, DISK, URI)
        await joined.run(first, second)
        assert Path(path, "file").read_text() == "kept"
        assert node.count("NodeUnpublishVolume") == 0
        # Who asked for reading only may read only.
        published = {
            call.request["target_path"]: call.request for call in node.driver.calls("NodePublishVolume")
        }
        assert [bool(request.get("readonly")) for _, request in sorted(published.items())] == [False, True]
        shown = path_of(joined, second)
        assert (shown.name, shown.read_only) == ("ro", True)
        assert Path(shown.host_path, "file").read_text() == "kept"
        with pytest.raises(OSError, match="Read-only file system"):
            Path(shown.host_path, "other").write_text("x")
    joined.managed.pods = []
    # Both pods are gone when the next life begins.
    async with joined.life():
        await until(lambda: node.count("NodeUnstageVolume") == 1)
        await until(lambda: joined.left("subscriptions") == [])
    assert node.count("NodeUnpublishVolume") >= 2


async def test_a_path_with_spaces_and_brackets(joined):
    """Found again by its data file, or, where that is damaged, by what is mounted there."""
    node, driver = joined.node, "csi.vsphere.vmware.com"
    node.calls_itself(driver)
    node.objects.has_driver(driver, attachRequired=True)
    handle = "[data store] kube vols/a\\b.vmdk"
    pod = pod_of("uid-1", own("vsphereVolume", {"volumePath": handle}))
    async with joined.life():
        attach(joined, driver, handle)
        await joined.run(pod)
        path = Path(path_of(joined, pod).host_path)
        assert path.parent.name == f"{driver}-{handle}".replace("/", "~")
        (path / "file").write_text("kept")
    (path.parent / "vol_data.json").write_text("")
    async with joined.life():
        attach(joined, driver, handle)
        await joined.run(pod)
        assert (path / "file").read_text() == "kept"
        assert node.count("NodeUnpublishVolume") == 0
    (path.parent / "vol_data.json").unlink()
    joined.managed.pods = []
    async with joined.life():
        await until(lambda: node.count("NodeUnstageVolume") == 1)
        await until(lambda: joined.left(f"{driver}-") == [])


async def test_what_has_no_translation(joined):
    spec = own("azureDisk", {"diskName": "it", "diskURI": URI, "kind": "Shared"})
    bad, good = (
        pod_of("uid-1", spec),
        pod_of("uid-2", own("awsElasticBlockStore", {"volumeID": "vol-1", "fsType": "tmpfs"})),
    )
    async with joined.life() as manager:
        attach(joined, EBS, "vol-1")
        joined.managed.pods = [bad]
        await until(lambda: manager.explain("uid-1") and manager.explain("uid-1")[0].error)
        [story] = manager.explain("uid-1")
        assert story.error == (
            "failed to translate in-tree pv to CSI: kind(Shared) is not supported in csi migration"
        )
        joined.managed.pods = [bad, good]
        await manager.wait_ready(good)
        await joined.run()


async def test_one_disk_by_several_names_in_one_pod(joined):
    """Named twice by the pod, and by a claim: it is staged once."""
    claimed = old_volume()
    joined.has(claimed)
    volumes = [
        own("awsElasticBlockStore", {"volumeID": "vol-1", "fsType": "tmpfs"}, "a").volume,
        own(
            "awsElasticBlockStore", {"volumeID": "aws://x/vol-1", "fsType": "tmpfs", "readOnly": True}, "b"
        ).volume,
        claimed.volume,
    ]
    mounts = [VolumeMount(name=volume.name, mountPath=f"/{volume.name}") for volume in volumes]
    pod = Pod(
        metadata=ObjectMeta(name="web", namespace="shop", uid="uid-1"),
        spec=PodSpec(volumes=volumes, containers=[Container(name="box", volumeMounts=mounts)]),
    )
    async with joined.life(node_labels=lambda: {f"topology.{EBS}/zone": "us-east-1a"}):
        attach(joined, EBS, "vol-1")
        await joined.run(pod)
        shown = joined.managed.manager.mounted("uid-1")
        assert shown["a"].host_path == shown["b"].host_path != shown["data"].host_path
        assert (shown["a"].read_only, shown["b"].read_only) == (False, True)
        Path(shown["a"].host_path, "file").write_text("kept")
        assert Path(shown["data"].host_path, "file").read_text() == "kept"
        await joined.run()
        await until(lambda: joined.left(f"{EBS}-") == [])
    assert joined.node.count("NodeStageVolume") == joined.node.count("NodeUnstageVolume") == 1
