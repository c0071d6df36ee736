"""A map from keys to values: get, put, append and delete, each of one key. It is judged key by key."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from sim.check.models import zones
from sim.check.models.model import ILLEGAL, Action, Hints, Model, State
from sim.check.operations import freeze

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from sim.check.operations import Call


class KeyValue(Model):
    """A map; a key that was never put or was deleted holds null."""

    name = "kv"
    noun = "key"
    forms: ClassVar = {
        "get": "key; ok: the value, null if there is none",
        "put": "key; value: what it holds from now on",
        "append": "key; value: text, put behind the text that it holds",
        "delete": "key",
    }

    def action(self, call: Call) -> Action:
        """Returns ("read", value), ("write", value) or ("append", text); to delete is to write null."""
        if call.key is None:
            raise self.refuse(call, "it has no key")
        if call.f == "append" and not isinstance(call.value, str):
            raise self.refuse(call, f"what is appended must be text, not {call.value!r}")
        if call.f == "delete":
            return ("write", None)
        if call.f == "get":
            return ("read", freeze(call.result))
        return ("write" if call.f == "put" else call.f, freeze(call.value))

    def step(self, state: State, action: Action) -> Any:
        """Gets, puts or appends."""
        f, value = action
        if f == "write":
            return value
        if f == "read":
            return state if state == value else ILLEGAL
        if state is None or isinstance(state, str):
            return (state or "") + value
        return ILLEGAL

    def settle(self, calls: list[Call]) -> list[Call]:
        """Drops what nobody saw: gets without an end, appends whose text no get has returned."""
        seen = [call.result for call in calls if call.f == "get" and isinstance(call.result, str)]
        return [
            call
            for call in calls
            if not call.pending
            or not (call.f == "get" or (call.f == "append" and not any(call.value in text for text in seen)))
        ]

    def refuted(self, calls: Sequence[Call]) -> Call | None:
        """Returns an operation that certainly has no place, if one is easily seen."""
        actions = [self.action(call) for call in calls]
        return None if any(action[0] == "append" for action in actions) else zones.refuted(calls, actions)

    def hints(self, calls: Sequence[Call], until: int) -> Hints:
        """Returns hints. Where something is appended, a put that waits may come to stand behind it."""
        if any(call.f == "append" for call in calls):
            return Hints(pure=_is_get, observes=_observes)
        return Hints(pure=_is_get, gives=_gives, needs=_needs, observes=_observes)


def _is_get(action: Action) -> bool:
    return bool(action[0] == "read")


def _gives(action: Action) -> Hashable:
    given: tuple[Hashable, ...] = action[-1:]
    return given


def _needs(state: State, action: Action) -> Iterable[Hashable]:
    return (action[1:],) if action[0] == "read" else ()


def _observes(action: Action) -> Iterable[Hashable]:
    return _needs(None, action)
