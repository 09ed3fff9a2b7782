"""Feature gates: which of them are on, given what the user asked for.

Source: the gates' own table (`gatetable`), and the rules of component-base/featuregate: an
unknown gate or a locked one set off its default is an error, ``AllAlpha`` and ``AllBeta`` set
every gate of their stage that is not named itself, and a gate that is on needs the gates it
builds upon.
"""

from collections.abc import Mapping
from functools import cached_property

from ..base.gotext import aggregate
from .gatetable import DEPENDENCIES, GATES
from .types import ConfigError

_STAGE_OF = {"AllAlpha": "ALPHA", "AllBeta": "BETA"}


class Gate:
    """One feature gate: *stage* is ALPHA, BETA, DEPRECATED or empty (generally available)."""

    __slots__ = ("default", "locked", "name", "stage")

    def __init__(self, name: str, stage: str, default: bool, locked: bool) -> None:
        self.name = name
        self.stage = stage
        self.default = default
        self.locked = locked


def known() -> dict[str, Gate]:
    """Every gate by name, ``AllAlpha`` and ``AllBeta`` among them."""
    gates = {
        name: Gate(name, stage, default, locked)
        for stage, default, locked, names in GATES
        for name in names.split()
    }
    for name, stage in _STAGE_OF.items():
        gates[name] = Gate(name, stage, False, False)
    return dict(sorted(gates.items()))


class FeatureGates:
    """The gates as they stand for this run."""

    def __init__(self, wanted: Mapping[str, bool] | None = None) -> None:
        """Settle the gates.

        :raises ConfigError: unknown gate, locked gate, or a gate on whose needs are off.
        """
        self._known = known()
        self._wanted = dict(wanted or {})
        errors = [error for name, on in sorted(self._wanted.items()) if (error := self._refusal(name, on))]
        if errors:
            raise ConfigError(f"invalid configuration: featureGates: {aggregate(errors)}")
        missing = [
            f"{name} is enabled, but depends on features that are disabled: {', '.join(off)}"
            for name, needs in DEPENDENCIES.items()
            if self.enabled(name) and (off := [need for need in needs if not self.enabled(need)])
        ]
        if missing:
            raise ConfigError(f"invalid configuration: featureGates: {aggregate(missing)}")

    def _refusal(self, name: str, on: bool) -> str:
        gate = self._known.get(name)
        if gate is None:
            return f"unrecognized feature gate: {name}"
        if gate.locked and gate.default != on:
            return (
                f"cannot set feature gate {name} to {str(on).lower()}, "
                f"feature is locked to {str(gate.default).lower()}"
            )
        return ""

    def enabled(self, name: str) -> bool:
        """Whether the gate is on.

        :raises KeyError: no such gate: a mistake in our own code.
        """
        return self.as_map[name]

    @cached_property
    def as_map(self) -> dict[str, bool]:
        """Every gate and whether it is on, in the order of names."""
        state = {name: gate.default for name, gate in self._known.items()}
        for special, stage in _STAGE_OF.items():
            if special in self._wanted:
                state.update(
                    (name, self._wanted[special])
                    for name, gate in self._known.items()
                    if gate.stage == stage and not gate.locked and name not in _STAGE_OF
                )
        state.update(self._wanted)
        return state

    def warnings(self) -> list[str]:
        """Name the gates set by the user that will go away with their stage."""
        return [
            f"setting {'deprecated' if stage else 'GA'} feature gate {name}={str(on).lower()}; "
            "it will be removed in a future release"
            for name, on in sorted(self._wanted.items())
            if (stage := self._known[name].stage) in ("", "DEPRECATED")
        ]

    def stages(self) -> list[tuple[str, str, bool]]:
        """(name, stage, on) of every gate, for the metric ``kubernetes_feature_enabled``."""
        return [(name, gate.stage, self.enabled(name)) for name, gate in self._known.items()]
