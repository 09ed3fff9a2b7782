"""The manager with the node's own persistent volumes: real mounts, a busy one, another life."""

import asyncio
import os
from pathlib import Path

import pytest
from tests.volumes.fake_driver import Cluster, bound
from tests.volumes.managed import Node, pod_of, until
from tests.volumes.persistent import StandIns

from pykubelet.api.storage import LocalVolumeSource
from pykubelet.api.volumes import NFSVolumeSource, PersistentVolumeClaimVolumeSource, Volume, VolumeMount
from pykubelet.base.clock import LoopClock
from pykubelet.linux import mountinfo
from pykubelet.volumes.local import LocalVolumes
from pykubelet.volumes.nfs import NfsVolumes

pytestmark = pytest.mark.integration


class Lab:
    def __init__(self, area):
        self.area, self.node, self.cluster = area, Node(area / "root"), Cluster()
        self.source = area / "disk"
        self.source.mkdir()
        (self.source / "file").write_text("kept")

    async def start(self):
        if self.node.manager is not None:
            await self.node.manager.stop()
        layout, story = self.node.layout, self.node.story
        return await self.node.start(
            persistent=[LocalVolumes(layout, LoopClock(), story), NfsVolumes(layout)],
            claims=self.cluster,
            attachments=self.cluster,
        )

    def mounted(self):
        table = mountinfo.parse(Path("/proc/self/mountinfo").read_bytes())
        return {m.mount_point: m for m in table if m.mount_point.startswith(f"{self.area}/root/")}

    def target(self, plugin, name, uid="uid-1"):
        return str(self.node.layout.pod_volume(uid, f"kubernetes.io/{plugin}", name))


@pytest.fixture
async def lab(mount_area):
    made = Lab(mount_area)
    yield made
    if made.node.manager is not None:
        await made.node.manager.stop()


def claiming(uid="uid-1"):
    return pod_of(uid, data=PersistentVolumeClaimVolumeSource(claimName="a"))


async def test_a_directory_is_shared_kept_over_a_restart_and_given_back(lab):
    lab.cluster.bound["a"] = bound("a", csi=None, local=LocalVolumeSource(path=str(lab.source)))
    manager = await lab.start()
    one, two = claiming(), claiming("uid-2")
    lab.node.pods = [one, two]
    await asyncio.gather(manager.wait_ready(one), manager.wait_ready(two))
    targets = {lab.target("local-volume", "pv-a"), lab.target("local-volume", "pv-a", "uid-2")}
    assert lab.mounted().keys() == targets
    before = {place: mount.mount_id for place, mount in lab.mounted().items()}
    manager = await lab.start()
    await asyncio.gather(manager.wait_ready(one), manager.wait_ready(two))
    assert {place: mount.mount_id for place, mount in lab.mounted().items()} == before
    lab.node.pods = []
    # The other pod's end was missed: it ended while there was no daemon.
    manager = await lab.start()
    await asyncio.gather(manager.wait_gone(one), manager.wait_gone(two))
    assert lab.mounted() == {}
    assert os.listdir(lab.source) == ["file"]
    await until(lambda: not os.listdir(lab.node.layout.pods))


async def test_a_busy_volume_is_told_of_and_given_back_when_it_is_free(lab):
    lab.cluster.bound["a"] = bound("a", csi=None, local=LocalVolumeSource(path=str(lab.source)))
    manager = await lab.start()
    pod = claiming()
    lab.node.pods = [pod]
    await manager.wait_ready(pod)
    target = lab.target("local-volume", "pv-a")
    busy = await asyncio.create_subprocess_exec("sleep", "60", cwd=target)
    try:
        lab.node.over.add("uid-1")
        manager.reconsider("uid-1")
        told = lab.node.story
        await until(lambda: sum(what == "VolumeUnmountFailed" for what, _ in told.causes) >= 2)
        [cause, *_] = [cause for what, cause in told.causes if what == "VolumeUnmountFailed"]
        assert cause == f"{target}: device or resource busy"
        assert target in lab.mounted(), "never lazily"
    finally:
        busy.kill()
        await busy.wait()
    await manager.wait_gone(pod)
    assert lab.mounted() == {}


async def test_a_pods_own_nfs_volume(lab, tmp_path, monkeypatch):
    stand_ins = StandIns(tmp_path / "bin")
    last = 'for target in "$@"; do :; done;'
    stand_ins.add("mount", f'{last} /usr/bin/mount --bind {lab.source} "$target"')
    stand_ins.add("umount", f'{last} /usr/bin/umount -i "$target"')
    monkeypatch.setenv("PATH", str(stand_ins.directory))
    manager = await lab.start()
    pod = pod_of("uid-1", "other")
    pod.spec.volumes.append(
        Volume(name="data", nfs=NFSVolumeSource(server="fd00::1", path="/e", readOnly=True))
    )
    pod.spec.containers[0].volumeMounts.append(VolumeMount(name="data", mountPath="/data"))
    lab.node.pods = [pod]
    await manager.wait_ready(pod)
    target = lab.target("nfs", "data")
    mounted = manager.mounted("uid-1")["data"]
    assert (mounted.host_path, mounted.read_only) == (target, True)
    lab.node.over.add("uid-1")
    await manager.wait_gone(pod)
    assert stand_ins.called == [f"mount -t nfs -o ro [fd00::1]:/e {target}", f"umount {target}"]


async def test_a_failed_mount_is_told_as_upstream_does_and_tried_again(lab):
    lab.cluster.bound["a"] = bound("a", csi=None, local=LocalVolumeSource(path=str(lab.area / "late")))
    manager = await lab.start()
    pod = claiming()
    lab.node.pods = [pod]
    manager.reconsider("uid-1")
    await until(lambda: lab.node.story.events)
    assert lab.node.story.events[0] == (
        "web",
        "Warning",
        "FailedMount",
        'MountVolume.NewMounter initialization failed for volume "pv-a" : '
        f'path "{lab.area}/late" does not exist',
    )
    (lab.area / "late").mkdir()
    await manager.wait_ready(pod)
