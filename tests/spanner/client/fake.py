"""A universe for tests of the client: groups without Paxos, in memory, behind the real doors.

All servers share the groups. A group says who leads it, and refuses elsewhere; locks are not kept:
transactions take place one after the other. What tests want to see (or break) is in its attributes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from protos import spanner_pb2 as pb
from protos import spanner_pb2_grpc as rpc
from services.spanner.errors import SpannerError
from services.spanner.keys import KeyRange
from services.spanner.schema import EMPTY, Mutation, Plan, Schema, decode_rows
from services.spanner.spanserver.calls import Calls
from services.spanner.spanserver.door import Door

PART = 3  # rows in an answer


class FakeGroup:
    """A group; has the methods of `Transactions`.

    Attributes:
        number, members, leader, term: as told to clients.
        asked: names of servers and calls, in the order in which they came.
    """

    def __init__(self, universe: Universe, number: int, members: list[str], owned: list[KeyRange]) -> None:
        self.universe = universe
        self.number = number
        self.members = members
        self.leader = members[0]
        self.term = 1
        self.owned = owned
        self.rows: dict[bytes, list[tuple[int, bytes | None]]] = {}
        self.outcomes: dict[str, int] = {}
        self.prepared: dict[str, tuple[Any, int]] = {}
        self.asked: list[tuple[str, str]] = []
        self.refusals: list[SpannerError] = []
        self.delay = 0.0
        self.lost = 0  # answers to commits that get lost, from now on

    @property
    def last_write(self) -> int:
        return max((history[-1][0] for history in self.rows.values()), default=0)

    def owns(self, range_: KeyRange) -> bool:
        return any(one.covers(range_) for one in self.owned)

    def at(self, key: bytes, t: int) -> tuple[int, bytes | None]:
        found = (0, None)
        for stamp, row in self.rows.get(key, ()):
            if stamp <= t:
                found = (stamp, row)
        return found

    def scan(self, range_: KeyRange, t: int = 1 << 62) -> list[tuple[bytes, bytes, int]]:
        found = []
        for key in sorted(self.rows):
            if key in range_:
                stamp, row = self.at(key, t)
                if row is not None:
                    found.append((key, row, stamp))
        return found


class Transactions:
    """A server's view of a group."""

    def __init__(self, group: FakeGroup, server: str) -> None:
        self.group = group
        self.server = server

    async def _lead(self, what: str, transaction: Any = None) -> None:
        group = self.group
        group.asked.append((self.server, what))
        if group.delay:
            await asyncio.sleep(group.delay)
        if group.refusals and what != "rollback":
            raise group.refusals.pop(0)
        if group.leader != self.server:
            raise SpannerError("UNAVAILABLE", "another leads", "not-leader", hint=group.leader)
        if transaction is not None and transaction.term not in (0, group.term):
            raise SpannerError("ABORTED", "its locks are lost", "lost-locks", retry_s=0.01)

    async def read(self, request: pb.ReadRequest) -> AsyncIterator[pb.PartialResultSet]:
        group, universe = self.group, self.group.universe
        bound = request.transaction.read_only
        which = bound.WhichOneof("bound")
        if request.transaction.WhichOneof("kind") == "read_write":
            await self._lead("read", request.transaction.read_write)
            t = universe.clock
        elif which == "strong" and not request.only_timestamp:
            await self._lead("strong read")
            t = group.last_write  # LastTS()
        else:
            group.asked.append((self.server, which))
            if group.delay:
                await asyncio.sleep(group.delay)
            if group.refusals:
                raise group.refusals.pop(0)
            t = {
                "strong": universe.clock,
                "read_timestamp": bound.read_timestamp,
                "exact_staleness": universe.clock - bound.exact_staleness,
                "min_read_timestamp": max(bound.min_read_timestamp, universe.clock - group.number),
                "max_staleness": universe.clock - min(bound.max_staleness, group.number),
            }[which]
        if request.only_timestamp:
            yield pb.PartialResultSet(read_timestamp=t, last=True)
            return
        if request.schema_version != universe.schema.version:
            raise SpannerError("ABORTED", "another schema", "schema")
        ranges = [KeyRange(one.start, one.end) for one in request.ranges]
        if not all(group.owns(one) for one in ranges):
            raise SpannerError("ABORTED", "not here", "moved")
        rows = [row for one in ranges for row in group.scan(one, t) if row[0] > request.resume_token]
        if request.limit:
            rows = rows[: request.limit]
        sent = 0
        while True:
            part = rows[sent : sent + PART]
            sent += len(part)
            yield pb.PartialResultSet(
                rows=decode_rows(universe.schema, request.table, request.columns, [one[:2] for one in part]),
                timestamps=[stamp for _, _, stamp in part],
                resume_token=part[-1][0] if part else b"",
                read_timestamp=t,
                term=group.term if request.transaction.WhichOneof("kind") == "read_write" else 0,
                last=sent >= len(rows),
            )
            if sent >= len(rows):
                return
            await universe.pause(self.server)

    def effects(self, request: Any) -> Any:
        group = self.group
        if request.schema_version != group.universe.schema.version:
            raise SpannerError("ABORTED", "another schema", "schema")
        plan = Plan(group.universe.schema, [Mutation.from_wire(one) for one in request.mutations])
        locks = plan.locks()
        if not all(group.owns(one) for one in (*locks.exclusive, *locks.shared)):
            raise SpannerError("ABORTED", "not here", "moved")
        return plan.effects(
            lambda key: group.at(key, 1 << 62)[1],
            lambda range_: ((key, row) for key, row, _ in group.scan(range_)),
        )

    def apply(self, effects: Any, t: int) -> None:
        for key, row in effects:
            self.group.rows.setdefault(key, []).append((t, row))

    async def commit(self, request: pb.CommitRequest) -> pb.CommitReply:
        group, universe = self.group, self.group.universe
        name = request.transaction.id
        if name not in group.outcomes:
            await self._lead("commit", request.transaction)
            effects = self.effects(request)
            for _ in range(200):
                votes = [universe.groups[one].prepared.get(name) for one in request.participants]
                if all(votes) or name in group.outcomes:
                    break
                await asyncio.sleep(0.01)
            if not all(votes):
                group.outcomes[name] = 0
            elif name not in group.outcomes:
                universe.clock += 1
                group.outcomes[name] = universe.clock
                self.apply(effects, universe.clock)
                for one in request.participants:
                    other = universe.groups[one]
                    Transactions(other, self.server).apply(other.prepared.pop(name)[0], universe.clock)
        if group.lost:
            group.lost -= 1
            raise SpannerError("UNAVAILABLE", "the answer is lost")
        if not group.outcomes[name]:
            raise SpannerError("ABORTED", "it was aborted", retry_s=0.01)
        return pb.CommitReply(commit_timestamp=group.outcomes[name])

    async def prepare(self, request: pb.PrepareRequest) -> pb.PrepareReply:
        await self._lead("prepare", request.transaction)
        self.group.prepared[request.transaction.id] = (self.effects(request), 1)
        return pb.PrepareReply(prepare_timestamp=self.group.universe.clock)

    async def rollback(self, request: pb.TransactionRequest) -> None:
        await self._lead("rollback")
        self.group.outcomes.setdefault(request.transaction.id, 0)

    async def keep_alive(self, request: pb.TransactionRequest) -> None:
        await self._lead("keep alive", request.transaction)

    async def decide(self, request: pb.DecideRequest) -> pb.Decision:
        return pb.Decision()

    async def wound(self, request: pb.WoundRequest) -> None:
        pass


