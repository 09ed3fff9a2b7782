"""Which pod gets a volume with which label: the cases of upstream's end-to-end tests, and more."""

import pytest
from tests.volumes.fake_driver import CSI, bound, sample

from pykubelet.api.core import Container, Pod, PodSecurityContext, PodSpec, SELinuxOptions
from pykubelet.api.core import SecurityContext as Own
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.volumes import CSIVolumeSource, PersistentVolumeClaimVolumeSource, Volume, VolumeMount
from pykubelet.base.metrics import Metrics
from pykubelet.linux.selinux import SELinux
from pykubelet.volumes.label_measures import labels_for
from pykubelet.volumes.plugin import Device
from pykubelet.volumes.selinux import Labelling
from pykubelet.volumes.spec import VolumeSpec
from pykubelet.volumes.state import Resolved, VolumeKey, Wanted

HOST = SELinux("system_u:system_r:container_t:s0", "system_u:object_r:container_file_t:s0")
RWOP, RWO = "ReadWriteOncePod", "ReadWriteOnce"


def file(level):
    return f"system_u:object_r:container_file_t:s0:{level}"


A, B = file("a"), file("b")


def pod_of(uid, level=None, policy=None, *, others=()):
    """A pod whose containers have the volume; *others* are levels of more of them."""
    shared = SELinuxOptions(level=f"s0:{level}") if level is not None else None
    mounts = [VolumeMount(name="v")]
    containers = [Container(name="box", volumeMounts=mounts)]
    containers += [
        Container(
            name=f"box-{other}",
            volumeMounts=mounts,
            securityContext=Own(seLinuxOptions=SELinuxOptions(level=f"s0:{other}")),
        )
        for other in others
    ]
    context = PodSecurityContext(seLinuxOptions=shared, seLinuxChangePolicy=policy)
    return Pod(metadata=ObjectMeta(uid=uid), spec=PodSpec(securityContext=context, containers=containers))


def wanted_by(pod, mode=RWOP, *, labelled=True):
    pv, _ = bound("data", modes=[mode])
    spec = VolumeSpec(Volume(name="v", persistentVolumeClaim=PersistentVolumeClaimVolumeSource()), pv)
    device = Device(f"{CSI}/d^data", "pv-data")
    resolved = Resolved(spec, CSI, device, labelled=labelled)
    return Wanted(VolumeKey(pod.metadata.uid, CSI, "pv-data"), pod, spec.volume, resolved, {"v": spec})


class World:
    def __init__(self, *, every_mode=False, host=HOST):
        self.metrics = Metrics()
        self.labels = labels_for(Labelling(host, every_mode=every_mode), self.metrics)
        self.asked, self.kept, self.there = {}, set(), {}

    def add(self, *wanted):
        for each in wanted:
            self.asked.setdefault(each.key.uid, {})[each.key] = each
            self.kept.add(each.key.uid)

    def settle(self):
        """The label that each pod is given its volume with, or why it is not."""
        self.given = self.labels.settle(self.asked, self.kept, lambda wanted: self.there.get(wanted.key))
        told = {
            uid: each.resolved.spec.label for uid, volumes in self.given.items() for each in volumes.values()
        }
        return told | {uid: self.labels.refusals(uid)["v"] for uid in self.labels.refused}

    def counted(self):
        """All metrics that are not 0, in short."""
        found = {}
        for line in self.metrics.render().decode().splitlines():
            head, _, value = line.rpartition(" ")
            if head.startswith("volume_manager_selinux_") and float(value):
                name = head.removeprefix("volume_manager_selinux_").partition("{")[0]
                found[name.removesuffix("_total")] = float(value)
        return found


def conflict(first, second):
    return f'conflicting SELinux labels of volume pv-data: "{first}" and "{second}"'


WARNED, FAILED = "volume_context_mismatch_warnings", "volume_context_mismatch_errors"


