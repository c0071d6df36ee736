"""A counter: add to it, read it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from sim.check.models.model import EVERYTHING, ILLEGAL, Action, Hints, Model, State

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from sim.check.operations import Call


class Counter(Model):
    """A counter, 0 at the beginning."""

    name = "counter"
    noun = "counter"
    initial = 0
    forms: ClassVar = {"add": "value: an integer, which may be negative", "read": "ok: what it stands at"}

    def action(self, call: Call) -> Action:
        """Returns ("add", number) or ("read", number)."""
        number = call.value if call.f == "add" else 0 if call.pending else call.result
        if not isinstance(number, int) or isinstance(number, bool):
            raise self.refuse(call, f"expected an integer, not {number!r}")
        return (call.f, number)

    def step(self, state: State, action: Action) -> Any:
        """Adds or reads."""
        assert isinstance(state, int)
        f, number = action
        if f == "add":
            return state + number
        return state if state == number else ILLEGAL

    def settle(self, calls: list[Call]) -> list[Call]:
        """Drops reads that never ended."""
        return [call for call in calls if not (call.pending and call.f == "read")]

    def hints(self, calls: Sequence[Call], until: int) -> Hints:
        """Returns hints: additions may wait until somebody reads."""
        amounts = sorted({call.value for call in calls if call.f == "add"} - {0}, reverse=True)
        grows = not amounts or amounts[-1] > 0

        def needs(state: State, action: Action) -> Iterable[Hashable]:
            assert isinstance(state, int)
            if action[0] == "add":
                return ()
            missing = action[1] - state
            return [amount for amount in amounts if not grows or amount <= missing]

        return Hints(
            pure=lambda action: bool(action[0] == "read"),
            gives=lambda action: action[1] if action[0] == "add" else None,
            needs=needs,
            observes=lambda action: (EVERYTHING,) if action[0] == "read" else (),
            patient=True,
        )
