"""Errors about a field of an object, worded as the API words them."""

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from pykubelet.base.gotext import go_json

from .codec import to_builtins


class Kind(enum.Enum):
    """What is wrong with the field."""

    REQUIRED = "Required value"
    INVALID = "Invalid value"
    NOT_SUPPORTED = "Unsupported value"
    DUPLICATE = "Duplicate value"
    NOT_FOUND = "Not found"
    FORBIDDEN = "Forbidden"
    TOO_LONG = "Too long"
    TOO_MANY = "Too many"


@dataclass(frozen=True, slots=True)
class FieldError:
    """One error; its text is ``path: kind: value: detail``."""

    path: str
    kind: Kind
    #: The value as it is shown, empty where it is not.
    value: str = ""
    detail: str = ""

    def __str__(self) -> str:
        return ": ".join(part for part in (self.path, self.kind.value, self.value, self.detail) if part)


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int) else go_json(to_builtins(value))


class FieldErrors:
    """Collects errors in the order in which they are found."""

    def __init__(self) -> None:
        self.found: list[FieldError] = []

    def __iter__(self) -> Iterator[FieldError]:
        return iter(self.found)

    def __len__(self) -> int:
        return len(self.found)

    def required(self, path: str, detail: str = "") -> None:
        """The field is missing."""
        self.found.append(FieldError(path, Kind.REQUIRED, detail=detail))

    def invalid(self, path: str, value: Any, *details: str) -> None:
        """The value breaks a rule; one error for each of *details*."""
        self.found.extend(FieldError(path, Kind.INVALID, _shown(value), detail) for detail in details)

    def one_of(self, path: str, value: str, supported: Iterable[str]) -> None:
        """Note an error unless *value* is among the *supported* ones."""
        known = list(supported)
        if value not in known:
            listed = ", ".join(_shown(name) for name in known)
            self.found.append(
                FieldError(path, Kind.NOT_SUPPORTED, _shown(value), f"supported values: {listed}")
            )

    def duplicate(self, path: str, value: str) -> None:
        """The value must be unique and is not."""
        self.found.append(FieldError(path, Kind.DUPLICATE, _shown(value)))

    def not_found(self, path: str, value: str, detail: str = "") -> None:
        """The field names something that is not there."""
        self.found.append(FieldError(path, Kind.NOT_FOUND, _shown(value), detail))

    def forbidden(self, path: str, detail: str) -> None:
        """The field may not be given here."""
        self.found.append(FieldError(path, Kind.FORBIDDEN, detail=detail))

    def too_long(self, path: str, limit: int) -> None:
        """The value has more than *limit* bytes."""
        self.found.append(FieldError(path, Kind.TOO_LONG, detail=f"may not be more than {limit} bytes"))

    def too_many(self, path: str, count: int, limit: int) -> None:
        """The list has more than *limit* items."""
        self.found.append(FieldError(path, Kind.TOO_MANY, str(count), f"must have at most {limit} items"))