@pytest.mark.parametrize(
    ("mode", "every", "first", "second", "labels", "counted"),
    [
        # (level, policy) of two pods; what they get; what is counted beside one volume admitted.
        (RWOP, False, ("a",), ("a",), (A, A), {}),
        (RWOP, False, ("a",), ("b",), (A, conflict(A, B)), {FAILED: 1}),
        (RWOP, False, ("a", "MountOption"), ("b", "MountOption"), (A, conflict(A, B)), {FAILED: 1}),
        (RWOP, True, ("a",), ("b",), (A, conflict(A, B)), {FAILED: 1}),
        (RWOP, False, ("a",), ("a", "Recursive"), (A, conflict(A, "")), {FAILED: 1}),
        (RWOP, False, ("a",), (None,), (A, conflict(A, "")), {FAILED: 1}),
        (RWO, False, ("a",), ("a",), ("", ""), {}),
        (RWO, False, ("a",), ("b",), ("", ""), {WARNED: 1}),
        (RWO, False, ("a",), ("a", "Recursive"), ("", ""), {WARNED: 1}),
        (RWO, True, ("a",), ("a",), (A, A), {}),
        (RWO, True, ("a",), ("b",), (A, conflict(A, B)), {FAILED: 1}),
        (RWO, True, ("a",), ("a", "Recursive"), (A, conflict(A, "")), {FAILED: 1}),
        ("ReadWriteMany", True, ("a", "MountOption"), ("a",), (A, A), {}),
        ("ReadOnlyMany", True, ("a",), ("b",), (A, conflict(A, B)), {FAILED: 1}),
    ],
)
def test_two_pods_of_one_volume(mode, every, first, second, labels, counted):
    world = World(every_mode=every)
    world.add(wanted_by(pod_of("1", *first), mode), wanted_by(pod_of("2", *second), mode))
    for _ in range(3):
        assert world.settle() == {"1": labels[0], "2": labels[1]}
    assert world.counted() == {"volumes_admitted": 1, **counted}


@pytest.mark.parametrize("every", [False, True])
def test_pods_that_opt_out_share_what_they_like(every):
    world = World(every_mode=every)
    world.add(wanted_by(pod_of("1", "a", "Recursive"), RWO), wanted_by(pod_of("2", "b", "Recursive"), RWO))
    assert world.settle() == {"1": "", "2": ""}
    assert world.counted() == {}
    world.add(wanted_by(pod_of("3", "a"), RWO))
    assert world.settle()["3"] == (conflict("", A) if every else "")


def test_the_metrics_names_and_labels():
    world = World()
    world.add(wanted_by(pod_of("1", "a")), wanted_by(pod_of("2", "b")))
    world.settle()
    at = {"volume_plugin": f"{CSI}/d", "access_mode": "RWOP"}
    for name in ("volumes_admitted_total", "volume_context_mismatch_errors_total"):
        assert sample(world.metrics, f"volume_manager_selinux_{name}", **at) == 1
    for trouble in ("container", "pod_context_mismatch", "volume_context_mismatch"):
        for kind in ("errors", "warnings"):
            name = f"volume_manager_selinux_{trouble}_{kind}_total"
            assert f"# TYPE {name} gauge" in world.metrics.render().decode()


@pytest.mark.parametrize(("mode", "fatal"), [(RWOP, True), (RWO, False)])
def test_containers_of_one_pod_that_differ(mode, fatal):
    world = World()
    world.add(wanted_by(pod_of("1", "b", others=["a"]), mode))
    told = f"multiple SELinux labels found: {A},{B}" if fatal else ""
    assert world.settle() == world.settle() == {"1": told}
    kind = "errors" if fatal else "warnings"
    assert world.counted() == {f"pod_context_mismatch_{kind}": 1}
    name = f"volume_manager_selinux_pod_context_mismatch_{kind}_total"
    assert sample(world.metrics, name, access_mode="RWOP" if fatal else "RWO") == 1


@pytest.mark.parametrize(("mode", "fatal"), [(RWOP, True), (RWO, False)])
def test_a_policy_that_cannot_be_read(mode, fatal):
    world = World(host=SELinux("broken", "broken"))
    world.add(wanted_by(pod_of("1", "a"), mode))
    (told,) = world.settle().values()
    assert told.startswith("failed to construct SELinux label from context" if fatal else "")
    assert bool(told) is fatal
    assert world.counted() == {f"container_{'errors' if fatal else 'warnings'}": 1}


def test_a_container_of_which_only_the_runtime_knows():
    world = World()
    pod = pod_of("1", "a")
    pod.spec.containers.append(
        Container(
            name="any",
            volumeMounts=[VolumeMount(name="v")],
            securityContext=Own(seLinuxOptions=SELinuxOptions(type="spc_t")),
        )
    )
    world.add(wanted_by(pod))
    assert world.settle() == {"1": ""}
    assert world.counted() == {}


