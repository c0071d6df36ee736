"""What a model is: a sequential object, said in a few lines.

A model of one's own is a subclass with `forms` and `step`:

    class MaxRegister(Model):
        name = "max-register"
        forms = {"write": "value: a number", "read": "ok: the greatest written, or null"}
        initial = None

        def action(self, call):
            return (call.f, call.value if call.f == "write" else call.result)

        def step(self, state, action):
            f, value = action
            if f == "read":
                return state if value == state else ILLEGAL
            return value if state is None else max(state, value)

Save it in a file and check with `dsim check HISTORY --model that_file.py:MaxRegister`.

`Hints` make a search faster and change no verdict; a model without any is searched all the same.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, ClassVar, Final, TypeAlias

from msgspec import Struct

from sim.check.operations import Call, Unusable, freeze

State: TypeAlias = Hashable
Action: TypeAlias = Any
"""An operation as the model sees it: hashable; two operations of the same action are alike."""

Part: TypeAlias = tuple[str, "list[Call]"]
"""A history of an object of its own, and what to call it ("" for the whole)."""


class Mark:
    """A value that is equal to no other."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


ILLEGAL: Final = Mark("ILLEGAL")
"""No state: the action cannot happen there."""

EVERYTHING: Final = Mark("EVERYTHING")
"""Among what `Hints.needs` and `observes` name: whatever anybody gives."""


class Hints(Struct):
    """What a search may count on for the operations of one part.

    Attributes:
        pure: says of an action that it never changes the state.
        gives: what an action brings about, or None. A pending operation that gives something is tried only
            where something else needs that; one that gives None is tried everywhere. It is right to give
            something if a pending operation can always wait, without harm, until right before whoever
            observes it.
        needs: what would have to be brought about next for an action that is illegal in a state: any one of
            these. None needs to be the last thing that is missing.
        observes: whom `needs` may name for an action in any state; a pending operation whose gift nobody
            observes any more is forgotten.
        patient: all actions that change the state are legal everywhere and commute, so that each of them,
            pending or not, can wait until somebody observes it.
        rank: which of several open operations to try first: those of lower rank.
        by_rank: try them in that order alone; otherwise the one whose end is due goes first all the same.
    """

    pure: Callable[[Action], bool] = lambda action: False
    gives: Callable[[Action], Hashable] = lambda action: None
    needs: Callable[[State, Action], Iterable[Hashable]] = lambda state, action: ()
    observes: Callable[[Action], Iterable[Hashable]] = lambda action: (EVERYTHING,)
    patient: bool = False
    rank: Callable[[Call], int] | None = None
    by_rank: bool = False


class Model(ABC):
    """A sequential object. Made anew for each check.

    Attributes:
        name: as on the command line.
        forms: by `f`: what is invoked, and what `ok` says.
        initial: the state at the beginning.
        noun: what it is, in sentences ("the register").
    """

    name = ""
    forms: ClassVar[dict[str, str]] = {}
    initial: State = None
    noun = "object"

    @abstractmethod
    def step(self, state: State, action: Action) -> Any:
        """Returns the state after an action, or `ILLEGAL` if it cannot happen in `state` with that result."""

    def action(self, call: Call) -> Action:
        """Returns what a call does and observes.

        Of a pending call the result is not known; whatever it was, nobody saw it.

        Raises:
            Unusable: it is no operation of this model.
        """
        return (call.f, freeze(call.value), call.pending, freeze(call.result))

    def happened(self, call: Call) -> bool:
        """Says whether a call that failed, and so had no effect, is an observation all the same."""
        return False

    def parts(self, calls: Sequence[Call]) -> list[Part]:
        """Returns histories that can be judged one by one: here, one for each key."""
        parts: dict[Hashable, Part] = {}
        for call in calls:
            label = "" if call.key is None else f"key {json.dumps(call.key, ensure_ascii=False)}"
            parts.setdefault(freeze(call.key), (label, []))[1].append(call)
        return list(parts.values())

    def settle(self, calls: list[Call]) -> list[Call]:
        """Returns the calls of a part without pending ones that certainly never mattered."""
        return calls

    def refuted(self, calls: Sequence[Call]) -> Call | None:
        """Returns an operation up to whose end there certainly is no order, if the model sees one.

        The search then looks only for an earlier one.
        """
        return None

    def hints(self, calls: Sequence[Call], until: int) -> Hints:
        """Returns what the search may count on for the operations of one part.

        Args:
            calls: the operations.
            until: only what happened up to this line is searched.
        """
        return Hints()

    def show(self, state: State) -> str:
        """Returns a state in words."""
        return shown(state)

    def tell(self, call: Call) -> str:
        """Returns what a call asked and was told, in a few words: "read -> 3"."""
        asked = f"{call.f} {shown(call.value)}" if call.value is not None else call.f
        if call.pending:
            return f"{asked} -> ?"
        if call.ended == "fail":
            return f"{asked} -> {call.error or 'failed'}"
        return asked if call.result == call.value else f"{asked} -> {shown(call.result)}"

    def refuse(self, call: Call, why: str) -> Unusable:
        """Returns the error of a call that this model cannot judge."""
        line = call.returned or call.called
        return Unusable(f"line {line}: {call.f} of process {call.process}: {why}")


def shown(value: Any) -> str:
    """Returns a value as JSON, or as Python if it is none, shortened."""
    if isinstance(value, tuple) and value and value[0] in ("bool", "list", "map"):
        value = _thaw(value)
    try:
        text = json.dumps(value, ensure_ascii=False)
    except TypeError:
        text = repr(value)
    return text if len(text) <= 60 else f"{text[:40]}…{text[-15:]}"


def _thaw(value: Any) -> Any:
    """Returns what `freeze` was given."""
    if isinstance(value, tuple) and value:
        if value[0] == "bool":
            return value[1]
        if value[0] == "list":
            return [_thaw(part) for part in value[1:]]
        if value[0] == "map":
            return {name: _thaw(part) for name, part in value[1:]}
    return value
