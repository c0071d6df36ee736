"""The pending operations of a search: which may be used when, and until when each may matter."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import NamedTuple, TypeAlias

from sim.check.models.model import EVERYTHING

Entry: TypeAlias = tuple[int, int, int, Hashable, tuple[Hashable, ...]]
"""A pending operation: its number, its line, its action, what that gives, and what it may need itself."""


class Token(NamedTuple):
    """A pending operation: its number and its bit in `Node.used`."""

    number: int
    bit: int


class Pending:
    """The pending operations of a search, those of one action side by side in `Node.used`.

    Args:
        pending: in the order of their invocations.
        observers: by level: what the operation that returns there may need.

    Attributes:
        free: the actions that give nothing in particular.
        alive: by level: the bits of those that may still matter.
    """

    def __init__(self, pending: Sequence[Entry], observers: Sequence[Sequence[Hashable]]) -> None:
        kinds: dict[int, list[Entry]] = {}
        for entry in pending:
            kinds.setdefault(entry[2], []).append(entry)
        self._numbers: list[int] = []
        self._called: list[int] = []
        self._masks: dict[int, int] = {}
        self._givers: dict[Hashable, list[int]] = {}
        self.free: list[int] = []
        gifts = []
        for action, entries in kinds.items():
            mask = ((1 << len(entries)) - 1) << len(self._numbers)
            self._masks[action] = mask
            self._numbers += [entry[0] for entry in entries]
            self._called += [entry[1] for entry in entries]
            _, _, _, gives, needs = entries[0]
            if gives is None:
                self.free.append(action)
            else:
                self._givers.setdefault(gives, []).append(action)
                gifts.append((mask, gives, needs))
        self._all = [action for actions in self._givers.values() for action in actions]
        self.alive = self._lives(gifts, observers)

    def givers(self, key: Hashable) -> Sequence[int]:
        """Returns the actions that give something."""
        return self._all if key is EVERYTHING else self._givers.get(key, ())

    def next(self, action: int, used: int, line: int) -> Token | None:
        """Returns the next unused operation of an action, if it was invoked before a line."""
        left = self._masks[action] & ~used
        bit = left & -left
        if not bit:
            return None
        position = bit.bit_length() - 1
        return Token(self._numbers[position], bit) if self._called[position] < line else None

    def _lives(
        self,
        gifts: Sequence[tuple[int, Hashable, Sequence[Hashable]]],
        observers: Sequence[Sequence[Hashable]],
    ) -> list[int]:
        """Finds until when each gift is observed: by what returns, or by what is pending and gives on."""
        last = {key: level for level, keys in enumerate(observers) for key in keys}
        changed = True
        while changed:
            changed = False
            for _, gives, needs in gifts:
                until = max(last.get(gives, -1), last.get(EVERYTHING, -1))
                for key in needs:
                    if last.get(key, -1) < until:
                        last[key] = until
                        changed = True
        ends: dict[int, int] = {}
        for mask, gives, _ in gifts:
            until = max(last.get(gives, -1), last.get(EVERYTHING, -1))
            ends[until + 1] = ends.get(until + 1, 0) | mask
        alive, now = [], (1 << len(self._numbers)) - 1
        for level in range(len(observers) + 1):
            now &= ~ends.get(level, 0)
            alive.append(now)
        return alive
