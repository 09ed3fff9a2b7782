"""The families about claims' volumes, word for word."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from pykubelet.api.core import Pod, PodSpec
from pykubelet.api.meta import ObjectMeta
from pykubelet.api.volume_usage import VolumeUsage
from pykubelet.api.volumes import EmptyDirVolumeSource, EphemeralVolumeSource, Volume
from pykubelet.api.volumes import PersistentVolumeClaimVolumeSource as Claim
from pykubelet.base.metrics import Metrics
from pykubelet.volumes.claim_stats import ClaimStats

NOW = datetime(2026, 1, 1, tzinfo=UTC)
USAGE = VolumeUsage(NOW, 1 << 20, 10 << 20, 9 << 20, 100, 3, 97)


def claim(name, of="data"):
    return Volume(name=name, persistentVolumeClaim=Claim(claimName=of))


class Node:
    def __init__(self):
        self.pods, self.usages = [], {}
        self.metrics = Metrics()
        self.metrics.add(ClaimStats(lambda: self.pods, lambda uid: self.usages.get(uid, {})))

    def add(self, name, *volumes, namespace="shop", **usages):
        pod = Pod(metadata=ObjectMeta(name=name, namespace=namespace, uid=name))
        pod.spec = PodSpec(volumes=list(volumes))
        self.pods.append(pod)
        self.usages[name] = usages

    def text(self):
        return self.metrics.render().decode()


def test_the_text():
    node = Node()
    node.add("web", claim("v"), Volume(name="own", emptyDir=EmptyDirVolumeSource()), v=USAGE, own=USAGE)
    assert node.text() == (
        "# HELP kubelet_volume_stats_capacity_bytes Capacity in bytes of the volume\n"
        "# TYPE kubelet_volume_stats_capacity_bytes gauge\n"
        'kubelet_volume_stats_capacity_bytes{namespace="shop",persistentvolumeclaim="data"} 1.048576e+07\n'
        "# HELP kubelet_volume_stats_available_bytes Number of available bytes in the volume\n"
        "# TYPE kubelet_volume_stats_available_bytes gauge\n"
        'kubelet_volume_stats_available_bytes{namespace="shop",persistentvolumeclaim="data"} 9.437184e+06\n'
        "# HELP kubelet_volume_stats_used_bytes Number of used bytes in the volume\n"
        "# TYPE kubelet_volume_stats_used_bytes gauge\n"
        'kubelet_volume_stats_used_bytes{namespace="shop",persistentvolumeclaim="data"} 1.048576e+06\n'
        "# HELP kubelet_volume_stats_inodes Maximum number of inodes in the volume\n"
        "# TYPE kubelet_volume_stats_inodes gauge\n"
        'kubelet_volume_stats_inodes{namespace="shop",persistentvolumeclaim="data"} 100.0\n'
        "# HELP kubelet_volume_stats_inodes_free Number of free inodes in the volume\n"
        "# TYPE kubelet_volume_stats_inodes_free gauge\n"
        'kubelet_volume_stats_inodes_free{namespace="shop",persistentvolumeclaim="data"} 97.0\n'
        "# HELP kubelet_volume_stats_inodes_used Number of used inodes in the volume\n"
        "# TYPE kubelet_volume_stats_inodes_used gauge\n"
        'kubelet_volume_stats_inodes_used{namespace="shop",persistentvolumeclaim="data"} 3.0\n'
    )


def test_health_is_told_where_a_driver_told_it():
    node = Node()
    node.add("web", claim("a", "ill"), claim("b", "well"), claim("c", "silent"))
    node.usages["web"] = {
        "a": replace(USAGE, abnormal=True, message="old"),
        "b": replace(USAGE, abnormal=False),
        "c": USAGE,
    }
    assert node.text().endswith(
        "# HELP kubelet_volume_stats_health_status_abnormal Abnormal volume health status. The count is "
        "either 1 or 0. 1 indicates the volume is unhealthy, 0 indicates volume is healthy\n"
        "# TYPE kubelet_volume_stats_health_status_abnormal gauge\n"
        'kubelet_volume_stats_health_status_abnormal{namespace="shop",persistentvolumeclaim="ill"} 1.0\n'
        'kubelet_volume_stats_health_status_abnormal{namespace="shop",persistentvolumeclaim="well"} 0.0\n'
    )


def used(node):
    lines = node.text().splitlines()
    return [line.partition("{")[2] for line in lines if line.startswith("kubelet_volume_stats_used_bytes{")]


def test_each_claim_is_told_once_as_it_was_measured_last():
    node = Node()
    later = replace(USAGE, time=NOW + timedelta(seconds=1), used_bytes=7)
    node.add("b", claim("v"), claim("again"), v=USAGE, again=USAGE)
    node.add("a", claim("v"), v=later)
    node.add("c", claim("v"), v=USAGE)
    node.add("d", claim("v"), namespace="bar", v=replace(USAGE, used_bytes=1))
    assert used(node) == [
        'namespace="bar",persistentvolumeclaim="data"} 1.0',
        'namespace="shop",persistentvolumeclaim="data"} 7.0',
    ]


def test_ephemeral_volumes_count_with_the_claim_that_was_made_for_them():
    node = Node()
    node.add("web-0", Volume(name="scratch", ephemeral=EphemeralVolumeSource()), scratch=USAGE)
    assert used(node) == ['namespace="shop",persistentvolumeclaim="web-0-scratch"} 1.048576e+06']


def test_what_is_not_known_is_zero_and_what_was_not_measured_is_not_told():
    node = Node()
    assert node.text() == ""
    node.add("web", claim("v"), claim("not-yet", "other"), v=VolumeUsage(NOW, capacity_bytes=5))
    assert used(node) == ['namespace="shop",persistentvolumeclaim="data"} 0.0']
