"""Documents of configuration decoded to types: YAML or JSON, strict about values, lenient about names."""

from collections.abc import Mapping
from typing import Any, TypeVar

import yaml
from msgspec import Struct

from ..api import codec
from ..api.yaml import YamlError, load_all
from ..base.gotext import format_duration
from .types import ConfigError

S = TypeVar("S", bound=Struct)


def read_document(data: bytes) -> tuple[dict[str, Any], list[str]]:
    """The first document as plain values, and the names of keys given twice (the last one counts).

    :raises ConfigError: not YAML or JSON, or not a mapping.
    """
    try:
        try:
            documents, doubled = load_all(data), list[str]()
        except YamlError as error:
            if "already set in map" not in str(error):
                raise
            text, doubled = _last_wins(data)
            documents = load_all(text)
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError, YamlError) as error:
        raise ConfigError("couldn't parse the document: " + " ".join(str(error).split())) from error
    raw = documents[0] if documents else None
    if not isinstance(raw, dict):
        raise ConfigError("couldn't parse the document: it is not a mapping")
    return raw, doubled


def _last_wins(data: bytes) -> tuple[str, list[str]]:
    loader = yaml.CSafeLoader(data)
    try:
        # The first document only: get_node must be asked after check_node.
        root = loader.get_node() if loader.check_node() else None
    finally:
        loader.dispose()
    doubled: list[str] = []
    _drop_doubles(root, "", doubled)
    return yaml.serialize(root, Dumper=yaml.CSafeDumper), doubled


def _drop_doubles(node: yaml.Node | None, path: str, doubled: list[str]) -> None:
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            _drop_doubles(item, f"{path}[{index}]", doubled)
    elif isinstance(node, yaml.MappingNode):
        last: dict[str, tuple[yaml.Node, yaml.Node]] = {}
        for key, value in node.value:
            name = str(key.value)
            at = f"{path}.{name}" if path else name
            if name in last:
                doubled.append(at)
            last[name] = (key, value)
            _drop_doubles(value, at, doubled)
        node.value = list(last.values())


def decode(raw: Mapping[str, Any], wanted: type[S]) -> tuple[S, list[str]]:
    """Build a *wanted* from plain values; also names the fields that it does not have.

    :raises ConfigError: a value of the wrong kind; the text begins with the field's path.
    """
    tree = _numbers_as_text(dict(raw))
    try:
        return codec.convert(tree, wanted), codec.unknown_fields(tree, wanted)
    except codec.InvalidField as error:
        raise ConfigError(" ".join(str(error).split())) from error


def _numbers_as_text(raw: dict[str, Any]) -> dict[str, Any]:
    """The two places where the API takes a number for what is otherwise text."""
    logging = raw.get("logging")
    if not isinstance(logging, dict):
        return raw
    logging = dict(logging)
    if type(logging.get("flushFrequency")) is int:
        logging["flushFrequency"] = format_duration(logging["flushFrequency"])
    options = logging.get("options")
    if isinstance(options, dict):
        logging["options"] = {
            name: {**form, "infoBufferSize": str(form["infoBufferSize"])}
            if isinstance(form, dict) and type(form.get("infoBufferSize")) is int
            else form
            for name, form in options.items()
        }
    return {**raw, "logging": logging}
