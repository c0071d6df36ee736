"""A lock: one holder at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from sim.check.models.model import ILLEGAL, Action, Hints, Model, State, shown
from sim.check.operations import freeze

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from sim.check.operations import Call

FREE = ("free",)


class Lock(Model):
    """A lock, free at the beginning. Its states are FREE and ("held", owner)."""

    name = "lock"
    noun = "lock"
    initial = FREE
    forms: ClassVar = {
        "acquire": "value: who takes it, or null where nobody says; ok: it was free and is held",
        "release": "value: as at acquire; ok: that one held it, and it is free",
    }

    def action(self, call: Call) -> Action:
        """Returns ("acquire", owner) or ("release", owner)."""
        return (call.f, freeze(call.value))

    def step(self, state: State, action: Action) -> Any:
        """Acquires or releases."""
        f, owner = action
        if f == "acquire":
            return ("held", owner) if state == FREE else ILLEGAL
        return FREE if state == ("held", owner) else ILLEGAL

    def hints(self, calls: Sequence[Call], until: int) -> Hints:
        """Returns hints: whatever happens to a lock is seen by what happens next."""
        owners = list(dict.fromkeys(freeze(call.value) for call in calls))

        def needs(state: State, action: Action) -> Iterable[Hashable]:
            f, owner = action
            if f == "acquire":
                return () if state == FREE else (("freed by", state[1]),)  # type: ignore[index]
            return (("held", owner),)

        def observes(action: Action) -> Iterable[Hashable]:
            f, owner = action
            return [("freed by", other) for other in owners] if f == "acquire" else [("held", owner)]

        return Hints(
            gives=lambda action: ("held" if action[0] == "acquire" else "freed by", action[1]),
            needs=needs,
            observes=observes,
        )

    def show(self, state: State) -> str:
        """Returns who holds it."""
        assert isinstance(state, tuple)
        if state == FREE:
            return "free"
        return "held" if state[1] is None else f"held by {shown(state[1])}"
