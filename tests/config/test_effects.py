"""Every field and flag is either honoured or on the list of those that are not yet."""

from pykubelet.config import effects
from pykubelet.config.defaults import POINTERS, legacy
from pykubelet.config.effects import (
    EFFECTIVE,
    EFFECTIVE_FLAGS,
    NOT_YET,
    NOT_YET_FLAGS,
    PARTLY,
    idle,
    leaves,
)
from pykubelet.config.flagtable import all_flags
from pykubelet.config.gates import FeatureGates
from pykubelet.config.types import KubeletConfiguration, KubeletFlags


def test_every_field_is_on_one_list() -> None:
    assert not EFFECTIVE & NOT_YET
    assert not PARTLY.keys() & (EFFECTIVE | NOT_YET)
    assert {path for path, _ in leaves(KubeletConfiguration())} == EFFECTIVE | NOT_YET | PARTLY.keys()


def test_every_flag_is_on_one_list() -> None:
    assert not EFFECTIVE_FLAGS & set(NOT_YET_FLAGS)
    assert set(KubeletFlags.__struct_fields__) == EFFECTIVE_FLAGS | set(NOT_YET_FLAGS)
    by_field = {flag.target: f"--{flag.name}" for flag in all_flags()}
    assert {field: by_field[f"flags.{field}"] for field in NOT_YET_FLAGS} == NOT_YET_FLAGS


def test_every_flag_of_the_configuration_has_a_listed_field() -> None:
    targets = {
        flag.target.removeprefix("config.") for flag in all_flags() if flag.target.startswith("config.")
    }
    assert targets <= EFFECTIVE | NOT_YET | PARTLY.keys()


def test_defaults_name_nothing() -> None:
    gates = FeatureGates()
    assert idle(KubeletFlags(), legacy(gates)) == []
    assert idle(KubeletFlags(), KubeletConfiguration()) == []


def test_what_is_set_is_named() -> None:
    config = legacy(FeatureGates())
    config.volumePluginDir = "/x"
    config.evictionHard = {"memory.available": "1Gi"}
    config.memorySwap.swapBehavior = "NoSwap"
    config.maxPods = 5
    assert idle(KubeletFlags(lockFile="/x"), config) == [
        "volumePluginDir",
        "--lock-file",
        "evictionHard (only reserves resources, no pod is evicted yet)",
    ]


def test_zeros_that_count_are_listed_for_every_bool_that_defaults_to_true() -> None:
    on = {
        name
        for name in KubeletConfiguration.__struct_fields__
        if getattr(KubeletConfiguration(), name) is True
    }
    assert on <= POINTERS[KubeletConfiguration]
    assert POINTERS[KubeletConfiguration] <= set(KubeletConfiguration.__struct_fields__)


def test_harmless_values_are_of_known_fields() -> None:
    assert {path for path, _ in effects._HARMLESS} <= NOT_YET
