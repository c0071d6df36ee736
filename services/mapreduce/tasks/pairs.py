"""What map gives must be pairs that can be serialized: looked at many at a time, in C."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.mapreduce.tasks.execution import BadPair, not_a_pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.mapreduce.hints import Codec

_TUPLE = {tuple}
_TWO = {2}
_UNORDERED = (set, frozenset)


def check_shape(pairs: Sequence[Any]) -> None:
    """Looks whether all are pairs, and their keys not sets: these compare, but cannot be put in order.

    Raises:
        BadPair: one is no tuple of two, or the first one's key is a set (mixed with others, sorting fails).
    """
    if not ({*map(type, pairs)} <= _TUPLE and {*map(len, pairs)} <= _TWO):
        for index, pair in enumerate(pairs):
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise BadPair(index, not_a_pair(pair))
    if pairs and type(pairs[0][0]) in _UNORDERED:
        kind = type(pairs[0][0]).__name__
        raise BadPair(0, f"gave a key of type {kind}, which has no order: make it a sorted tuple")


def check_pairs(pairs: Sequence[Any], codec: Codec) -> int:
    """Returns how many bytes some pairs take when serialized.

    Raises:
        BadPair: one is no tuple of two, or cannot be serialized.
    """
    check_shape(pairs)
    if not pairs:
        return 0
    try:
        return len(codec.encode(pairs)[0])
    except Exception as exc:
        for index, pair in enumerate(pairs):
            for name, item in zip(("key", "value"), pair, strict=True):
                try:
                    codec.encode([(item, None)])
                except Exception as why:
                    raise BadPair(
                        index, f"gave a {name} of type {type(item).__name__} that cannot be serialized: {why}"
                    ) from None
        raise BadPair(0, f"gave what cannot be serialized: {exc}") from None
