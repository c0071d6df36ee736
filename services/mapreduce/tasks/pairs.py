"""What map gives must be pairs that can be serialized: looked at many at a time, in C."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from services.mapreduce.tasks.execution import BadPair, not_a_pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.mapreduce.hints import Codec

_TUPLE = {tuple}
_TWO = {2}


def check_shape(pairs: Sequence[Any]) -> None:
    """Looks whether all are pairs.

    Raises:
        BadPair: one is no tuple of two.
    """
    if not ({*map(type, pairs)} <= _TUPLE and {*map(len, pairs)} <= _TWO):
        for index, pair in enumerate(pairs):
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise BadPair(index, not_a_pair(pair))


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
