"""YAML read as Go's sigs.k8s.io/yaml reads it, with stricter bounds.

Plain scalars resolve as go-yaml v2 resolves them: YAML 1.1 booleans (``yes``, ``on``),
octal with a leading zero, no base 60. A timestamp stays the text it is. Duplicate keys
are refused, where Go's lets the last one win. The tree is built from the parser's
events without recursion, and what aliases expand to is bounded.
"""

import base64
import binascii
import json
import math
import re
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

#: Limits of one document.
MAX_DEPTH: Final = 200
MAX_NODES: Final = 200_000
MAX_ALIASED_NODES: Final = 100_000
#: Limit of one input.
MAX_DOCUMENTS: Final = 10_000

_TAG: Final = "tag:yaml.org,2002:"
_BOOLS: Final = {
    spelling: value
    for value, words in ((True, ("y", "yes", "true", "on")), (False, ("n", "no", "false", "off")))
    for word in words
    for spelling in (word, word.capitalize(), word.upper())
}
_NULLS: Final = frozenset({"", "~", "null", "Null", "NULL"})
_SPECIAL: Final = {
    spelling: value
    for word, value in ((".nan", math.nan), (".inf", math.inf), ("+.inf", math.inf), ("-.inf", -math.inf))
    for spelling in (word, word.replace("i", "I").replace(".n", ".N"), word.upper())
} | {".NaN": math.nan}
_INT: Final = re.compile(r"([-+]?)(0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+|0[0-7]*|[1-9][0-9]*)", re.ASCII)
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_SPACE: Final = re.compile(r"[ \t\r\n]*")
_BASES: Final = {"x": 16, "o": 8, "b": 2}


class YamlError(ValueError):
    """A document that cannot be read; the text tells where."""


def load_all(data: bytes | str) -> list[Any]:
    """All documents of *data*, as dicts, lists and JSON's scalars; empty ones are None.

    JSON is taken as it is, also several values one after another. The caller bounds the size.

    :raises YamlError: not YAML, a key given twice, or one of the limits exceeded.
    """
    try:
        text = data.decode("utf-8-sig") if isinstance(data, bytes) else data
    except UnicodeDecodeError as error:
        raise YamlError(f"not UTF-8: {error}") from error
    if text.lstrip()[:1] == "{":
        try:
            return _load_json(text)
        except json.JSONDecodeError:
            # A flow mapping of YAML begins like this too.
            pass
        except (ValueError, RecursionError) as error:
            raise YamlError(f"error converting YAML to JSON: {error or 'nested too deeply'}") from error
    try:
        return GoLoader(text).load_all()
    except yaml.YAMLError as error:
        raise YamlError(f"error converting YAML to JSON: {_one_line(error)}") from error


def _one_line(error: yaml.YAMLError) -> str:
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"yaml: line {error.problem_mark.line + 1}: {error.problem or error.context}"
    return "yaml: " + " ".join(str(error).split())


# --- JSON ---------------------------------------------------------------------


def _no_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise YamlError(f'key "{key}" already set in map')
            seen.add(key)
    return result


def _refuse_constant(name: str) -> Any:
    raise YamlError(f"{name} is not a JSON value")


def _load_json(text: str) -> list[Any]:
    decoder = json.JSONDecoder(object_pairs_hook=_no_doubles, parse_constant=_refuse_constant)
    documents: list[Any] = []
    at = _space(text, 0)
    while at < len(text):
        if len(documents) >= MAX_DOCUMENTS:
            raise YamlError("too many documents")
        document, at = decoder.raw_decode(text, at)
        documents.append(document)
        at = _space(text, at)
    return documents


def _space(text: str, at: int) -> int:
    """Where the white space at *at* ends."""
    found = _SPACE.match(text, at)
    return found.end() if found else at


# --- scalars ------------------------------------------------------------------


def resolve(text: str) -> Any:
    """The value of a plain (unquoted, untagged) scalar, as go-yaml v2 sees it."""
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if text in _SPECIAL:
        return _SPECIAL[text]
    if text[0] not in "+-.0123456789":
        return text
    plain = text if text[0] == "." else text.replace("_", "")
    whole = _INT.fullmatch(plain)
    if whole is not None:
        sign, digits = whole.groups()
        number = _int(digits)
        number = -number if sign == "-" else number
        if -(1 << 63) <= number < 1 << 64:
            return number
    if _FLOAT.fullmatch(plain):
        value = float(plain)
        if math.isfinite(value):
            return value
    return text


def _int(digits: str) -> int:
    if len(digits) > 1 and digits[0] == "0":
        base = _BASES.get(digits[1].lower())
        return int(digits[2:], base) if base else int(digits, 8)
    # Longer numbers exceed every range, and are dear to read.
    return int(digits) if len(digits) < 25 else 1 << 64


def _scalar(event: Any) -> Any:
    tag: str | None = event.tag
    if tag is None or tag == "!":
        return resolve(event.value) if event.implicit[0] and tag is None else event.value
    kind = str(tag).removeprefix(_TAG)
    if kind == "str":
        return event.value
    if kind == "binary":
        try:
            return base64.b64decode(event.value, validate=False).decode()
        except (binascii.Error, UnicodeDecodeError) as error:
            raise _failure("!!binary value contains invalid base64 data", event) from error
    value = resolve(event.value)
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    expected = {"int": int, "float": float, "bool": bool, "null": type(None)}.get(str(kind))
    if expected is None:
        return event.value
    if type(value) is not expected:
        raise _failure(f"cannot decode `{event.value[:40]}` as a !!{kind}", event)
    return value


