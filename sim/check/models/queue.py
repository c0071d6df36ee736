"""A queue: first in, first out."""

from __future__ import annotations

import copy
from collections import Counter
from typing import TYPE_CHECKING, Any, ClassVar

from sim.check.models.model import ILLEGAL, Action, Hints, Model, State
from sim.check.operations import freeze

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from sim.check.operations import Call


class Queue(Model):
    """A queue, empty at the beginning. Its states are tuples of the values, the next one first."""

    name = "queue"
    noun = "queue"
    initial = ()
    forms: ClassVar = {
        "enqueue": "value: what is put at the end",
        "dequeue": "ok: what was taken from the front; null: it was empty",
    }

    def action(self, call: Call) -> Action:
        """Returns ("enqueue", value), ("dequeue", value), or ("drop",) for a pending dequeue."""
        if call.f == "enqueue":
            if call.value is None:
                raise self.refuse(
                    call, "null cannot be put into a queue: to dequeue null means that it was empty"
                )
            return (call.f, freeze(call.value))
        return ("drop",) if call.pending else (call.f, freeze(call.result))

    def step(self, state: State, action: Action) -> Any:
        """Puts in or takes out."""
        assert isinstance(state, tuple)
        f, *value = action
        if f == "enqueue":
            return (*state, value[0])
        if f == "drop":
            return state[1:]
        if value[0] is None:
            return ILLEGAL if state else state
        return state[1:] if state and state[0] == value[0] else ILLEGAL

    def settle(self, calls: list[Call]) -> list[Call]:
        """Returns the calls with what is certain of pending enqueues.

        One whose value nobody has dequeued could only be in the way. One whose value was dequeued, and that
        nobody else has enqueued, has happened by the end of that dequeue.
        """
        taken: dict[Hashable, list[Call]] = {}
        put: Counter[Hashable] = Counter()
        for call in calls:
            if call.f == "enqueue":
                put[freeze(call.value)] += 1
            elif not call.pending:
                taken.setdefault(freeze(call.result), []).append(call)
        settled = []
        for call in calls:
            if call.f == "enqueue" and call.pending:
                value = freeze(call.value)
                if value not in taken:
                    continue
                if put[value] == 1 and min(one.returned for one in taken[value]) > call.called:
                    call = copy.copy(call)
                    call.ended, call.returned = "ok", min(one.returned for one in taken[value])
            settled.append(call)
        return settled

    def hints(self, calls: Sequence[Call], until: int) -> Hints:
        """Returns hints: what was dequeued first was probably enqueued first."""
        taken = {
            freeze(call.result): call.returned
            for call in reversed(calls)
            if call.f == "dequeue" and call.returned
        }
        never = max([call.returned for call in calls], default=0) + 1

        def needs(state: State, action: Action) -> Iterable[Hashable]:
            return ("drop",) if state and action[0] == "dequeue" else ()

        return Hints(
            pure=lambda action: action == ("dequeue", None),
            gives=lambda action: "drop" if action[0] == "drop" else None,
            needs=needs,
            observes=lambda action: ("drop",) if action[0] == "dequeue" else (),
            rank=lambda call: taken.get(freeze(call.value), never) if call.f == "enqueue" else call.returned,
        )
