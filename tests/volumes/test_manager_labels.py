"""The manager on a node with SELinux: volumes mounted with labels, handed on, found again."""

import asyncio
from dataclasses import replace

import pytest
from tests.volumes.fake_driver import CSI, bound, sample
from tests.volumes.lab import Lab, claiming

from pykubelet.api.core import PodSecurityContext, SELinuxOptions
from pykubelet.base.errors import VolumeError
from pykubelet.linux.selinux import SELinux
from pykubelet.volumes.devices import Devices
from pykubelet.volumes.plugin import Device
from pykubelet.volumes.selinux import Labelling

HOST = SELinux("system_u:system_r:container_t:s0", "system_u:object_r:container_file_t:s0")
A, B = ("system_u:object_r:container_file_t:s0:c1", "system_u:object_r:container_file_t:s0:c2")
CONFLICT = f'conflicting SELinux labels of volume pv-a: "{A}" and "{B}"'


@pytest.fixture
async def lab(tmp_path, blockbuster):
    # Its operations run on the loop, whose time is virtual.
    blockbuster.deactivate()
    made = Lab(tmp_path)
    made.cluster.bound["a"] = bound("a", modes=["ReadWriteOncePod"])
    made.driver.labels = True
    yield made
    await made.node.manager.stop()


def asking(uid, level):
    pod = claiming(uid, data="a")
    pod.spec.securityContext = PodSecurityContext(seLinuxOptions=SELinuxOptions(level=f"s0:{level}"))
    return pod


@pytest.mark.looptime
async def test_a_volume_is_handed_on_to_a_pod_with_another_label(lab):
    manager = await lab.start(labelling=Labelling(HOST))
    first, second = asking("uid-1", "c1"), asking("uid-2", "c2")
    lab.node.pods = [first]
    await manager.wait_ready(first)
    assert lab.driver.labelled_with == {("stage", "pv-a"): A, ("uid-1", "pv-a"): A}
    lab.node.pods = [first, second]
    with pytest.raises(VolumeError) as caught:
        await manager.wait_ready(second)
    # At once, not when its time is over.
    assert asyncio.get_running_loop().time() < 5
    assert caught.value.real
    assert str(caught.value) == (
        f"unmounted volumes=[data], unattached volumes=[], failed to process volumes=[data]: {CONFLICT}"
    )
    (story,) = manager.explain("uid-2")
    assert (story.volume, story.state, story.error) == ("data", "waiting", CONFLICT)
    # The first pod's containers are being ended.
    lab.node.ending.add("uid-1")
    manager.reconsider("uid-1")
    with pytest.raises(VolumeError, match="conflicting SELinux labels"):
        await manager.wait_ready(second)
    name = "volume_manager_selinux_volume_context_mismatch_errors_total"
    assert sample(lab.metrics, name, volume_plugin=f"{CSI}/d", access_mode="RWOP") == 1
    # They ended; the volume cannot be taken from it at first.
    lab.driver.errors["tear_down"] = VolumeError("busy")
    lab.node.over.add("uid-1")
    manager.reconsider("uid-1")
    waiting = asyncio.ensure_future(manager.wait_ready(second))  # noqa: TID251
    await lab.rest(0.1)
    (story,) = manager.explain("uid-2")
    assert story.state == "waiting"
    assert story.waits_for == f"{CSI}/d^a to be unmounted, which has another SELinux label for other pods"
    assert lab.calls.count("unstage") == 0
    lab.driver.errors["unstage"] = VolumeError("still busy")
    del lab.driver.errors["tear_down"]
    await lab.rest(2)
    (story,) = manager.explain("uid-2")
    assert (story.step, story.error) == ("unstage", "still busy")
    del lab.driver.errors["unstage"]
    await waiting
    assert lab.driver.labelled_with["stage", "pv-a"] == lab.driver.labelled_with["uid-2", "pv-a"] == B
    made = [call for call in lab.calls if call in ("stage", "set_up", "tear_down", "unstage")]
    assert made[-3:] == ["unstage", "stage", "set_up"]
    assert sample(lab.metrics, "volume_manager_selinux_volumes_admitted_total") == 2


@pytest.mark.looptime
async def test_with_the_same_label_it_stays_staged(lab):
    manager = await lab.start(labelling=Labelling(HOST))
    first, second = asking("uid-1", "c1"), asking("uid-2", "c1")
    lab.node.pods = [first]
    await manager.wait_ready(first)
    lab.node.pods = [second]
    await manager.wait_ready(second)
    assert (lab.calls.count("stage"), lab.calls.count("unstage")) == (1, 0)
    assert lab.driver.labelled_with["uid-2", "pv-a"] == A


