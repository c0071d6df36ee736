"""The map side's buffer when there is a combiner (4.3): values by key instead of pairs.

A map gives the same keys again and again where a combiner makes sense, so a list of values for each key
takes a fraction of the memory of the pairs, and there is nothing to sort but the keys. Where all pairs carry
one and the same value, as in a count of words, the pairs of each key are only counted, in C.
"""

from __future__ import annotations

from collections import Counter
from itertools import chain, islice, repeat
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from services.mapreduce.hints import key_bytes
from services.mapreduce.tasks.pairs import check_pairs, check_shape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from services.mapreduce.hints import Codec

KEY_BYTES = 250
"""What a key takes besides the bytes of its encoding: an object, a place in a dict, a list of values."""

VALUE_BYTES = 40
"""What a number in a list takes; another value besides the bytes of its encoding, about."""

_TUPLE = {tuple}
_SMALL = {int, float, bool, type(None)}
_EXACT = {int, bool, type(None), str, bytes}
"""Types of which two values that are equal are the same."""

_key_of = itemgetter(0)


class NotHashable(TypeError):
    """Keys cannot be put into a dict.

    Attributes:
        taken: how many of the pairs were taken before.
    """

    def __init__(self, taken: int) -> None:
        super().__init__("keys cannot be hashed")
        self.taken = taken


class Groups:
    """Pairs, by key.

    Attributes:
        memory: bytes that they take, about.
        pairs: how many they are.
    """

    def __init__(self, codec: Codec) -> None:
        self.memory = 0
        self.pairs = 0
        self._codec = codec
        self._lists = _Lists()
        self._times: Counter[Any] = Counter()  # pairs of each key whose value is `_same`
        self._same: Any = None

    @property
    def keys(self) -> int:
        """How many keys there are, or a few more."""
        return len(self._lists) + len(self._times)

    def add(self, pairs: Sequence[Any]) -> None:
        """Takes pairs.

        Raises:
            BadPair: one is no pair, or cannot be serialized.
            NotHashable: some were taken, the rest cannot be.
        """
        if not pairs:
            return
        if {*map(type, pairs)} != _TUPLE:
            check_shape(pairs)
        check_shape(pairs[:1])
        try:
            values = [value for _, value in pairs]
        except ValueError:
            check_shape(pairs)
            raise
        kinds = {*map(type, values)}
        value = values[0]
        same = len(kinds) == 1 and kinds <= _EXACT and values.count(value) == len(values)
        if same and not self._times:
            check_pairs(pairs[:1], self._codec)
            self._same = value
        table: dict[Any, Any]
        if same and type(value) is type(self._same) and value == self._same:
            table, size = self._times, 0
        elif kinds <= _SMALL:
            table, size = self._lists, VALUE_BYTES * len(pairs)
        else:
            table, size = self._lists, VALUE_BYTES * len(pairs) + check_pairs(pairs, self._codec)
        before = len(table)
        try:
            if table is self._times:
                self._times.update(map(_key_of, pairs))
            else:
                lists = self._lists
                for key, value in pairs:
                    lists[key].append(value)
        except TypeError:
            taken = self._times.total() + sum(map(len, self._lists.values())) - self.pairs
            self.pairs += taken
            raise NotHashable(taken) from None
        self.pairs += len(pairs)
        if fresh := len(table) - before:
            try:
                size += len(key_bytes([*islice(reversed(table), fresh)])) + KEY_BYTES * fresh
            except Exception:
                check_pairs(pairs, self._codec)  # says which
                raise
        self.memory += size

    def take(self, *, ordered: bool) -> Iterator[tuple[Any, Iterable[Any]]]:
        """Yields the values of each key, and forgets them.

        Args:
            ordered: by key.

        Raises:
            TypeError: the keys cannot be put in order.
        """
        lists, times, same = self._lists, self._times, self._same
        keys: list[Any] = [*lists, *(key for key in times if key not in lists)] if lists else [*times]
        if ordered:
            keys.sort()
        self.memory = self.pairs = 0
        self._lists, self._times = _Lists(), Counter()
        return ((key, _values(lists.pop(key, None), times.pop(key, 0), same)) for key in keys)


def _values(values: list[Any] | None, times: int, same: Any) -> Iterable[Any]:
    if values is None:
        return repeat(same, times)
    return chain(values, repeat(same, times)) if times else values


class _Lists(dict[Any, list[Any]]):
    def __missing__(self, key: Any) -> list[Any]:
        values = self[key] = []
        return values
