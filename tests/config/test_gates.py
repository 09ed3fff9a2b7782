import pytest

from pykubelet.config.gates import FeatureGates, known
from pykubelet.config.gatetable import DEPENDENCIES
from pykubelet.config.types import ConfigError


@pytest.mark.parametrize(
    ("name", "stage", "default", "locked"),
    [
        ("NodeSwap", "", True, True),
        ("CustomCPUCFSQuotaPeriod", "", True, False),
        ("KubeletCrashLoopBackOffMax", "BETA", True, False),
        ("SELinuxMount", "BETA", False, False),
        ("EventedPLEG", "ALPHA", False, False),
        ("GitRepoVolumeDriver", "DEPRECATED", False, True),
        ("DisableNodeKubeProxyVersion", "DEPRECATED", True, True),
        ("DisableCPUQuotaWithExclusiveCPUs", "DEPRECATED", True, False),
        ("AllAlpha", "ALPHA", False, False),
    ],
)
def test_some_gates(name: str, stage: str, default: bool, locked: bool) -> None:
    gate = known()[name]
    assert (gate.stage, gate.default, gate.locked) == (stage, default, locked)


def test_dependencies_are_known_gates() -> None:
    assert set(DEPENDENCIES) | {need for needs in DEPENDENCIES.values() for need in needs} <= set(known())


def test_defaults_hold_together() -> None:
    gates = FeatureGates()
    assert gates.enabled("KubeletCrashLoopBackOffMax")
    assert not gates.enabled("EventedPLEG")
    assert {name for name, _, _ in gates.stages()} == set(known())


def test_all_alpha_and_all_beta_leave_named_gates_alone() -> None:
    gates = FeatureGates({"AllAlpha": True, "AllBeta": True, "EventedPLEG": False})
    assert not gates.enabled("EventedPLEG")
    assert gates.enabled("MemoryQoS")
    assert gates.enabled("SELinuxMount")
    assert not gates.enabled("AllowDNSOnlyNodeCSR")
    assert not FeatureGates({"AllBeta": False}).enabled("ContainerCheckpoint")


@pytest.mark.parametrize(
    ("wanted", "text"),
    [
        ({"Bogus": True}, "unrecognized feature gate: Bogus"),
        ({"NodeSwap": False}, "cannot set feature gate NodeSwap to false, feature is locked to true"),
        ({"ContainerRestartRules": False}, "RestartAllContainersOnContainerExits is enabled, but depends on"),
    ],
)
def test_refusals(wanted: dict[str, bool], text: str) -> None:
    with pytest.raises(ConfigError, match="invalid configuration: featureGates: ") as caught:
        FeatureGates(wanted)
    assert text in str(caught.value)


def test_setting_a_gate_that_goes_away_warns() -> None:
    (warning,) = FeatureGates({"NodeSwap": True, "EventedPLEG": True}).warnings()
    assert "GA feature gate NodeSwap=true" in warning
