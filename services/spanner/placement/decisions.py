"""What the placement driver does next: from how the universe is to changes of it. No I/O, no memory.

One change at a time, the most urgent first: what it leads to is seen the next time.

- *Options* (2.2), and *servers that are gone*: a range that lies in a group whose replicas are not as its
  option says, or are on a server that has been silent for long, goes to a group that is better, or a new one.
- *Splits*: half of what a group has goes to another one, when it has more than is good, or is asked for more.
- *Balance*: half of what is asked of a server's busiest group goes to a group that is led by a server which
  is asked for much less.
- *Merges*: what a small group has that nobody asks for goes to its neighbour, if that is such a one, too.
- *Drops*: a group that has nothing goes. (The membership of a group never changes: replicas are added and
  removed by a new group, moves, and a drop.)
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from msgspec import Struct

from services.spanner.group import Member
from services.spanner.keys import KeyRange
from services.spanner.placement.fragments import Fragment, FragmentMap
from services.spanner.placement.options import Option
from services.spanner.placement.system import ROOT, GroupRow


class Limits(Struct, frozen=True, forbid_unknown_fields=True):
    """When the placement driver acts.

    Attributes:
        largest: bytes that a group has at most, before it is split.
        smallest: bytes: two neighbours that together have less become one, if they are cold; 0 for never.
        hottest: requests a second to a group, above which it is split; 0 for never.
        coldest: requests a second below which two neighbours together are cold.
        uneven: by how many requests a second two servers may differ; 0 for any number.
        patience_s: seconds for which a load must have lasted before anything is done about it.
        silent_s: seconds without an answer after which a server's replicas are made elsewhere; 0 for never.
        least: groups that are left, besides the root.
    """

    largest: int = 256 << 20
    smallest: int = 0
    hottest: float = 0.0
    coldest: float = 1.0
    uneven: float = 0.0
    patience_s: float = 10.0
    silent_s: float = 0.0
    least: int = 1

    def __post_init__(self) -> None:
        if self.hottest and self.hottest < 4 * self.coldest:
            raise ValueError("hottest: less than four times coldest would split what was just merged")
        if self.smallest > self.largest // 2:
            raise ValueError("smallest: more than half of largest would merge what was just split")


class Size(Struct, frozen=True):
    """What replicas tell of a group.

    Attributes:
        size: bytes of all versions that it owns.
        middle: a key that halves them; b"" where there is none.
        load: requests a second, to all of its replicas.
        hot: a key that halves those; b"" where there is none.
        leader: who leads; "" where nobody does, because nobody asks.
    """

    size: int
    middle: bytes = b""
    load: float = 0.0
    hot: bytes = b""
    leader: str = ""


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


class Universe(Struct, frozen=True):
    """How all is.

    Attributes:
        fragments: who has what of the user's keys.
        groups: those that are ready, by number.
        sizes: what replicas told, by group; a group that is not in it is left alone.
        servers: zones of the spanservers that answer, by name.
        options: of ranges; they do not overlap.
        loads: requests a second, by server.
        hot, cold: groups that have been hot, or cold, for long enough.
        uneven: servers that have been asked for too much more than others, for long enough.
        gone: servers that have been silent for too long.
    """

    fragments: FragmentMap
    groups: Mapping[int, GroupRow]
    sizes: Mapping[int, Size]
    servers: Mapping[str, str]
    options: Sequence[tuple[KeyRange, Option]] = ()
    loads: Mapping[str, float] = {}
    hot: frozenset[int] = frozenset()
    cold: frozenset[int] = frozenset()
    uneven: frozenset[str] = frozenset()
    gone: frozenset[str] = frozenset()

    def empty(self) -> list[int]:
        """Returns the groups that have nothing."""
        have = self.fragments.groups()
        return [number for number in self.groups if number != ROOT and number not in have]

    def lame(self, number: int) -> bool:
        """Says whether a group has a replica on a server that is gone."""
        return any(one.server in self.gone for one in self.groups[number].members)

    def known(self) -> Iterator[tuple[int, GroupRow, Size]]:
        """Yields the groups that have something, and of which somebody told."""
        for number in self.fragments.groups():
            row, size = self.groups.get(number), self.sizes.get(number)
            if row is not None and size is not None:
                yield number, row, size

    @property
    def count(self) -> int:
        """How many groups there are, besides the root."""
        return sum(1 for number in self.groups if number != ROOT)


def decide(universe: Universe, limits: Limits) -> Change | None:
    """Returns what is to be done next; None: all is well."""
    return (
        _misplaced(universe)
        or _split(universe, limits)
        or _balance(universe)
        or _merge(universe, limits)
        or _drop(universe, limits)
    )


def _misplaced(universe: Universe) -> Change | None:
    for fragment in universe.fragments.fragments:
        row = universe.groups.get(fragment.group)
        if row is None:
            continue
        for part, option in _wanted(universe, fragment, Option.of(row.members)):
            if Option.of(row.members) != option:
                why = f"group {fragment.group} is not as its option says"
            elif universe.lame(fragment.group):
                lost = [one.server for one in row.members if one.server in universe.gone]
                why = f"group {fragment.group} has a replica on {lost[0]}, which is gone"
            else:
                continue
            if change := _elsewhere(universe, part, option, why):
                return change
    return None


def _wanted(universe: Universe, fragment: Fragment, usual: Option) -> Iterator[tuple[KeyRange, Option]]:
    """Yields the parts of a fragment, each with the option that holds for it."""
    at = fragment.range.start
    for range_, option in sorted(universe.options):
        part = range_.meet(fragment.range)
        if part is None:
            continue
        if at < part.start:
            yield KeyRange(at, part.start), usual
        yield part, option
        at = part.end
    if at < fragment.range.end:
        yield KeyRange(at, fragment.range.end), usual


def _elsewhere(universe: Universe, range_: KeyRange, option: Option, why: str) -> Change | None:
    """Moves a range to a group with such replicas that has nothing, or to a new one."""
    for number in universe.empty():
        if Option.of(universe.groups[number].members) == option and not universe.lame(number):
            return Move(range_, number, why)
    replicas: dict[str, int] = {}
    for row in universe.groups.values():
        for one in row.members:
            replicas[one.server] = replicas.get(one.server, 0) + 1
    load = {name: (round(universe.loads.get(name, 0.0)), replicas.get(name, 0)) for name in universe.servers}
    members = option.members(universe.servers, load)
    return Create(members, why) if members is not None else None


def _split(universe: Universe, limits: Limits) -> Change | None:
    for number, row, size in universe.known():
        if number in universe.hot and size.hot:
            for part in universe.fragments.of(number):
                if part.start < size.hot < part.end:
                    why = f"group {number} is asked {size.load:.0f} times a second: over {limits.hottest:g}"
                    half = KeyRange(size.hot, part.end)
                    if change := _elsewhere(universe, half, Option.of(row.members), why):
                        return change
        if size.size <= limits.largest or not size.middle:
            continue
        for part in universe.fragments.of(number):
            half = KeyRange(max(part.start, size.middle), part.end)
            if half.start < half.end:
                why = f"group {number} has {size.size} bytes, more than {limits.largest}"
                if change := _elsewhere(universe, half, Option.of(row.members), why):
                    return change
    return None


def _balance(universe: Universe) -> Change | None:
    """Moves half of what is asked of a busy server's group to an idler one's, where that evens them out."""
    for busy in sorted(universe.uneven, key=lambda name: (-universe.loads.get(name, 0.0), name)):
        led = [(number, row, size) for number, row, size in universe.known() if size.leader == busy]
        for number, row, size in sorted(led, key=lambda one: (-one[2].load, one[0])):
            for other in sorted(universe.servers, key=lambda name: (universe.loads.get(name, 0.0), name)):
                if universe.loads.get(busy, 0.0) - universe.loads.get(other, 0.0) < size.load or not size.hot:
                    break
                change = _moved(universe, number, row, size, busy, other)
                if change is not None:
                    return change
    return None


def _moved(universe: Universe, number: int, row: GroupRow, size: Size, busy: str, idle: str) -> Change | None:
    why = f"{busy} is asked {universe.loads.get(busy, 0.0):.0f} times a second, and {idle} much less"
    for part in universe.fragments.of(number):
        if not part.start < size.hot < part.end:
            continue
        for target, there in universe.groups.items():
            leader = universe.sizes[target].leader if target in universe.sizes else ""
            if (
                target not in (ROOT, number)
                and (leader or there.preferred or there.members[0].server) == idle
                and Option.of(there.members) == Option.of(row.members)
                and not universe.lame(target)
            ):
                return Move(KeyRange(size.hot, part.end), target, why)
    return None


def _merge(universe: Universe, limits: Limits) -> Change | None:
    if not limits.smallest or universe.count <= limits.least:
        return None
    small = {
        number: (Option.of(row.members), size)
        for number, row, size in universe.known()
        if number in universe.cold and not universe.lame(number)
    }
    for left, right in itertools.pairwise(universe.fragments.fragments):
        if left.group == right.group or left.group not in small or right.group not in small:
            continue
        (option, size), (other, more) = small[left.group], small[right.group]
        cold = size.load + more.load < limits.coldest
        if option == other and cold and size.size + more.size < limits.smallest:
            return Move(right.range, left.group, f"groups {left.group} and {right.group} are small and cold")
    return None


def _drop(universe: Universe, limits: Limits) -> Change | None:
    for number in universe.empty():
        if universe.lame(number) or universe.count > limits.least:
            return Drop(number, "it has nothing")
    return None
