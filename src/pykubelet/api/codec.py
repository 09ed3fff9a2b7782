"""Between JSON and the API's structs, with errors that name the field.

Decoding goes straight to structs. Where that fails because of what Go's decoder lets
pass (``null`` means "not given", whole floats are ints), it is tried once more on a
cleaned tree.
"""

import threading
import types
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from typing import Any, TypeVar, Union, get_args, get_origin

import msgspec

from ..base.duration import Duration
from .quantity import Quantity

T = TypeVar("T")


class InvalidField(ValueError):
    """Input that does not fit its type; *path* is such as ``spec.containers[0].name``, or empty."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path
        self.message = message


class Problem(msgspec.Struct, frozen=True):
    """What strict reading minds: an unknown field or a key that is given twice."""

    path: str
    duplicate: bool = False

    def __str__(self) -> str:
        return f'duplicate field "{self.path}"' if self.duplicate else f'unknown field "{self.path}"'


def _dec_hook(kind: type, value: Any) -> Any:
    if kind is Quantity:
        if value is None:
            return Quantity.zero()
        return Quantity.parse(value.strip() if isinstance(value, str) else value)
    if kind is Duration:
        if not isinstance(value, str):
            raise ValueError("Expected a duration such as `10s`")
        return Duration.parse(value)
    raise NotImplementedError(f"no decoder for {kind}")


def _enc_hook(value: Any) -> Any:
    if isinstance(value, Quantity):
        return str(value)
    raise NotImplementedError(f"no encoder for {type(value)}")


_ENCODER = msgspec.json.Encoder(enc_hook=_enc_hook)
_SORTED_ENCODER = msgspec.json.Encoder(enc_hook=_enc_hook, order="deterministic")


#: msgspec learns a struct's fields when it is first read, and another thread that reads one meanwhile
#: finds it half learnt: that ends the whole process.
_learning = threading.Lock()


@cache
def _decoder(kind: Any) -> Any:
    """The decoder of *kind*; afterwards any thread may read it."""
    with _learning:
        return msgspec.json.Decoder(kind, dec_hook=_dec_hook)


def decode(data: bytes | str, kind: type[T]) -> T:
    """Read JSON as *kind*; unknown fields are ignored.

    :raises InvalidField: not JSON, or it does not fit *kind*.
    """
    try:
        decoder: msgspec.json.Decoder[T] = _decoder(kind)  # type: ignore[arg-type]
        return decoder.decode(data)
    except msgspec.ValidationError:
        return convert(_parse(data), kind)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidField("", f"not valid JSON: {error}") from error


def convert(value: Any, kind: type[T]) -> T:
    """Read a tree of dicts, lists and scalars as *kind*; unknown fields are ignored.

    :raises InvalidField: it does not fit *kind*.
    """
    _decoder(kind)  # type: ignore[arg-type]
    try:
        try:
            return msgspec.convert(value, kind, dec_hook=_dec_hook)
        except msgspec.ValidationError:
            cleaned = _clean(value, kind)
            try:
                return msgspec.convert(cleaned, kind, dec_hook=_dec_hook)
            except msgspec.ValidationError as error:
                raise _locate(cleaned, kind, error) from error
    except RecursionError as error:
        raise InvalidField("", "nested too deeply") from error


def encode(value: Any, *, sort: bool = False) -> bytes:
    """Compact JSON; with *sort* all keys are in order, for digests and comparisons."""
    return (_SORTED_ENCODER if sort else _ENCODER).encode(value)


def to_builtins(value: Any, *, whole_seconds: bool = False) -> Any:
    """A tree of dicts, lists and JSON's scalars; with *whole_seconds* times are as metav1.Time has them."""
    if not whole_seconds:
        return msgspec.to_builtins(value, enc_hook=_enc_hook)
    return _whole(msgspec.to_builtins(value, enc_hook=_enc_hook, builtin_types=(datetime,)))


def _whole(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, dict):
        return {key: _whole(child) for key, child in value.items()}
    return [_whole(child) for child in value] if isinstance(value, list) else value


def unknown_fields(value: Any, kind: Any) -> list[str]:
    """Paths of the fields in the tree *value* that *kind* does not know."""
    return list(_unknown(value, kind, ""))


def strict_problems(data: bytes | str, kind: Any) -> list[Problem]:
    """Everything in the JSON *data* that a strict reader refuses, though it fits *kind*.

    :raises InvalidField: not JSON.
    """
    tree = _parse(data, mark=True)
    doubled = [Problem(path, duplicate=True) for path in _doubled(tree, "")]
    return doubled + [Problem(path) for path in unknown_fields(tree, kind)]


