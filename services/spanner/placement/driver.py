"""The placement driver (2): looks at all spanservers now and then, and does what `decisions.py` says."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from services.spanner.client import ALL
from services.spanner.errors import SpannerError
from services.spanner.keys import KeyRange
from services.spanner.placement.decisions import (
    Create,
    Drop,
    Limits,
    Move,
    Option,
    Size,
    Universe,
    decide,
)
from services.spanner.placement.fragments import FragmentMap
from services.spanner.placement.groups import NEXT
from services.spanner.placement.system import PLACEMENTS, ROOT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from services.host import Host
    from services.spanner.client import Database
    from services.spanner.placement.decisions import Change
    from services.spanner.placement.groups import Groups
    from services.spanner.placement.root import Root, View
    from services.spanner.placement.servers import Servers

PLACEMENT_COLUMNS = ("start", "end", "option")


class Driver:
    """Looks, decides, does; one change at a time.

    Args:
        host: on which it is.
        root, servers, database, groups: what it sees and does by.
        move: moves a range to a group.
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
        spanservers: Iterable[str],
        limits: Limits,
    ) -> None:
        self._host = host
        self._root = root
        self._servers = servers
        self._database = database
        self._groups = groups
        self._move = move
        self._spanservers = spanservers
        self._limits = limits

    async def run(self, every: float) -> None:
        """Works until cancelled; looks again so many seconds after there was nothing to do."""
        while True:
            try:
                for row in await self._groups.unfinished():
                    await self._groups.go_on(row)
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
        found = [one for one in await asyncio.gather(*map(self._servers.status, names)) if one is not None]
        rows = await self._database.snapshot().read(PLACEMENTS, PLACEMENT_COLUMNS, ALL)
        return Universe(
            FragmentMap(each for each in view.fragments.fragments if each.group != ROOT),
            {number: row for number, row in view.groups.items() if row.state == "ready"},
            {
                group.group: Size(group.bytes, group.middle)
                for status in found
                for group in status.groups
                if group.term
            },
            {status.server: status.zone for status in found},
            [(KeyRange(start, end), Option.parse(told)) for start, end, told in rows if told],
        )

    async def _do(self, change: Change) -> None:
        if isinstance(change, Create):
            await self._groups.create(NEXT, change.members)
        elif isinstance(change, Move):
            await self._move(change.range, change.to)
        else:
            assert isinstance(change, Drop)
            await self._groups.drop(change.group)


def everybody(view: View, spanservers: Iterable[str]) -> list[str]:
    """Returns all spanservers that are known."""
    members = (one.server for row in view.groups.values() for one in row.members)
    return list(dict.fromkeys([*spanservers, *members]))
