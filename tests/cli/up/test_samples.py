"""The sample manifests that are shipped: valid, and runnable offline."""

import pytest

from pykubelet.api import yaml
from pykubelet.api.codec import convert, unknown_fields
from pykubelet.api.core import Pod
from pykubelet.cli.up.images import BUSYBOX
from pykubelet.cli.up.session import sample_manifests


def test_there_is_one_of_each_kind() -> None:
    assert set(sample_manifests()) == {
        "sample-crasher.yaml",
        "sample-job.yaml",
        "sample-sidecar.yaml",
        "sample-web.yaml",
    }


@pytest.mark.parametrize("name", sorted(sample_manifests()))
def test_a_sample_is_a_pod_that_needs_no_registry(name: str) -> None:
    (document,) = yaml.load_all(sample_manifests()[name])
    assert unknown_fields(document, Pod) == []
    pod = convert(document, Pod)
    assert name == f"sample-{pod.metadata.name}.yaml"
    assert pod.spec.dnsPolicy == "Default"
    containers = [*pod.spec.containers, *(pod.spec.initContainers or [])]
    assert {(c.image, c.imagePullPolicy) for c in containers} == {(BUSYBOX, "Never")}