# --- the tree -----------------------------------------------------------------


class _Marked(dict[str, Any]):
    """An object that remembers which of its keys came twice."""

    doubled: tuple[str, ...] = ()


def _mark(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    marked = _Marked(pairs)
    if len(marked) != len(pairs):
        keys = [key for key, _ in pairs]
        marked.doubled = tuple(key for key in marked if keys.count(key) > 1)
    return marked


def _parse(data: bytes | str, *, mark: bool = False) -> Any:
    try:
        if not mark:
            return msgspec.json.decode(data)
        # Only the standard library's parser shows an object's pairs before they are merged.
        import json

        return json.loads(data, object_pairs_hook=_mark)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise InvalidField("", f"not valid JSON: {error}") from error


def _doubled(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, _Marked):
        for key in value.doubled:
            yield _join(path, key)
    for child_path, child in _children(value, path):
        yield from _doubled(child, child_path)


def _children(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, child in value.items():
            yield _join(path, key), child
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield f"{path}[{index}]", child


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else str(key)


@cache
def _fields(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """Wire name → type of a struct's fields."""
    return {field.encode_name: _plain(field.type) for field in msgspec.structs.fields(kind)}


def _plain(kind: Any) -> Any:
    """*kind* without None and UNSET; a union of several others stays one."""
    if get_origin(kind) not in (Union, types.UnionType):
        return kind
    rest = [arg for arg in get_args(kind) if arg not in (type(None), msgspec.UnsetType)]
    return rest[0] if len(rest) == 1 else kind


def _parts(value: Any, kind: Any) -> Iterator[tuple[str | int, Any, Any]]:
    """(key, child, its type) of all children whose type is known."""
    origin = get_origin(kind)
    if isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        fields = _fields(kind)
        for key, child in value.items():
            if key in fields:
                yield key, child, fields[key]
    elif isinstance(value, dict) and origin is dict:
        for key, child in value.items():
            yield key, child, get_args(kind)[1]
    elif isinstance(value, list) and origin is list:
        for index, child in enumerate(value):
            yield index, child, get_args(kind)[0]


def _unknown(value: Any, kind: Any, path: str) -> Iterator[str]:
    if isinstance(value, dict) and isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        known = _fields(kind)
        for key in value:
            if key not in known:
                yield _join(path, key)
    for key, child, child_kind in _parts(value, kind):
        yield from _unknown(child, child_kind, _step(path, key, kind))


def _step(path: str, key: str | int, kind: Any) -> str:
    if isinstance(key, int):
        return f"{path}[{key}]"
    return f"{path}[{key}]" if get_origin(kind) is dict else _join(path, key)


def _zero(kind: Any) -> Any:
    """What ``null`` means as an entry of a map or list of *kind*."""
    if kind in (str, int, bool, float):
        return kind()
    if get_origin(kind) is list:
        return []
    if get_origin(kind) is dict or (isinstance(kind, type) and issubclass(kind, msgspec.Struct)):
        return {}
    return None


def _clean(value: Any, kind: Any) -> Any:
    """A copy of *value* as Go's decoder would take it: no nulls, whole floats as ints."""
    if isinstance(value, float) and kind is int and value.is_integer():
        return int(value)
    is_struct = isinstance(kind, type) and issubclass(kind, msgspec.Struct)
    if isinstance(value, dict) and (is_struct or get_origin(kind) is dict):
        parts = _parts(value, kind)
        if is_struct:
            return {key: _clean(child, part) for key, child, part in parts if child is not None}
        return {key: _zero(part) if child is None else _clean(child, part) for key, child, part in parts}
    if isinstance(value, list) and get_origin(kind) is list:
        return [
            _zero(part) if child is None else _clean(child, part) for _, child, part in _parts(value, kind)
        ]
    return value


def _locate(value: Any, kind: Any, error: msgspec.ValidationError) -> InvalidField:
    """The error with its full path: the decoder does not tell which key of a map it minds."""
    path, message = "", str(error).partition(" - at `")[0]
    while True:
        for key, child, part in _parts(value, kind):
            try:
                msgspec.convert(child, part, dec_hook=_dec_hook)
            except msgspec.ValidationError as inner:
                if isinstance(child, int | float | str | bool | None) or not list(_parts(child, part)):
                    return InvalidField(_step(path, key, kind), str(inner).partition(" - at `")[0])
                path, value, kind = _step(path, key, kind), child, part
                break
        else:
            return InvalidField(path, message)
