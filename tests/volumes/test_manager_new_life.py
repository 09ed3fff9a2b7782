"""The manager with persistent volumes in an outage, and in the life after another."""

import errno

import pytest
from tests.volumes.fake_driver import CSI, bound, sample
from tests.volumes.lab import A, claiming, leave
from tests.volumes.managed import until

from pykubelet.base.errors import VolumeError


@pytest.mark.looptime
async def test_an_hour_without_the_api_server_takes_nothing_from_pods(lab):
    lab.driver.attaches = True
    lab.cluster.written, lab.cluster.attached_to = {A}, {A: ""}
    lab.node.pods = [pod] = [claiming(data="a")]
    manager = await lab.start()
    await manager.wait_ready(pod)
    lab.cluster.error = VolumeError("the server is away", left="unchanged")
    for _ in range(60):
        # As when a container is started again.
        await lab.rest(60)
        await manager.wait_ready(pod)
    assert (lab.calls, lab.cluster.used) == (["stage", "set_up"], {A})
    decisions = [decision for decision, _ in lab.node.story.decisions]
    assert decisions.count("VolumeResolveFailed") == 1, "the journal keeps other things too"
    assert len(lab.cluster.asked) < 200
    lab.node.over.add("uid-1")
    await manager.wait_gone(pod)


@pytest.mark.looptime
async def test_a_new_life_takes_over(lab):
    leave(lab, "uid-1", "pv-a")
    leave(lab, "uid-2", "pv-b")
    lab.driver.attaches = True
    lab.cluster.attached_to = {A: "/dev/sda", f"{CSI}/d^b": "/dev/sdb"}
    lab.cluster.error = VolumeError("the server is away", left="unchanged")
    lab.node.pods = [pod] = [claiming(data="a")]
    manager = await lab.start()
    manager.reconsider("uid-1")
    await lab.rest(60)
    assert (lab.calls, lab.cluster.used) == ([], None), "nothing before the node's status was read"
    lab.cluster.error = None
    await lab.rest(11)
    assert lab.cluster.used == {A}
    await manager.wait_ready(pod)
    await until(lambda: "unstage" in lab.calls)
    assert set(lab.driver.calls) == {
        ("stage", "pv-a", "/dev/sda"),
        ("set_up", "uid-1", "pv-a"),
        ("tear_down", "uid-2", "pv-b"),
        ("unstage", f"{CSI}/d^b"),
    }
    assert sample(lab.metrics, "reconstruct_volume_operations_total") == 2


@pytest.mark.looptime
async def test_what_is_found_stays_uncertain_when_setting_it_up_fails(lab):
    leave(lab, "uid-1", "pv-a")
    lab.driver.errors["set_up"] = VolumeError("no", left="nothing")
    lab.node.pods = [pod] = [claiming(data="a")]
    manager = await lab.start()
    manager.reconsider("uid-1")
    await lab.rest(5)
    lab.node.over.add("uid-1")
    await manager.wait_gone(pod)
    assert lab.calls[-1] == "tear_down", "it may be mounted since before"


@pytest.mark.looptime
async def test_a_device_that_cannot_be_read_is_cleaned_up_as_one(lab):
    link = lab.node.layout.pod_devices("uid-9") / CSI.replace("/", "~") / "pv-z"
    link.parent.mkdir(parents=True)
    link.symlink_to("/gone")
    lab.driver.unreadable.add("pv-z")
    await lab.start()
    await lab.rest(300)
    assert lab.driver.calls == [("tear_down", "uid-9", "pv-z", "block")]


@pytest.mark.looptime
async def test_a_device_that_no_link_of_its_pod_tells_of_is_found(lab):
    """The Go kubelet was killed while the driver published it: nothing is in the pod's directory yet."""
    lab.driver.devices |= {("uid-9", "pv-z"), ("uid-1", "pv-a")}
    lab.driver.mounts |= lab.driver.devices
    lab.driver.staged.add("pv-z")
    pv, claim = bound("a", volumeMode="Block")
    lab.cluster.bound["a"] = (pv, claim)
    lab.node.pods = [pod] = [claiming(data="a")]
    manager = await lab.start()
    await manager.wait_ready(pod)
    await until(lambda: lab.calls[-1] == "unstage")
    assert [call for call in lab.driver.calls if call[0] in ("tear_down", "unstage")] == [
        ("tear_down", "uid-9", "pv-z", "block"),
        ("unstage", f"{CSI}/d^z"),
    ]


@pytest.mark.looptime
@pytest.mark.parametrize("works", [True, False])
async def test_what_cannot_be_read_is_cleaned_up_once(lab, works):
    leave(lab, "uid-9", "pv-z")
    lab.driver.staged.clear()
    lab.driver.unreadable.add("pv-z")
    if not works:
        lab.driver.errors["tear_down"] = VolumeError("no vol_data.json")
    await lab.start()
    await lab.rest(300)
    assert lab.calls == ["tear_down"]
    assert sample(lab.metrics, "reconstruct_volume_operations_errors_total") == 1
    assert sample(lab.metrics, "force_cleaned_failed_volume_operations_total") == 1
    failed = sample(lab.metrics, "force_cleaned_failed_volume_operation_errors_total")
    assert failed == (0 if works else 1)


@pytest.mark.looptime
async def test_what_rests_on_nobody_knows_what_keeps_all_that_was_staged(lab):
    """A pod runs with a volume whose notes are lost, and its claim cannot be read."""
    leave(lab, "uid-1", "pv-a")
    lab.driver.unreadable.add("pv-a")
    lab.cluster.bound.clear()
    lab.node.pods = [pod] = [claiming(data="a")]
    manager = await lab.start()
    await lab.rest(300)
    assert not {"VolumeUnstage", "VolumeUnmount"} & {decision for decision, _ in lab.node.story.decisions}
    lab.cluster.bound["a"] = bound("a")
    manager.reconsider("uid-1")
    await manager.wait_ready(pod)
    assert lab.calls == ["stage", "set_up"]
    lab.node.pods = []
    lab.node.over.add("uid-1")
    await until(lambda: lab.calls[-1] == "unstage")


@pytest.mark.looptime
async def test_a_corrupt_mount_is_taken_away_first(lab, monkeypatch):
    lab.driver.paths["uid-1", "pv-a"] = "/dead"
    manager = await lab.start()

    def stat(path):
        code = errno.ENOTCONN if path == "/dead" else errno.ENOENT
        raise OSError(code, "gone", path)

    monkeypatch.setattr("pykubelet.volumes.mountpoint.os.stat", stat)
    lab.node.pods = [pod] = [claiming(data="a")]
    await manager.wait_ready(pod)
    assert lab.calls == ["stage", "tear_down", "set_up"]


@pytest.mark.looptime
async def test_a_server_that_trusts_no_foreign_root_keeps_its_mount(lab, monkeypatch):
    manager = await lab.start()

    def stat(path):
        raise PermissionError(errno.EACCES, "no", path)

    monkeypatch.setattr("pykubelet.volumes.mountpoint.os.stat", stat)
    lab.node.pods = [pod] = [claiming(data="a")]
    await manager.wait_ready(pod)
    assert lab.calls == ["stage", "set_up"]
