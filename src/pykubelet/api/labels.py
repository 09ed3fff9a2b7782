"""Label selectors of the API: what they match, and their text. Pure."""

from collections.abc import Mapping
from typing import Final

from .meta import LabelSelector, LabelSelectorRequirement

_TEXTS: Final[Mapping[str, str]] = {"In": "in", "NotIn": "notin"}


def matches(selector: LabelSelector | None, labels: Mapping[str, str]) -> bool:
    """Whether *labels* fit; no selector matches nothing, an empty one everything.

    :raises ValueError: an operator is not known.
    """
    if selector is None:
        return False
    if any(labels.get(key) != value for key, value in selector.matchLabels.items()):
        return False
    return all(_holds(requirement, labels) for requirement in selector.matchExpressions)


def _holds(requirement: LabelSelectorRequirement, labels: Mapping[str, str]) -> bool:
    key = requirement.key
    match requirement.operator:
        case "In":
            return key in labels and labels[key] in requirement.values
        case "NotIn":
            return key not in labels or labels[key] not in requirement.values
        case "Exists":
            return key in labels
        case "DoesNotExist":
            return key not in labels
        case operator:
            raise ValueError(f'"{operator}" is not a valid label selector operator')


def told(selector: LabelSelector | None) -> str:
    """The selector in the form that queries and command lines use, sorted by key."""
    if selector is None:
        return ""
    found = [(key, f"{key}={value}") for key, value in selector.matchLabels.items()]
    found += [(requirement.key, _told(requirement)) for requirement in selector.matchExpressions]
    return ",".join(text for _, text in sorted(found))


def _told(requirement: LabelSelectorRequirement) -> str:
    if requirement.operator in _TEXTS:
        values = ",".join(sorted(requirement.values))
        return f"{requirement.key} {_TEXTS[requirement.operator]} ({values})"
    return requirement.key if requirement.operator == "Exists" else f"!{requirement.key}"