def test_plug_ins_that_cannot_are_left_alone():
    world = World(every_mode=True)
    world.add(wanted_by(pod_of("1", "a"), labelled=False), wanted_by(pod_of("2", "b"), labelled=False))
    world.add(wanted_by(pod_of("3", "b", others=["a"]), labelled=False))
    # Local volumes say what they were staged with, too.
    world.there = {key: "" for volumes in world.asked.values() for key in volumes}
    assert world.settle() == {"1": "", "2": "", "3": ""}
    assert world.counted() == {}
    assert all(
        world.given[uid][key] is each for uid, volumes in world.asked.items() for key, each in volumes.items()
    )


def test_a_pods_own_volume_is_only_counted():
    world = World(every_mode=True)
    for uid, level in (("1", "a"), ("2", "b")):
        spec = VolumeSpec(Volume(name="v", csi=CSIVolumeSource(driver="d")))
        key = VolumeKey(uid, CSI, "v")
        world.add(
            Wanted(key, pod_of(uid, level), spec.volume, Resolved(spec, CSI, labelled=True), {"v": spec})
        )
    assert world.settle() == {"1": "", "2": ""}
    assert world.counted() == {"volumes_admitted": 2}
    assert sample(world.metrics, "volume_manager_selinux_volumes_admitted_total", access_mode="inline") == 2


def test_the_label_ends_with_the_last_pod():
    world = World()
    world.add(wanted_by(pod_of("1", "a")), wanted_by(pod_of("2", "b")))
    assert world.settle() == {"1": A, "2": conflict(A, B)}
    # Its containers are being ended: it asks for nothing more.
    del world.asked["1"]
    assert world.settle() == {"2": conflict(A, B)}
    world.kept.discard("1")
    assert world.settle() == {"2": B}
    assert world.labels.refused == set()
    assert world.counted() == {"volumes_admitted": 2, FAILED: 1}


def test_a_pod_that_asks_for_it_no_more():
    world = World()
    world.add(wanted_by(pod_of("1", "a")), wanted_by(pod_of("2", "b")))
    world.settle()
    world.asked["1"] = {}
    assert world.settle() == {"2": B}


def test_what_a_pod_has_stays_as_it_is():
    world = World(every_mode=True)
    first, second, third = (wanted_by(pod_of(uid, level), RWO) for uid, level in ("1a", "2b", "3b"))
    world.add(third, first, second)
    # An earlier life, with the gate off, gave it to two pods without a label.
    world.there = {first.key: "", second.key: ""}
    assert world.settle() == {"1": "", "2": "", "3": conflict(A, B)}
    # It comes later: sources are seen one after the other.
    world = World(every_mode=True)
    world.add(third)
    assert world.settle() == {"3": B}
    world.there = {first.key: A}
    world.add(first)
    assert world.settle() == {"1": A, "3": B}


@pytest.mark.parametrize(
    ("every", "there", "same", "other"),
    [
        # The gate was off in an earlier life: the runtime labels the files, for the others, too.
        (True, "", "", conflict(A, B)),
        # It was on.
        (False, A, A, ""),
        # What the first pod has is of another policy: nobody else could use it.
        (True, "u:object_r:old_t:s0", A, conflict(A, B)),
        (False, "u:object_r:old_t:s0", "", ""),
    ],
)
def test_what_a_pod_has_is_shared_as_it_is(every, there, same, other):
    """In a rolling update the old pod waits for the new one: the new one must not wait for its end."""
    world = World(every_mode=every)
    first, second, third = (wanted_by(pod_of(uid, level), RWO) for uid, level in ("1a", "2a", "3b"))
    world.add(third, second, first)
    world.there = {first.key: there}
    assert world.settle() == world.settle() == {"1": there, "2": same, "3": other}
    # Once it is gone, and all that share it, the next one has the label that it needs.
    for gone in (first, second):
        del world.asked[gone.key.uid]
        world.kept.discard(gone.key.uid)
    assert world.settle() == {"3": B if every else ""}


def test_a_driver_that_gave_up_labels():
    world = World()
    first, second = wanted_by(pod_of("1", "a")), wanted_by(pod_of("2", "a"))
    world.add(first)
    world.settle()
    before = world.given["1"][first.key]
    assert world.settle() == {"1": A}
    assert world.given["1"][first.key] is before
    world.add(wanted_by(first.pod, labelled=False), wanted_by(second.pod, labelled=False))
    assert world.settle() == {"1": A, "2": A}
    # Another life.
    world.labels = labels_for(Labelling(HOST), Metrics())
    world.there = {first.key: A, second.key: A}
    assert world.settle() == {"1": A, "2": A}
    assert labels_for(None, world.metrics) is None
