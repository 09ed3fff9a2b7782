"""Which features are declared."""

import pytest

from pykubelet.config import FeatureGates
from pykubelet.node.features import declared_features

RESIZES = ["InPlacePodLevelResourcesVerticalScaling", "InPlacePodVerticalScalingInitContainers"]


@pytest.mark.parametrize(
    ("wanted", "runtime", "names"),
    [
        ({}, False, ["ExtendWebSocketsToKubelet", *RESIZES, "RestartAllContainersOnContainerExits"]),
        ({}, True, ["ExtendWebSocketsToKubelet", *RESIZES, "RestartAllContainersOnContainerExits"]),
        ({"ExtendWebSocketsToKubelet": False}, False, [*RESIZES, "RestartAllContainersOnContainerExits"]),
        (
            {"AllAlpha": True, "ExtendWebSocketsToKubelet": False},
            False,
            [*RESIZES, "RestartAllContainersOnContainerExits"],
        ),
        (
            {"UserNamespacesHostNetworkSupport": True},
            True,
            [
                "ExtendWebSocketsToKubelet",
                *RESIZES,
                "RestartAllContainersOnContainerExits",
                "UserNamespacesHostNetworkSupport",
            ],
        ),
    ],
)
def test_features_are_declared_where_their_gates_are_on(wanted, runtime, names) -> None:
    gates = FeatureGates(wanted)
    assert declared_features(gates.enabled, user_namespaces_host_network=runtime) == names


def test_nothing_is_declared_without_the_gate_of_declaring() -> None:
    assert declared_features(lambda gate: gate != "NodeDeclaredFeatures") == []