@pytest.mark.looptime
async def test_the_gate_lets_other_volumes_have_labels(lab):
    lab.cluster.bound["a"] = bound("a", modes=["ReadWriteMany"])
    pods = [asking("uid-1", "c1"), asking("uid-2", "c2")]
    manager = await lab.start(labelling=Labelling(HOST))
    lab.node.pods = pods
    for pod in pods:
        await manager.wait_ready(pod)
    assert set(lab.driver.labelled_with.values()) == {""}
    await manager.stop()
    lab.driver.mounts.clear()
    lab.driver.staged.clear()
    manager = await lab.start(labelling=Labelling(HOST, every_mode=True))
    await manager.wait_ready(pods[0])
    with pytest.raises(VolumeError, match="conflicting SELinux labels"):
        await manager.wait_ready(pods[1])
    assert lab.driver.labelled_with["uid-1", "pv-a"] == A


@pytest.mark.looptime
async def test_where_it_is_off_nothing_is_asked(lab):
    manager = await lab.start()
    pod = asking("uid-1", "c1")
    lab.node.pods = [pod]
    await manager.wait_ready(pod)
    assert "labelled" not in lab.calls
    assert lab.driver.labelled_with == {("stage", "pv-a"): "", ("uid-1", "pv-a"): ""}
    assert b"volume_manager_selinux" not in lab.metrics.render()


@pytest.mark.looptime
async def test_what_only_directories_tell_of_is_undone_first(lab):
    """The machine was started anew, with another policy: nothing is mounted, but it was noted."""
    pod = asking("uid-1", "c1")
    lab.node.pods = [pod]
    lab.driver.staged.add("pv-a")
    lab.driver.label_found = "system_u:object_r:old_t:s0:c1"
    (lab.node.layout.pods / "uid-1/volumes/kubernetes.io~csi/pv-a").mkdir(parents=True)
    manager = await lab.start(labelling=Labelling(HOST))
    await manager.wait_ready(pod)
    made = [call for call in lab.calls if call != "labelled"]
    assert made == ["tear_down", "unstage", "stage", "set_up"]
    assert lab.driver.labelled_with == {("stage", "pv-a"): A, ("uid-1", "pv-a"): A}


@pytest.mark.looptime
async def test_who_is_refused_gives_up_what_an_earlier_boot_left(lab):
    """Two pods had a volume without a label; the machine was started anew, with the gate on."""
    lab.cluster.bound["a"] = bound("a", modes=["ReadWriteMany"])
    first, second = asking("uid-1", "c1"), asking("uid-2", "c2")
    lab.node.pods = [first, second]
    lab.driver.staged.add("pv-a")
    lab.driver.label_found = ""
    for uid in ("uid-1", "uid-2"):
        (lab.node.layout.pods / uid / "volumes/kubernetes.io~csi/pv-a").mkdir(parents=True)
    manager = await lab.start(labelling=Labelling(HOST, every_mode=True))
    await manager.wait_ready(first)
    assert lab.driver.labelled_with == {("stage", "pv-a"): A, ("uid-1", "pv-a"): A}
    assert [call for call in lab.driver.calls if call[0] == "tear_down"] == [
        ("tear_down", "uid-1", "pv-a"),
        ("tear_down", "uid-2", "pv-a"),
    ]
    with pytest.raises(VolumeError, match="conflicting SELinux labels"):
        await manager.wait_ready(second)


@pytest.mark.looptime
async def test_a_pod_keeps_what_cannot_be_read(lab):
    """The gate was off before, and the note in the pod's directory is damaged: its containers still run."""
    lab.cluster.bound["a"] = bound("a", modes=["ReadWriteMany"])
    pod = asking("uid-1", "c1")
    manager = await lab.start(labelling=Labelling(HOST))
    lab.node.pods = [pod]
    await manager.wait_ready(pod)
    await manager.stop()
    (lab.node.layout.pods / "uid-1/volumes/kubernetes.io~csi/pv-a").mkdir(parents=True)
    lab.driver.unreadable.add("pv-a")
    lab.driver.label_found = ""
    lab.driver.calls.clear()
    manager = await lab.start(labelling=Labelling(HOST, every_mode=True))
    await manager.wait_ready(pod)
    assert "tear_down" not in lab.calls
    assert "unstage" not in lab.calls
    assert lab.driver.labelled_with["uid-1", "pv-a"] == ""


def test_what_is_known_of_a_devices_label():
    devices, device = Devices(), Device("d", "pv")
    assert devices.label("d") is None
    devices.found(device, CSI)
    assert devices.label("d") is None
    # The pods' mounts are found before what they rest on.
    devices.found(replace(device, label="a"), CSI)
    devices.found(replace(device, label="b"), CSI)
    assert devices.label("d") == "a"
    devices.staged(device, CSI, "b")
    assert devices.label("d") == "b"
    devices.uncertain("d")
    devices.stage_failed(device, CSI, "c", "nothing")
    assert (devices.label("d"), devices.states()["d"].staged) == (None, None)
    devices.stage_failed(device, CSI, "c", "unchanged")
    assert devices.label("d") is None
    devices.stage_failed(device, CSI, "c", "something")
    assert devices.label("d") == "c"
    devices.unstaged("d")
    assert devices.label("d") is None
