"""The configuration as a v1beta1 document, as Go prints it: ``/configz`` and the base of drop-ins."""

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from ..api.quantity import Quantity
from ..base.duration import Duration
from .defaults import POINTERS
from .types import (
    API_VERSION,
    KIND,
    KubeletConfiguration,
    Logging,
    MemoryReservation,
    ShutdownGracePeriodByPodPriority,
    Taint,
    VModuleItem,
)

#: Fields that the API prints even when they are zero, beyond the pointers.
_ALWAYS: Mapping[type[Struct], frozenset[str]] = {
    KubeletConfiguration: frozenset({"containerRuntimeEndpoint"}),
    Logging: frozenset({"flushFrequency", "verbosity"}),
    VModuleItem: frozenset({"filePattern", "verbosity"}),
    ShutdownGracePeriodByPodPriority: frozenset({"priority", "shutdownGracePeriodSeconds"}),
    MemoryReservation: frozenset({"numaNode", "limits"}),
    Taint: frozenset({"key", "effect"}),
}


def as_v1beta1_json(config: KubeletConfiguration) -> dict[str, Any]:
    """Plain values ready for a JSON encoder; keys stand as Go writes them."""
    return {"kind": KIND, "apiVersion": API_VERSION, **_struct(config)}


def _struct(obj: Struct) -> dict[str, Any]:
    always = POINTERS.get(type(obj), frozenset()) | _ALWAYS.get(type(obj), frozenset())
    out: dict[str, Any] = {}
    for name in obj.__struct_fields__:
        value = getattr(obj, name)
        if value is None:
            continue
        if value or name in always or isinstance(value, Struct | Duration):
            out[name] = _plain(value)
    return out


def _plain(value: Any) -> Any:
    match value:
        case Struct():
            return _struct(value)
        case Duration() | Quantity():
            return str(value)
        case list():
            return [_plain(item) for item in value]
        case dict():
            return {key: _plain(value[key]) for key in sorted(value)}
        case _:
            return value
