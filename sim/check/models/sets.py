"""A set: add, remove, and read all of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from sim.check.models.model import EVERYTHING, ILLEGAL, Action, Hints, Model, State, shown
from sim.check.operations import freeze

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from sim.check.operations import Call


class Set(Model):
    """A set, empty at the beginning. Its states are integers, one bit an element."""

    name = "set"
    noun = "set"
    initial = 0
    forms: ClassVar = {
        "add": "value: the element",
        "remove": "value: the element, whether it is there or not",
        "read": "ok: all elements, a list in any order",
    }

    def __init__(self) -> None:
        self._bits: dict[Hashable, int] = {}

    def _bit(self, element: Any) -> int:
        return self._bits.setdefault(freeze(element), 1 << len(self._bits))

    def action(self, call: Call) -> Action:
        """Returns ("add", bit), ("remove", bit) or ("read", bits)."""
        if call.f != "read":
            return (call.f, self._bit(call.value))
        if call.pending:
            return ("read", 0)
        if not isinstance(call.result, list | tuple):
            raise self.refuse(call, f"what was read must be a list, not {call.result!r}")
        bits = 0
        for element in call.result:
            bits |= self._bit(element)
        return ("read", bits)

    def step(self, state: State, action: Action) -> Any:
        """Adds, removes or reads."""
        assert isinstance(state, int)
        f, bits = action
        if f == "add":
            return state | bits
        if f == "remove":
            return state & ~bits
        return state if state == bits else ILLEGAL

    def settle(self, calls: list[Call]) -> list[Call]:
        """Drops reads that never ended."""
        return [call for call in calls if not (call.pending and call.f == "read")]

    def hints(self, calls: Sequence[Call], until: int) -> Hints:
        """Returns hints; where nothing is removed, the order of additions matters to readers only."""
        grows = not any(call.f == "remove" for call in calls)
        return Hints(pure=_is_read, gives=_gives, needs=_needs, observes=_observes, patient=grows)

    def show(self, state: State) -> str:
        """Returns the elements."""
        assert isinstance(state, int)
        elements = [shown(element) for element, bit in self._bits.items() if bit & state]
        return "{" + ", ".join(elements[:12]) + (", …" if len(elements) > 12 else "") + "}"


def _is_read(action: Action) -> bool:
    return bool(action[0] == "read")


def _gives(action: Action) -> Hashable:
    return action if action[0] != "read" else None


def _needs(state: State, action: Action) -> Iterable[Hashable]:
    """Returns the first element that is missing, or else the first that must go: each of them has to."""
    assert isinstance(state, int)
    f, bits = action
    if f == "read":
        if missing := bits & ~state:
            return (("add", missing & -missing),)
        if extra := state & ~bits:
            return (("remove", extra & -extra),)
    return ()


def _observes(action: Action) -> Iterable[Hashable]:
    return (EVERYTHING,) if action[0] == "read" else ()
