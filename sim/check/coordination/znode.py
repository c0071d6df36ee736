"""A znode, and the names of its children, as models for the search: what requests do to and see of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final, NamedTuple

from sim.check.models.model import EVERYTHING, ILLEGAL, Action, Hints, Mark, Model, State
from sim.check.operations import Call

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from sim.check.coordination.zxids import Span

ANY: Final = Mark("ANY")
"""What nobody told."""

UNSEEN: Final = Mark("UNSEEN")
"""Data or a zxid that no read has shown."""

CHANGES = ("create", "set", "delete", "owner gone")


class Step(NamedTuple):
    """What one request did to or saw of one znode, and when, in the time of zxids."""

    request: Call
    action: tuple[Any, ...]
    span: Span
    pending: bool

    def call(self) -> Call:
        """Returns it as an operation that a search can place."""
        start, end = self.span
        ended = "info" if self.pending else "ok"
        key = None
        return Call(
            process=self.request.process,
            f=str(self.action[0]),
            value=self.request,
            key=key,
            called=start,
            start=start,
            result=self.action,
            ended=ended,
            returned=0 if self.pending else end,
            end=-1 if self.pending else end,
        )


class _Model(Model):
    """What both have in common.

    Args:
        hints: what a search may count on; None for as much as is known of the model.
    """

    known: ClassVar[Hints]

    def __init__(self, hints: Hints | None = None) -> None:
        self._hints = self.known if hints is None else hints

    def action(self, call: Call) -> Action:
        """Returns what was done or seen."""
        return call.result

    def tell(self, call: Call) -> str:
        """Returns what was done or seen, in words."""
        first, *rest = call.result
        known = [str(value) for value in rest if not isinstance(value, Mark)]
        return " ".join([str(first), *known])

    def hints(self, calls: Sequence[Call], until: int) -> Hints:
        """Returns the hints that it was given, whatever the operations."""
        return self._hints


def _needed(state: State, action: Action) -> Iterable[Hashable]:
    """Returns what could have happened to a znode before."""
    if state is None:
        return () if action[0] in ("absent", "create") else ("there",)
    if action[0] in ("absent", "create"):
        return ("gone",)
    return ("changed", "gone")


class Znode(_Model):
    """A znode: None where there is none, or (version, data, czxid, mzxid, owner)."""

    name = "znode"
    noun = "znode"
    known = Hints(
        pure=lambda action: action[0] not in CHANGES,
        gives=lambda action: {"create": "there", "set": "changed"}.get(action[0], "gone"),
        needs=_needed,
    )

    def step(self, state: State, action: Action) -> Any:
        """Does it, or looks whether it agrees."""
        f, *args = action
        if f == "create":
            data, zxid, owner = args
            return ILLEGAL if state is not None else (0, data, zxid, zxid, owner)
        if f == "absent":
            return state if state is None else ILLEGAL
        if f == "owner gone":
            return None if state is not None and _alike(state[4], args[0]) and state[4] != 0 else state  # type: ignore[index]
        if state is None:
            return ILLEGAL
        assert isinstance(state, tuple)
        version, _, czxid, _, owner = state
        if f == "set":
            data, expected, result, zxid = args
            fits = expected in (-1, version) and result in (ANY, version + 1)
            return (version + 1, data, czxid, zxid, owner) if fits else ILLEGAL
        if f == "delete":
            return None if args[0] in (-1, version) else ILLEGAL
        return state if _agrees(state, f, args) else ILLEGAL

    def show(self, state: State) -> str:
        """Returns version and data."""
        if state is None:
            return "absent"
        assert isinstance(state, tuple)
        version, data, _, mzxid, owner = state
        told = f"at version {version}"
        told += "" if isinstance(data, Mark) else f" with {data!r}"
        told += f" of {mzxid:#x}" if isinstance(mzxid, int) else ""
        return told + ("" if owner == 0 else ", ephemeral")


def _alike(one: Any, other: Any) -> bool:
    return one is ANY or other is ANY or one == other


def _agrees(state: tuple[Any, ...], f: str, args: Sequence[Any]) -> bool:
    """Says whether a znode that is there is as it was seen."""
    version, owner = state[0], state[4]
    if f == "read":
        *fields, seen = args
        same_owner = seen is ANY or owner is ANY or owner == seen or (owner < 0 and seen != 0)
        return same_owner and all(map(_alike, state[:4], fields))
    if f == "check":
        return bool(args[0] in (-1, version))
    if f == "differs":
        return args[0] not in (-1, version)
    if f == "ephemeral":
        return bool(owner != 0)
    if f == "may have children":
        return bool(owner is ANY or owner == 0)
    assert f == "there"
    return True


def _names(children: State) -> frozenset[str]:
    assert isinstance(children, frozenset)
    return frozenset(name for name, _ in children)


def _only_lists(action: Action) -> bool:
    return action[0] in ("none", "some", "list")


def _moved(action: Action) -> Hashable:
    """Returns which name comes or goes."""
    f, *args = action
    return None if _only_lists(action) else ("add" if f == "create" else "remove", args[0])


def _missing(state: State, action: Action) -> Iterable[Hashable]:
    """Returns the first name that is missing, or else the first that must go."""
    f, *args = action
    if f == "create":
        return (("remove", args[0]),)
    if f == "delete":
        return (("add", args[0]),)
    if f == "some":
        return (EVERYTHING,)
    wanted = args[0] if f == "list" else frozenset()
    names = _names(state)
    if missing := wanted - names:
        return (("add", min(missing)),)
    return (("remove", min(names - wanted)),) if names - wanted else ()


class Children(_Model):
    """The children of a znode: a frozenset of (name, owner)."""

    name = "children"
    noun = "set of children"
    initial: State = frozenset()
    known = Hints(pure=_only_lists, gives=_moved, needs=_missing)

    def __init__(self, hints: Hints | None = None) -> None:
        super().__init__(hints)
        self._owners: dict[str, dict[Hashable, None]] = {}  # by name: whose such a child may be

    def action(self, call: Call) -> Action:
        """Returns what was done or seen."""
        f, *args = call.result
        if f == "create":
            self._owners.setdefault(args[0], {})[args[1]] = None
        return call.result

    def step(self, state: State, action: Action) -> Any:
        """Does it, or looks whether it agrees."""
        assert isinstance(state, frozenset)
        f, *args = action
        if f in ("create", "delete", "gone"):
            children = ((args[0], owner) for owner in self._owners.get(args[0], ()))
            there = next((child for child in children if child in state), None)
            if f == "create":
                return ILLEGAL if there is not None else state | {(args[0], args[1])}
            if f == "delete":
                return ILLEGAL if there is None else state - {there}
            return state - {there} if there is not None and _alike(there[1], args[1]) else state
        agrees = {"none": not state, "some": bool(state), "list": not args or args[0] == _names(state)}[f]
        return state if agrees else ILLEGAL

    def show(self, state: State) -> str:
        """Returns the names."""
        names = sorted(_names(state))
        shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
        return f"with the children {shown}" if names else "without children"

    def tell(self, call: Call) -> str:
        """Returns what was done or seen, in words."""
        if call.result[0] != "list":
            return super().tell(call)
        names = sorted(call.result[1])
        return f"children {', '.join(names[:8])}{', …' if len(names) > 8 else ''}" if names else "no children"
