"""Field and label selectors of lists and watches."""

import re
from collections.abc import Callable
from typing import Any

from tests.apiserver import errors
from tests.apiserver.resources import Object, Resource

Matches = Callable[[Object], bool]

_SET = re.compile(r"^(?P<key>\S+)\s+(?P<word>in|notin)\s*\((?P<values>[^)]*)\)$")


def everything(obj: Object) -> bool:
    return True


def both(first: Matches, second: Matches) -> Matches:
    """Matches what both do."""
    if first is everything:
        return second
    if second is everything:
        return first
    return lambda obj: first(obj) and second(obj)


def field(obj: Object, path: str) -> str:
    """The field at a dotted *path* as a selector sees it; "" when it is not there."""
    value: Any = obj
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if path == "source" and isinstance(value, dict):
        value = value.get("component")
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "false" if path in ("spec.unschedulable", "spec.hostNetwork") else ""
    return str(value)


def fields(resource: Resource, text: str) -> Matches:
    """A ``fieldSelector``.

    :raises ApiError: a field that the resource cannot be selected by.
    """
    terms = []
    for term in filter(None, text.split(",")):
        key, sign, value = _split(term)
        allowed = {"metadata.name", *resource.fields}
        if resource.namespaced or not resource.group:
            allowed.add("metadata.namespace")
        if key not in allowed:
            raise errors.bad_request(
                f'Unable to find "{resource.api_version}, Resource={resource.plural}" that match label '
                f'selector "", field selector "{text}": field label not supported: {key}'
            )
        terms.append((key, sign == "!=", value))
    if not terms:
        return everything
    return lambda obj: all((field(obj, key) == value) is not negated for key, negated, value in terms)


def _split(term: str) -> tuple[str, str, str]:
    for sign in ("!=", "==", "="):
        key, found, value = term.partition(sign)
        if found:
            return key.strip(), sign, value.strip()
    raise errors.bad_request(f"invalid selector: '{term}'; can't understand '{term}'")


def labels(text: str) -> Matches:
    """A ``labelSelector``.

    :raises ApiError: it cannot be understood.
    """
    terms = [_label_term(term.strip()) for term in re.split(r",(?![^(]*\))", text) if term.strip()]
    if not terms:
        return everything
    return lambda obj: all(term(obj.get("metadata", {}).get("labels") or {}) for term in terms)


def _label_term(term: str) -> Callable[[dict[str, str]], bool]:
    if found := _SET.match(term):
        key, values = found["key"], {value.strip() for value in found["values"].split(",")}
        if found["word"] == "in":
            return lambda labels: labels.get(key) in values
        return lambda labels: labels.get(key) not in values
    if "=" not in term:
        if term.startswith("!"):
            return lambda labels: term[1:].strip() not in labels
        return lambda labels: term in labels
    key, sign, value = _split(term)
    if sign == "!=":
        return lambda labels: labels.get(key) != value
    return lambda labels: labels.get(key) == value
