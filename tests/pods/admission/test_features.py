from pykubelet.api.core import ResourceRequirements
from pykubelet.api.quantity import Quantity
from pykubelet.pods.admission.features import PodFeatures


def test_pod_level_resources(make_pod):
    pod = make_pod(resources=ResourceRequirements(limits={"cpu": Quantity.of(1)}))
    assert PodFeatures().admit(pod, []) is None
    assert PodFeatures(pod_level_resources=False).admit(make_pod(), []) is None
    rejection = PodFeatures(pod_level_resources=False).admit(pod, [])
    assert rejection is not None
    assert rejection.reason == "PodLevelResourcesNotSupported"
    assert rejection.message == "PodLevelResources feature gate is disabled"
