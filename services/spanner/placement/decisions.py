"""What the placement driver does next: from how the universe is to changes of it. No I/O, no memory.

One change at a time, the most urgent first: what it leads to is seen the next time.

- *Options* (2.2): a range that lies in a group whose replicas are not as its option says goes to one that has
  such, or to a new one.
- *Splits*: half of what a group has goes to another one when it has more than is good.
- *Merges*: what a small group has goes to another small one with the same replicas.
- *Drops*: a group that has nothing, and did not just come, goes. (The membership of a group never changes:
  replicas are added and removed by a new group, moves, and a drop.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from msgspec import Struct

from services.spanner.errors import SpannerError
from services.spanner.group import Member
from services.spanner.keys import KeyRange
from services.spanner.placement.fragments import FragmentMap
from services.spanner.placement.system import ROOT, GroupRow

KINDS = ("read-write", "read-only", "witness")


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """When groups are split and merged.

    Attributes:
        largest: bytes that a group has at most, before it is split.
        smallest: bytes: two groups that together have less become one; 0 for never.
    """

    largest: int = 256 << 20
    smallest: int = 0


class Size(Struct, frozen=True):
    """What the leader of a group tells of it.

    Attributes:
        size: bytes of all versions that it owns.
        middle: a key that halves them; b"" where there is none.
    """

    size: int
    middle: bytes = b""


class Create(Struct, frozen=True):
    """A group is to be made; what is in it is decided when it is there."""

    members: tuple[Member, ...]
    why: str


class Move(Struct, frozen=True):
    """A range is to be moved."""

    range: KeyRange
    to: int
    why: str


class Drop(Struct, frozen=True):
    """A group that has nothing is to go."""

    group: int
    why: str


Change: TypeAlias = Create | Move | Drop


class Option(Struct, frozen=True):
    """A placement option: how many replicas of which kind are in which zone (2.2).

    Attributes:
        replicas: (zone, kind) of each, sorted.
    """

    replicas: tuple[tuple[str, str], ...]

    @staticmethod
    def parse(told: str) -> Option:
        """Returns the option of a line such as "z1 z2:2 z3:witness z4:read-only".

        Args:
            told: zones, each with how many replicas it has (1 when not said), or of which kind.

        Raises:
            SpannerError: INVALID_ARGUMENT: in one line, what is wrong.
        """
        replicas: list[tuple[str, str]] = []
        for word in told.split():
            zone, _, what = word.partition(":")
            if not zone or not (what in KINDS or not what or (what.isdigit() and 0 < int(what) < 10)):
                raise SpannerError(
                    "INVALID_ARGUMENT",
                    f'placement option "{word[:60]}": expected ZONE, ZONE:NUMBER, or '
                    f"ZONE:KIND ({', '.join(KINDS)})",
                )
            count, kind = (int(what), "read-write") if what.isdigit() else (1, what or "read-write")
            replicas += [(zone, kind)] * count
        if not any(kind == "read-write" for _, kind in replicas):
            raise SpannerError(
                "INVALID_ARGUMENT", f'placement option "{told[:60]}" has no read-write replica'
            )
        return Option(tuple(sorted(replicas)))

    @staticmethod
    def of(members: Sequence[Member]) -> Option:
        """Returns the option that members fulfil."""
        return Option(tuple(sorted((one.zone, one.kind) for one in members)))

    def members(self, servers: Mapping[str, str], load: Mapping[str, int]) -> tuple[Member, ...] | None:
        """Chooses servers, those with the least to do first; None: there are too few.

        Args:
            servers: zones, by name.
            load: how many replicas each has.
        """
        chosen: dict[str, Member] = {}
        for zone, kind in sorted(self.replicas, key=lambda one: (KINDS.index(one[1]), one[0])):
            free = [name for name, where in servers.items() if where == zone and name not in chosen]
            if not free:
                return None
            name = min(free, key=lambda name: (load.get(name, 0), name))
            chosen[name] = Member(name, zone, kind)
        return tuple(
            sorted(
                chosen.values(), key=lambda one: (KINDS.index(one.kind), load.get(one.server, 0), one.zone)
            )
        )


class Universe(Struct, frozen=True):
    """How all is.

    Attributes:
        fragments: who has what of the user's keys.
        groups: those that are ready, by number.
        sizes: what leaders told, by group; a group that is not in it is left alone.
        servers: zones of the spanservers that answer, by name.
        options: of ranges; they do not overlap.
    """

    fragments: FragmentMap
    groups: Mapping[int, GroupRow]
    sizes: Mapping[int, Size]
    servers: Mapping[str, str]
    options: Sequence[tuple[KeyRange, Option]] = ()

    def empty(self) -> list[int]:
        """Returns the groups that have nothing."""
        have = self.fragments.groups()
        return [number for number in self.groups if number != ROOT and number not in have]


def decide(universe: Universe, limits: Limits) -> Change | None:
    """Returns what is to be done next; None: all is well."""
    return _options(universe) or _split(universe, limits) or _merge(universe, limits) or _drop(universe)


def _options(universe: Universe) -> Change | None:
    for range_, option in universe.options:
        for fragment in universe.fragments.meeting(range_):
            row = universe.groups.get(fragment.group)
            if row is None or Option.of(row.members) == option:
                continue
            part = range_.meet(fragment.range)
            assert part is not None
            return _elsewhere(universe, part, option, f"group {fragment.group} is not as its option says")
    return None


def _elsewhere(universe: Universe, range_: KeyRange, option: Option, why: str) -> Change | None:
    """Moves a range to a group with such replicas that has nothing, or to a new one."""
    for number in universe.empty():
        if Option.of(universe.groups[number].members) == option:
            return Move(range_, number, why)
    load: dict[str, int] = {}
    for row in universe.groups.values():
        for one in row.members:
            load[one.server] = load.get(one.server, 0) + 1
    members = option.members(universe.servers, load)
    return Create(members, why) if members is not None else None


def _split(universe: Universe, limits: Limits) -> Change | None:
    for number in universe.fragments.groups():
        size, row = universe.sizes.get(number), universe.groups.get(number)
        if row is None or size is None or size.size <= limits.largest or not size.middle:
            continue
        for part in universe.fragments.of(number):
            half = KeyRange(max(part.start, size.middle), part.end)
            if half.start < half.end:
                why = f"group {number} has {size.size} bytes, more than {limits.largest}"
                return _elsewhere(universe, half, Option.of(row.members), why)
    return None


def _merge(universe: Universe, limits: Limits) -> Change | None:
    if not limits.smallest:
        return None
    small: dict[Option, int] = {}
    for number in universe.fragments.groups():
        size, row = universe.sizes.get(number), universe.groups.get(number)
        if row is None or size is None or size.size >= limits.smallest:
            continue
        option = Option.of(row.members)
        other = small.setdefault(option, number)
        if other != number and size.size + universe.sizes[other].size < limits.smallest:
            part = universe.fragments.of(number)[0]
            return Move(part, other, f"groups {other} and {number} are small")
    return None


def _drop(universe: Universe) -> Change | None:
    for number in universe.empty():
        return Drop(number, "it has nothing")
    return None
