"""From the type hints of map and reduce: how keys and values are encoded between tasks (2.2).

The paper passes strings and leaves conversion to the user; here a hint such as `Iterator[tuple[str, int]]`
is enough, and tuples, dataclasses and msgspec Structs arrive as what they were. Without hints a value
arrives as MessagePack knows it: a tuple as a list (a key's tuples stay tuples, so that keys can be compared
and counted), a dataclass as a dict (which no key may be: dicts have no order).
"""

from __future__ import annotations

import collections.abc
import inspect
import typing
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ESCAPED, ESCAPED_DICT = 1, 2
"""Extension types of a str that holds bytes which are no UTF-8, and of a dict with such keys."""

_NAMES = {**vars(typing), **vars(collections.abc)}
"""For hints that are imported for type checking only."""


class Types(NamedTuple):
    """What goes in and out of a job's functions; Any where nobody said.

    Attributes:
        input: what map takes as its value.
        key, value: of the pairs between map and reduce.
        output: what reduce gives.
    """

    input: Any = Any
    key: Any = Any
    value: Any = Any
    output: Any = Any


def types_of(
    map: Callable[..., Any] | None,
    reduce: Callable[..., Any] | None = None,
    combine: Callable[..., Any] | None = None,
) -> Types:
    """Reads the hints of a job's functions: of the pairs, what map says counts, then combine, then reduce."""
    names, hints = _hints(map)
    source = hints.get(names[1], Any) if len(names) > 1 else Any
    pair = _item(hints.get("return", Any))
    key, value = Any, Any
    if typing.get_origin(pair) is tuple and len(typing.get_args(pair)) == 2:
        key, value = typing.get_args(pair)
    for function in (combine, reduce):
        names, hints = _hints(function)
        if key is Any and names:
            key = hints.get(names[0], Any)
        if value is Any and len(names) > 1:
            value = _item(hints.get(names[1], Any))
    _, hints = _hints(reduce)
    result = hints.get("return", Any)
    many = _item(result)
    output = result if many is Any and not _is_many(result) else many
    return Types(_plain(source), _plain(key), _plain(value), _plain(output))


def _hints(function: Callable[..., Any] | None) -> tuple[list[str], dict[str, Any]]:
    """Returns the names of the arguments (without self), and the hints that can be evaluated."""
    if function is None:
        return [], {}
    try:
        names = list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return [], {}
    bare = inspect.unwrap(getattr(function, "__func__", function))
    known = _NAMES | getattr(bare, "__globals__", {})
    hints = {}
    for name, hint in getattr(bare, "__annotations__", {}).items():
        try:
            hints[name] = eval(hint, known) if isinstance(hint, str) else hint
        except Exception:  # a name that only a type checker sees
            hints[name] = Any
    return names, hints


def _is_many(hint: Any) -> bool:
    origin = typing.get_origin(hint) or hint
    return isinstance(origin, type) and (
        issubclass(origin, list)
        or origin in (collections.abc.Iterable, collections.abc.Iterator, collections.abc.Generator)
    )


def _item(hint: Any) -> Any:
    """Returns what an iterable holds, by its hint."""
    arguments = typing.get_args(hint)
    origin = typing.get_origin(hint)
    if not arguments or not isinstance(origin, type) or origin is tuple:
        return Any
    if issubclass(origin, collections.abc.ItemsView | collections.abc.Mapping):
        return tuple[arguments]  # type: ignore[valid-type]
    return arguments[0] if issubclass(origin, collections.abc.Iterable) else Any


def _plain(hint: Any) -> Any:
    """Returns a hint that msgspec can decode, or Any."""
    if hint is None or isinstance(hint, typing.TypeVar | str):
        return Any
    try:
        msgspec.msgpack.Decoder(hint)
        if _has_custom(msgspec.inspect.type_info(hint)):
            return Any
    except (TypeError, ValueError, NameError):
        return Any
    return hint


