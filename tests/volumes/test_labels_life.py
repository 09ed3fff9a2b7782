"""The whole life of a node whose pods need SELinux labels: no volume has two, no pod loses what it has."""

from hypothesis import example, given, settings
from hypothesis import strategies as st
from tests.volumes.test_reconcile_life import ALONE, SHARED, UIDS, World, apply, device_of, made, moves

from pykubelet.api.core import PodSecurityContext, SELinuxOptions
from pykubelet.base.metrics import Metrics
from pykubelet.linux.selinux import SELinux
from pykubelet.volumes.label_measures import labels_for
from pykubelet.volumes.selinux import Labelling
from pykubelet.volumes.state import VolumeKey
from pykubelet.volumes.stories import stories

HOST = SELinux("u:r:container_t:s0", "u:r:file_t:s0")
#: Two pods get on with each other.
LEVELS = dict(zip(UIDS, ("s0:a", "s0:a", "s0:b"), strict=True))


def labelled(uid):
    pod = made(uid)
    options = SELinuxOptions(level=LEVELS[uid])
    pod.spec.securityContext = PodSecurityContext(seLinuxOptions=options)
    return pod


class Labelled(World):
    def __init__(self):
        # The gate may be another one in each life.
        self.every_mode = True
        super().__init__(
            {uid: labelled(uid) for uid in UIDS},
            lambda: labels_for(Labelling(HOST, every_mode=self.every_mode), Metrics()),
        )

    def check(self, order):
        super().check(order)
        if order.refusal is not None or not order.device or order.kind not in ("stage", "mount"):
            return
        if order.device in self.staged:
            assert self.label[order.device] == self.label_of(order), "one label for all of a device"
        elif order.kind == "stage":
            assert not any(device_of(key) == order.device for key in self.mounts)


#: A pod got its volumes while the gate was off, another one comes while it is on.
HANDED_ON = [("restart", True), ("add", "pod-0"), ("settle", None), ("restart", True), ("add", "pod-1")]


@settings(max_examples=150, deadline=None)
@example(HANDED_ON, True)
@given(st.lists(st.one_of(moves, st.tuples(st.just("settle"), st.none())), max_size=50), st.booleans())
def test_one_label_for_each_volume(history, changes):
    world = Labelled()
    for move, value in history:
        if move == "restart" and changes:
            world.every_mode = not world.every_mode
        if move == "settle":
            # Without it few pods have all their volumes before the next restart.
            world.settle()
        else:
            apply(world, move, value)
            world.step()
    world.ready = True
    world.live &= world.named
    world.settle()
    asking = sorted(world.named & world.live)
    for device in (SHARED, ALONE):
        there = {key for key in world.mounts if device_of(key) == device.unique_name}
        assert {key.uid for key in there} <= set(asking)
        assert bool(there) == bool(asking)
        assert {world.label[key] for key in there} == ({world.label[device.unique_name]} if there else set())
    for uid in asking:
        shared = next(iter(key for key in world.mounts if key.uid == uid and key.name == "shared"), None)
        told = {each.volume: each for each in stories(world.book, world, uid, world.now)}["v-shared"]
        why = "conflicting SELinux labels" in told.error or "another SELinux label" in told.waits_for
        assert (shared is None) == why, "it has it, or is told why not"
        # What is mounted for each pod by itself knows no conflict.
        assert any(key == VolumeKey(uid, key.plugin, "bare") for key in world.mounts)
