"""A register: it holds one value. `register` knows read and write, `cas-register` also compare-and-set."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from sim.check.models import zones
from sim.check.models.model import EVERYTHING, ILLEGAL, Action, Hints, Model, State
from sim.check.operations import freeze

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from sim.check.operations import Call


class Register(Model):
    """A register, null at the beginning. With keys: one register for each."""

    name = "register"
    noun = "register"
    forms: ClassVar = {"read": "ok: the value that it holds", "write": "value: what to write"}

    def action(self, call: Call) -> Action:
        """Returns ("read", value) or ("write", value)."""
        return (call.f, freeze(call.result if call.f == "read" else call.value))

    def step(self, state: State, action: Action) -> Any:
        """Reads, writes, compares and sets."""
        f, value, *rest = action
        if f == "write":
            return value
        if f == "read":
            return state if state == value else ILLEGAL
        if f == "cas":
            return rest[0] if state == value else ILLEGAL
        return ILLEGAL if state == value else state  # "differs"

    def settle(self, calls: list[Call]) -> list[Call]:
        """Drops reads that never ended: nobody saw what they saw."""
        return [call for call in calls if not (call.pending and call.f == "read")]

    def refuted(self, calls: Sequence[Call]) -> Call | None:
        """Returns an operation that certainly has no place, if one is easily seen."""
        return zones.refuted(calls, [self.action(call) for call in calls])

    def hints(self, calls: Sequence[Call], until: int) -> Hints:
        """Returns hints: a write that is not seen might as well wait, or not happen."""
        found = Hints(pure=_pure, gives=_gives, needs=_needs, observes=_observes)
        ranks = zones.ranks(calls, [self.action(call) for call in calls], until)
        if ranks is not None:
            found.rank, found.by_rank = lambda call: ranks[call.called], True
        return found


class CasRegister(Register):
    """A register with compare-and-set.

    A `cas` that fails with the error "mismatch" has seen another value than `old`.
    """

    name = "cas-register"
    forms: ClassVar = {
        **Register.forms,
        "cas": 'value: [old, new]; ok: it held old, and holds new; fail with error "mismatch": it did not',
    }

    def action(self, call: Call) -> Action:
        """Returns ("read", value), ("write", value), ("cas", old, new), or ("differs", old)."""
        if call.f != "cas":
            return super().action(call)
        if not isinstance(call.value, list | tuple) or len(call.value) != 2:
            raise self.refuse(call, f"its value must be [old, new], not {call.value!r}")
        old, new = map(freeze, call.value)
        return ("differs", old) if call.ended == "fail" else ("cas", old, new)

    def happened(self, call: Call) -> bool:
        """Says whether it has seen another value."""
        return call.f == "cas" and call.error == "mismatch"


def _pure(action: Action) -> bool:
    return action[0] in ("read", "differs") or (action[0] == "cas" and action[1] == action[2])


def _gives(action: Action) -> Hashable:
    """Returns what the register holds afterwards."""
    given: tuple[Hashable, ...] = action[-1:]
    return given


def _needs(state: State, action: Action) -> Iterable[Hashable]:
    """Returns what the register would have to hold."""
    if action[0] == "differs":
        return (EVERYTHING,)
    return () if action[0] == "write" else (action[1:2],)


def _observes(action: Action) -> Iterable[Hashable]:
    return _needs(None, action)
