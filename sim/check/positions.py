"""Where a search is: positions between two returns, and on the way to what is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from sim.check.models.model import State

Trail: TypeAlias = "tuple[Trail, int] | None"
"""An order, its last operation first: numbers in `Search.calls`."""


class Node(NamedTuple):
    """A position of the search.

    Attributes:
        level: number of the first return whose operation has no place.
        mask: the slots of those open operations that have one.
        used: pending operations with a place, a bit each.
        trail: how the search came here.
    """

    level: int
    mask: int
    state: State
    used: int
    trail: Trail


class Place(NamedTuple):
    """A position between two returns, while something that is needed is brought about."""

    state: State
    mask: int
    used: int
    trail: Trail

    def taken(self) -> tuple[int, State, int, Trail]:
        """Returns it in the order of `Node`."""
        return self.mask, self.state, self.used, self.trail


class Open(NamedTuple):
    """An operation while it is open: its number, its bit in `Node.mask`, its action."""

    number: int
    bit: int
    action: int