class Server:
    """What `Calls` asks for groups."""

    def __init__(self, universe: Universe, name: str) -> None:
        self.universe = universe
        self.name = name

    def hosted(self, number: int) -> Any:
        group = self.universe.groups.get(number)
        if group is None or self.name not in group.members:
            raise SpannerError("UNAVAILABLE", "not here", "unknown-group")
        return _Hosted(Transactions(group, self.name))


class _Hosted(msgspec.Struct):
    transactions: Any


class Location(rpc.LocationServicer):
    """A location proxy that knows all."""

    def __init__(self, universe: Universe) -> None:
        self.universe = universe
        self.asked = 0

    async def Locate(self, request: pb.LocateRequest, context: Any) -> pb.Located:
        self.asked += 1
        groups = self.universe.groups.values()
        return pb.Located(
            timestamp=self.universe.clock,
            fragments=[
                pb.Fragment(range=pb.KeyRange(start=one.start, end=one.end), group=group.number)
                for group in groups
                for one in group.owned
            ],
            groups=[
                pb.GroupLocation(
                    group=group.number,
                    members=[pb.Member(server=one, zone=f"z{one[1:]}") for one in group.members],
                )
                for group in groups
            ],
        )

    async def Schema(self, request: pb.SchemaRequest, context: Any) -> pb.SchemaReply:
        schema = self.universe.schema
        return pb.SchemaReply(version=schema.version, schema=schema.encode())


class Universe:
    """Groups by number, the schema, and a clock that each commit moves on."""

    def __init__(self) -> None:
        self.groups: dict[int, FakeGroup] = {}
        self.schema: Schema = EMPTY
        self.clock = 1000
        self.location = Location(self)
        self.paused: dict[str, asyncio.Event] = {}

    def group(self, number: int, members: list[str], *owned: KeyRange) -> FakeGroup:
        self.groups[number] = FakeGroup(self, number, members, list(owned))
        return self.groups[number]

    async def pause(self, server: str) -> None:
        """Waits between two parts of an answer while a test says so."""
        if server in self.paused:
            await self.paused[server].wait()


async def serve(host: Any, universe: Universe) -> None:
    """A spanserver of the fake universe."""
    server = host.serve()
    rpc.add_SpanserverServicer_to_server(Door(Calls(Server(universe, host.name)), None), server)
    await server.start()
    await asyncio.get_running_loop().create_future()


async def locate(host: Any, universe: Universe) -> None:
    """A location proxy of it."""
    server = host.serve()
    rpc.add_LocationServicer_to_server(universe.location, server)
    await server.start()
    await asyncio.get_running_loop().create_future()
