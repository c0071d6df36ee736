"""The placement driver (2): looks at all spanservers now and then, and does what `decisions.py` says."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from services.spanner.client import ALL
from services.spanner.errors import SpannerError
from services.spanner.keys import KeyRange
from services.spanner.placement.decisions import Create, Drop, Move, Size, Universe, decide
from services.spanner.placement.fragments import FragmentMap
from services.spanner.placement.groups import NEXT
from services.spanner.placement.options import Option
from services.spanner.placement.patience import Patience
from services.spanner.placement.system import PLACEMENTS, ROOT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence

    from protos import spanner_pb2 as pb
    from services.host import Host
    from services.spanner.client import Database
    from services.spanner.placement.decisions import Change, Limits
    from services.spanner.placement.groups import Groups
    from services.spanner.placement.patience import Condition
    from services.spanner.placement.root import Root, View
    from services.spanner.placement.servers import Servers
    from services.spanner.placement.system import GroupRow

PLACEMENT_COLUMNS = ("start", "end", "option")


class Driver:
    """Looks, decides, does; one change at a time.

    Args:
        host: on which it is.
        root, servers, database, groups: what it sees and does by.
        move: moves a range to a group.
        go_on: goes on with what others have begun, and nobody works at.
        spanservers: names of those that may have no group yet.
        limits: see there.
    """

    def __init__(
        self,
        host: Host,
        root: Root,
        servers: Servers,
        database: Database,
        groups: Groups,
        move: Callable[[KeyRange, int], Awaitable[None]],
        go_on: Callable[[], Awaitable[None]],
        spanservers: Iterable[str],
        limits: Limits,
    ) -> None:
        self._host = host
        self._root = root
        self._servers = servers
        self._database = database
        self._groups = groups
        self._move = move
        self._go_on = go_on
        self._spanservers = spanservers
        self._limits = limits
        self._patience = Patience()

    async def run(self, every: float) -> None:
        """Works until cancelled; looks again so many seconds after there was nothing to do."""
        while True:
            try:
                await self._go_on()
                change = decide(await self.look(), self._limits)
                if change is None:
                    await asyncio.sleep(every)
                    continue
                self._host.trace("placement", what=type(change).__name__, why=change.why)
                await self._do(change)
            except SpannerError as error:
                self._host.trace("placement waits", why=error.detail)
                await asyncio.sleep(every)

    async def look(self) -> Universe:
        """Returns how all is."""
        view = await self._root.view()
        names = everybody(view, self._spanservers)
        told = await asyncio.gather(*map(self._servers.status, names))
        found = [one for one in told if one is not None]
        rows = await self._database.snapshot().read(PLACEMENTS, PLACEMENT_COLUMNS, ALL)
        groups = {number: row for number, row in view.groups.items() if row.state == "ready"}
        sizes = sizes_of(found, groups)
        for number in asleep_with_garbage(found):
            if number in groups:
                with suppress(SpannerError):  # it cannot be led now
                    await self._groups.wake(groups[number])
        loads = {status.server: sum(group.load for group in status.groups) for status in found}
        silent = [name for name, one in zip(names, told, strict=True) if one is None]
        return self._patient(
            Universe(
                FragmentMap(each for each in view.fragments.fragments if each.group != ROOT),
                groups,
                sizes,
                {status.server: status.zone for status in found},
                [(KeyRange(start, end), Option.parse(option)) for start, end, option in rows if option],
                loads,
            ),
            silent,
        )

    def _patient(self, seen: Universe, silent: Sequence[str]) -> Universe:
        """Adds what has been so for long enough."""
        limits, patience = self._limits, self._patience
        now = asyncio.get_running_loop().time()
        patience.look(now, [*_conditions(seen, limits), *(("silent", name) for name in silent)])

        def long(kind: str) -> frozenset[Any]:
            return frozenset(patience.held(kind, now, limits.patience_s))

        gone = patience.held("silent", now, limits.silent_s) if limits.silent_s else ()
        return msgspec.structs.replace(
            seen,
            hot=long("hot"),
            cold=long("cold"),
            uneven=long("uneven"),
            gone=frozenset(map(str, gone)),
        )

    async def _do(self, change: Change) -> None:
        if isinstance(change, Create):
            await self._groups.create(NEXT, change.members)
        elif isinstance(change, Move):
            await self._move(change.range, change.to)
            self._patience.forget("hot", "uneven")
        else:
            assert isinstance(change, Drop)
            await self._groups.drop(change.group)


def _conditions(seen: Universe, limits: Limits) -> Iterator[Condition]:
    """Yields what holds now, and must last before anything is done about it."""
    for number, size in seen.sizes.items():
        if limits.hottest and size.load > limits.hottest:
            yield "hot", number
        if size.load < limits.coldest:
            yield "cold", number
    if limits.uneven and seen.loads:
        least = min(seen.loads.values())
        for name, load in seen.loads.items():
            if load - least > limits.uneven:
                yield "uneven", name


def sizes_of(told: Sequence[pb.SpanserverStatus], groups: dict[int, GroupRow]) -> dict[int, Size]:
    """Joins what replicas told: what a group holds, as one says that has most of its log; all that is asked.

    A group that sleeps has no leader, and the others know as well what it holds.
    """
    best: dict[int, pb.GroupStatus] = {}
    busiest: dict[int, pb.GroupStatus] = {}
    load: dict[int, float] = {}
    leaders: dict[int, tuple[int, str]] = {}
    for status in told:
        witness = {
            number
            for number, row in groups.items()
            if any(one.server == status.server and not one.holds_data for one in row.members)
        }
        for group in status.groups:
            number = group.group
            load[number] = load.get(number, 0.0) + group.load
            if group.term > leaders.get(number, (0, ""))[0]:
                leaders[number] = (group.term, status.server)
            if number in witness:
                continue
            if number not in best or group.applied > best[number].applied:
                best[number] = group
            if group.hot and (number not in busiest or group.load > busiest[number].load):
                busiest[number] = group
    return {
        number: Size(
            group.bytes,
            group.middle,
            load[number],
            busiest[number].hot if number in busiest else b"",
            leaders.get(number, (0, ""))[1],
        )
        for number, group in best.items()
        if number in groups
    }


def asleep_with_garbage(told: Sequence[pb.SpanserverStatus]) -> list[int]:
    """Returns the groups that nobody leads, and that keep what nobody may read any more."""
    led = {group.group for status in told for group in status.groups if group.term}
    kept = {group.group: None for status in told for group in status.groups if group.garbage}
    return [number for number in kept if number not in led]


def everybody(view: View, spanservers: Iterable[str]) -> list[str]:
    """Returns all spanservers that are known."""
    members = (one.server for row in view.groups.values() for one in row.members)
    return list(dict.fromkeys([*spanservers, *members]))
