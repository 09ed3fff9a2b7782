"""Which nodes a term of a node selector matches. Pure."""

import re
from collections.abc import Mapping

from .core import NodeSelectorRequirement, NodeSelectorTerm

_INTEGER = re.compile(r"[+-]?[0-9]+", re.ASCII)
_NAME = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?", re.ASCII)
_DNS_LABEL = r"[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_DNS_SUBDOMAIN = re.compile(rf"{_DNS_LABEL}(\.{_DNS_LABEL})*", re.ASCII)
_INT64 = 1 << 63


class SelectorError(ValueError):
    """A requirement that the API would refuse: its term matches no node."""


def matches(term: NodeSelectorTerm, labels: Mapping[str, str], name: str = "") -> bool:
    """Whether a node with *labels* is one that *term* selects; without a *name* its fields match all."""
    if not term.matchExpressions and not term.matchFields:
        return False
    try:
        # Every requirement is looked at, since a single bad one spoils its term.
        labelled = [_label_matches(requirement, labels) for requirement in term.matchExpressions]
        fields = [_field_matches(requirement, name) for requirement in term.matchFields]
    except SelectorError:
        return False
    return all(labelled) and (all(fields) or not name)


def _label_matches(requirement: NodeSelectorRequirement, labels: Mapping[str, str]) -> bool:
    _check_key(requirement.key)
    label = labels.get(requirement.key)
    match requirement.operator:
        case "In":
            _check_values(requirement)
            return label in requirement.values
        case "NotIn":
            _check_values(requirement)
            return label not in requirement.values
        case "Exists" | "DoesNotExist":
            if requirement.values:
                raise SelectorError("values must be empty")
            return (label is not None) == (requirement.operator == "Exists")
        case "Gt" | "Lt":
            return _compared(requirement, label)
        case _:
            raise SelectorError(f"unknown operator {requirement.operator!r}")


def _compared(requirement: NodeSelectorRequirement, label: str | None) -> bool:
    if len(requirement.values) != 1:
        raise SelectorError("exactly one value is compared with")
    bound = _integer(requirement.values[0])
    if bound is None:
        raise SelectorError("only integers are compared with")
    number = _integer(label) if label is not None else None
    if number is None:
        return False
    return number > bound if requirement.operator == "Gt" else number < bound


def _integer(text: str) -> int | None:
    if len(text) > 20 or not _INTEGER.fullmatch(text):
        return None
    number = int(text)
    return number if -_INT64 <= number < _INT64 else None


def _check_key(key: str) -> None:
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > 253 or not _DNS_SUBDOMAIN.fullmatch(prefix)):
        raise SelectorError(f"bad label key {key!r}")
    if not _NAME.fullmatch(name):
        raise SelectorError(f"bad label key {key!r}")


def _check_values(requirement: NodeSelectorRequirement) -> None:
    if not requirement.values:
        raise SelectorError("values must not be empty")
    if any(value and not _NAME.fullmatch(value) for value in requirement.values):
        raise SelectorError("bad label value")


def _field_matches(requirement: NodeSelectorRequirement, name: str) -> bool:
    if requirement.operator not in {"In", "NotIn"}:
        raise SelectorError(f"operator {requirement.operator!r} is not for fields")
    if len(requirement.values) != 1:
        raise SelectorError("must have one element")
    # metadata.name is the only field that a node can be chosen by.
    field = name if requirement.key == "metadata.name" else ""
    return (field == requirement.values[0]) == (requirement.operator == "In")
