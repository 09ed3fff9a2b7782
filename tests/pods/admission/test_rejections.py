import pytest

from pykubelet.base.metrics import Metrics
from pykubelet.pods.admission.rejections import Rejections, counted_as


@pytest.mark.parametrize(
    ("reason", "label"),
    [
        ("OutOfcpu", "OutOfcpu"),
        ("OutOfephemeral-storage", "OutOfephemeral-storage"),
        ("OutOfexample.com/gpu", "OutOfExtendedResources"),
        ("SysctlForbidden", "SysctlForbidden"),
        ("VolumeAttachmentLimitExceeded", "VolumeAttachmentLimitExceeded"),
        ("NodeAffinity", "Other"),
        ("TaintToleration", "Other"),
        ("whatever", "Other"),
    ],
)
def test_there_are_only_so_many_reasons(reason, label):
    assert counted_as(reason) == label


def test_they_are_counted():
    metrics = Metrics()
    rejections = Rejections(metrics)
    for reason in ("OutOfcpu", "OutOfcpu", "NodePorts", "NodeName"):
        rejections.count(reason)
    text = metrics.render().decode()
    assert 'kubelet_admission_rejections_total{reason="OutOfcpu"} 2.0\n' in text
    assert 'kubelet_admission_rejections_total{reason="Other"} 2.0\n' in text
