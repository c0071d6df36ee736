"""Making and dropping groups: a row of the system table first, then replicas, then the group's first schema.

What was begun and not ended stands in the table as "creating" or "dropping", and whoever comes later goes on
with it: each step can be done again.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from protos import spanner_pb2 as pb
from services.spanner.client import ALL, keys
from services.spanner.errors import SpannerError
from services.spanner.placement.system import FRAGMENTS, GROUPS, MOVES, ROOT, SCHEMAS, GroupRow, MoveRow
from services.spanner.schema import Schema

if TYPE_CHECKING:
    from services.spanner.client import Database, Transaction
    from services.spanner.group import Member
    from services.spanner.placement.servers import Servers

NEXT = 0xFFFFFFFF
"""A group's number: the next free one."""

PATIENCE = 5.0  # seconds for a spanserver to make a replica


async def groups_in(transaction: Transaction) -> dict[int, GroupRow]:
    """Reads the groups, under locks."""
    found = [GroupRow.of(row) for row in await transaction.read(GROUPS, GroupRow.COLUMNS, ALL)]
    return {one.group: one for one in found}


async def schema_in(transaction: Transaction) -> Schema:
    """Reads the newest schema, under locks: nobody changes it meanwhile."""
    rows = await transaction.read(SCHEMAS, ("schema",), ALL, limit=1)
    if not rows:
        raise SpannerError("UNAVAILABLE", "the universe has not begun yet: its system tables are empty")
    return Schema.decode(rows[0][0])


class Groups:
    """Groups of a universe.

    Args:
        database: with the system tables.
        servers: connections to spanservers.
    """

    def __init__(self, database: Database, servers: Servers) -> None:
        self._database = database
        self._servers = servers

    async def create(self, number: int, members: tuple[Member, ...], preferred: str = "") -> int:
        """Makes a group that owns nothing yet, and returns its number; again: no effect.

        Args:
            number: its number, or `NEXT`.
            members: its replicas.
            preferred: who should lead; "" for anybody.

        Raises:
            SpannerError: INVALID_ARGUMENT; ALREADY_EXISTS: with other members; UNAVAILABLE: a spanserver does
                not answer (it is gone on with when it is asked for again, and after a restart).
        """
        names = [one.server for one in members]
        if len(dict.fromkeys(names)) != len(names) or "" in names:
            raise SpannerError("INVALID_ARGUMENT", "each member of a group is a server that is named once")
        if not any(one.kind == "read-write" for one in members):
            raise SpannerError("INVALID_ARGUMENT", "a group needs a read-write replica: nobody else may lead")
        if number == ROOT:
            raise SpannerError("ALREADY_EXISTS", "group 0 is the universe's own")

        async def work(transaction: Transaction) -> GroupRow:
            known = await groups_in(transaction)
            wanted = number if number != NEXT else max(known, default=ROOT) + 1
            row = known.get(wanted)
            if row is None:
                row = GroupRow(wanted, members, preferred, "creating")
                transaction.insert(GROUPS, GroupRow.COLUMNS, [row.row()])
            elif row.members != members:
                raise SpannerError("ALREADY_EXISTS", f"group {wanted} has other members")
            return row

        row = await self._database.run_in_transaction(work)
        await self.go_on(row)
        return row.group

    async def go_on(self, row: GroupRow) -> None:
        """Goes on with a group that is being made or dropped."""
        if row.state == "dropping":
            await self.drop(row.group)
            return
        request = pb.GroupRequest(
            group=row.group,
            members=[pb.Member(server=one.server, zone=one.zone, kind=one.kind) for one in row.members],
            preferred_leader=row.preferred or row.members[0].server,
        )
        for one in row.members:
            await self._servers.ask(one.server, lambda stub: stub.CreateReplica(request, timeout=PATIENCE))

        async def begin(transaction: Transaction) -> None:
            rows = await transaction.read(GROUPS, ("state",), keys([row.group]))
            if not rows or rows[0][0] != "creating":
                return
            schema = await schema_in(transaction)
            transaction.update(GROUPS, ("group", "state"), [(row.group, "ready")])
            transaction.change(row.group, schema=schema.encode())

        await self._database.run_in_transaction(begin)

    async def drop(self, number: int) -> None:
        """Has a group that has nothing go, with its replicas, once nobody may ask it any more.

        Raises:
            SpannerError: FAILED_PRECONDITION: it has something, or something is moved from or to it;
                UNAVAILABLE: it may still be asked, or a server does not answer: it is gone on with later.
        """

        async def work(transaction: Transaction) -> GroupRow | None:
            row = (await groups_in(transaction)).get(number)
            if row is None:
                return None
            for _, _, owner in await transaction.read(FRAGMENTS, ("start", "end", "group"), ALL):
                if owner == number:
                    raise SpannerError("FAILED_PRECONDITION", f"group {number} has something")
            for move in [MoveRow.of(one) for one in await transaction.read(MOVES, MoveRow.COLUMNS, ALL)]:
                if number in (move.source, move.target):
                    raise SpannerError("FAILED_PRECONDITION", f"group {number} is part of {move.name}")
            transaction.update(GROUPS, ("group", "state"), [(number, "dropping")])
            return row

        row = await self._database.run_in_transaction(work)
        if row is not None:
            await self._forget(row)

    async def _forget(self, row: GroupRow) -> None:
        """Drops replicas, when the leader says that nothing is left to be decided or told."""
        names = [one.server for one in row.members]
        answers = await asyncio.gather(*(self._servers.status(name, [row.group]) for name in names))
        found = [(name, one) for name, one in zip(names, answers, strict=True) if one is not None]
        if all(one.groups for _, one in found):  # otherwise that was seen to already, and replicas are going
            await self.wake(row)
            told = [status for name, _ in found if (status := await self._servers.status(name, [row.group]))]
            ends = [one for status in told for one in status.groups if one.term]
            if not any(not one.prepared and not one.unfinished for one in ends):
                raise SpannerError("UNAVAILABLE", f"group {row.group} may still be asked for outcomes")
        request = pb.GroupRequest(group=row.group)
        for name, _ in found:
            await self._servers.ask(name, lambda stub: stub.DropReplica(request, timeout=PATIENCE))
        if len(found) < len(names):
            silent = [name for name, one in zip(names, answers, strict=True) if one is None]
            raise SpannerError("UNAVAILABLE", f"{silent[0]} has a replica of group {row.group} to drop")

        async def end(transaction: Transaction) -> None:
            transaction.delete(GROUPS, keys([row.group]))

        await self._database.run_in_transaction(end)

    async def wake(self, row: GroupRow) -> None:
        """Has a group led by somebody: by a request that does nothing."""
        nothing = pb.TransactionRequest(group=row.group, transaction=pb.Transaction(id="wake", age=1))
        await self._servers.lead(
            row.group, row.members, lambda stub: stub.Rollback(nothing, timeout=PATIENCE), PATIENCE
        )

    async def unfinished(self) -> list[GroupRow]:
        """Returns the groups that are being made, or dropped."""
        rows = await self._database.snapshot().read(GROUPS, GroupRow.COLUMNS, ALL)
        return [one for one in map(GroupRow.of, rows) if one.state != "ready"]