def _has_custom(info: Any) -> bool:
    if isinstance(info, msgspec.inspect.CustomType):
        return True
    return any(
        _has_custom(part)
        for name in ("item_type", "key_type", "value_type")
        if (part := getattr(info, name, None)) is not None
    ) or any(_has_custom(part) for part in getattr(info, "item_types", ()))


def is_text(hint: Any) -> bool:
    """Says whether a hint asks for bytes (then no), or not."""
    return hint is not bytes


class Codec:
    """Lists of pairs as MessagePack, typed by hints.

    Args:
        types: of keys and values.
    """

    def __init__(self, types: Types) -> None:
        self._types = types
        self._pairs = list[tuple[types.key, types.value]]  # type: ignore[name-defined]
        self._decode = msgspec.msgpack.Decoder(self._pairs).decode
        self._loose_key = types.key is Any

    def encode(self, pairs: Sequence[Any]) -> tuple[bytes, bool]:
        """Returns the bytes, and whether they hold what `decode` has to unescape.

        Raises:
            TypeError, ValueError, OverflowError: something that cannot be serialized.
        """
        try:
            return encode(pairs), False
        except UnicodeEncodeError:
            return encode(_escaped(pairs)), True

    def decode(self, data: bytes | memoryview, escaped: bool) -> list[tuple[Any, Any]]:
        """Returns the pairs."""
        pairs = msgspec.convert(_decode_loose(data), self._pairs) if escaped else self._decode(data)
        if self._loose_key:
            kinds = {type(key) for key, _ in pairs}
            if dict in kinds:
                raise TypeError(
                    "a key that is a dataclass or Struct arrives as a dict unless map's type hint names its "
                    "class: -> Iterator[tuple[YourKey, ...]]"
                )
            if list in kinds:
                pairs = [(_as_tuple(key), value) for key, value in pairs]
        return pairs


def key_bytes(key: Any) -> bytes:
    """Returns a key's bytes, for hashing: the same in every process and release."""
    try:
        return encode(key)
    except UnicodeEncodeError:
        return encode(_escaped(key))


def decode(data: bytes, hint: Any, decoder: msgspec.msgpack.Decoder[Any]) -> Any:
    """Returns a value of which nobody has noted whether it is escaped.

    Args:
        data: what `key_bytes` gave.
        hint: its type.
        decoder: for this type.
    """
    try:
        return decoder.decode(data)
    except msgspec.ValidationError:
        return msgspec.convert(_decode_loose(data), hint)


def _as_tuple(key: Any) -> Any:
    return tuple(_as_tuple(item) for item in key) if type(key) is list else key


def _escaped(value: Any) -> Any:
    """Returns a value in which a str that is no UTF-8 is an extension, and so is a dict with such keys."""
    return _escape(msgspec.to_builtins(value, builtin_types=(bytes,)))


def _escape(value: Any) -> Any:
    if isinstance(value, str):
        data = value.encode("utf-8", "surrogateescape")
        try:
            data.decode()
        except UnicodeDecodeError:
            return msgspec.msgpack.Ext(ESCAPED, data)
        return value
    if isinstance(value, dict):
        items = [(_escape(key), _escape(item)) for key, item in value.items()]
        if any(type(key) is msgspec.msgpack.Ext for key, _ in items):
            return msgspec.msgpack.Ext(ESCAPED_DICT, encode(items))
        return dict(items)
    if isinstance(value, list | tuple):
        return [_escape(item) for item in value]
    return value


def _unescape(code: int, data: memoryview) -> Any:
    if code == ESCAPED_DICT:
        return dict(_decode_loose(data))
    if code != ESCAPED:
        raise ValueError(f"unknown extension type {code} in intermediate data")
    return bytes(data).decode("utf-8", "surrogateescape")


encode = msgspec.msgpack.Encoder().encode
_decode_loose = msgspec.msgpack.Decoder(ext_hook=_unescape).decode