def _as_json(value: Any, event: Any) -> Any:
    """A number as it looks after Go's detour over JSON: whole ones have no fraction."""
    if not isinstance(value, float):
        return value
    if not math.isfinite(value):
        raise _failure(f"unsupported value: {event.value}", event)
    return int(value) if value.is_integer() and abs(value) < 1e21 else value


def _key(value: Any, event: Any) -> str:
    """A mapping's key as JSON needs it: Go turns numbers and booleans into text."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return f"{value:.8g}"
    raise _failure("unsupported map key: null", event)


def _failure(problem: str, event: Any) -> yaml.YAMLError:
    return yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)


# --- the tree -----------------------------------------------------------------


@dataclass(slots=True)
class _Frame:
    """A collection that is still open."""

    value: dict[str, Any] | list[Any]
    anchor: str | None
    #: How many nodes it holds, aliases counted as what they expand to.
    nodes: int = 1
    #: How deep it goes below itself.
    depth: int = 1
    key: str | None = None
    merging: bool = False
    merged: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Anchored:
    value: Any
    nodes: int
    depth: int


class GoLoader(yaml.CSafeLoader):
    """libyaml's parser with go-yaml's reading of what it finds."""

    def load_all(self) -> list[Any]:
        """All documents.

        :raises yaml.YAMLError: malformed, ambiguous or beyond a limit.
        """
        try:
            documents: list[Any] = []
            while self.check_event():
                event = self.get_event()
                if isinstance(event, yaml.DocumentStartEvent):
                    if len(documents) >= MAX_DOCUMENTS:
                        raise _failure("too many documents", event)
                    documents.append(self._document())
            return documents
        finally:
            self.dispose()

    def _document(self) -> Any:
        stack: list[_Frame] = []
        anchors: dict[str, _Anchored | None] = {}
        nodes = aliased = 0
        while True:
            event: Any = self.get_event()
            if isinstance(event, yaml.DocumentEndEvent):
                return None
            nodes += 1
            if nodes > MAX_NODES:
                raise _failure("document contains too many values", event)
            if isinstance(event, yaml.CollectionStartEvent):
                if len(stack) >= MAX_DEPTH:
                    raise _failure("exceeded max depth", event)
                opened = _Frame({} if isinstance(event, yaml.MappingStartEvent) else [], event.anchor)
                if event.anchor:
                    anchors[event.anchor] = None
                if stack and isinstance(stack[-1].value, dict) and stack[-1].key is None:
                    raise _failure("invalid map key", event)
                stack.append(opened)
                continue
            if isinstance(event, yaml.CollectionEndEvent):
                closed = stack.pop()
                done = _Anchored(closed.value, closed.nodes, closed.depth)
                if closed.anchor:
                    anchors[closed.anchor] = done
            elif isinstance(event, yaml.AliasEvent):
                found: Any = anchors.get(str(event.anchor), event)
                if found is None:
                    raise _failure(f"anchor '{event.anchor}' value contains itself", event)
                if not isinstance(found, _Anchored):
                    raise _failure(f"unknown anchor '{event.anchor}' referenced", event)
                done = found
                aliased += done.nodes
                if aliased > MAX_ALIASED_NODES:
                    raise _failure("document contains excessive aliasing", event)
                if len(stack) + done.depth > MAX_DEPTH:
                    raise _failure("exceeded max depth", event)
            else:
                is_key = bool(stack) and isinstance(stack[-1].value, dict) and stack[-1].key is None
                if is_key and event.value == "<<" and event.implicit[0]:
                    stack[-1].key, stack[-1].merging = "<<", True
                    continue
                value = _scalar(event)
                done = _Anchored(value if is_key else _as_json(value, event), 1, 0)
                if event.anchor:
                    anchors[event.anchor] = done
            if not stack:
                self._end_of_document()
                return done.value
            _put(stack[-1], done, event)

    def _end_of_document(self) -> None:
        while not isinstance(self.get_event(), yaml.DocumentEndEvent):
            pass


def _put(frame: _Frame, done: _Anchored, event: Any) -> None:
    """Add a finished value to the collection it stands in: an item, a key, or a key's value."""
    frame.nodes += done.nodes
    frame.depth = max(frame.depth, done.depth + 1)
    if isinstance(frame.value, list):
        frame.value.append(done.value)
    elif frame.key is None:
        if isinstance(done.value, dict | list):
            raise _failure("invalid map key", event)
        key = _key(done.value, event)
        if key in frame.value and key not in frame.merged:
            raise _failure(f'key "{key}" already set in map', event)
        frame.key = key
    elif frame.merging:
        _merge(frame, done.value, event)
        frame.key, frame.merging = None, False
    else:
        frame.value[frame.key] = done.value
        frame.merged.discard(frame.key)
        frame.key = None


def _merge(frame: _Frame, value: Any, event: Any) -> None:
    """``<<``: take over what the mapping itself does not say; earlier mappings of a list win."""
    assert isinstance(frame.value, dict)
    for source in value if isinstance(value, list) else [value]:
        if not isinstance(source, dict):
            raise _failure("map merge requires map or sequence of maps as the value", event)
        for key, item in source.items():
            if key not in frame.value:
                frame.value[key] = item
                frame.merged.add(key)
