"""Clients of the groups in memory, and the history of what they were told."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from protos import spanner_pb2 as pb
from protos.history import Operation
from services.spanner.errors import SpannerError
from services.spanner.keys import only
from services.spanner.schema import insert_or_update
from sim.check.operations import calls
from sim.check.transactions.check import check
from sim.check.transactions.timestamps import look
from tests.spanner.transactions.groups import BASE, SCHEMA, TABLE, WIDTH, World, looked_at, now_ns


class Unknown(Exception):
    """Nobody says whether a transaction has committed."""


class History:
    """What was asked and answered."""

    def __init__(self) -> None:
        self.events: list[Operation] = []

    def add(self, process: str, type: Any, value: Any, timestamp: int | None = None, f: str = "txn") -> None:
        event = Operation(process, type, f, value, now_ns() - BASE, len(self.events))
        if timestamp is not None:
            event.timestamp = timestamp
        self.events.append(event)

    def wrong(self) -> list[str]:
        """Returns what is not as it must be, in words."""
        found = calls(self.events)
        verdict = check(found, own_writes=False)
        wrong = [f"{one.name}: {one.words}" for one in verdict.breaking("strict-serializable")]
        if not wrong and verdict.answer("strict-serializable") != "holds":
            wrong.append("not known to be strictly serializable")
        wrong += [f"{name}: {words}" for name, bad, words in look(found, own_writes=False) if bad is not None]
        return wrong

    def committed(self) -> int:
        return sum(event.type == "ok" for event in self.events)


class Attempt:
    """A read-write transaction, tried once."""

    def __init__(self, client: Client, id: str, age: int) -> None:
        self.client, self.id, self.age = client, id, age
        self.terms: dict[int, int] = {}

    def who(self, group: int) -> pb.Transaction:
        return pb.Transaction(id=self.id, age=self.age, term=self.terms.get(group, 0))

    async def read(self, key: int) -> list[int]:
        group = key // WIDTH
        selector = pb.TransactionSelector(read_write=self.who(group))
        parts = await self.client.ask(group, "read", request_of(key, selector), 3)
        for part in parts:
            if self.terms.setdefault(group, part.term) != part.term:
                raise SpannerError("ABORTED", "another leader")
        return value_of(parts)

    async def commit(self, values: dict[int, list[int]], coordinator: int | None = None) -> int:
        """Commits, with these values written; returns the timestamp.

        Raises:
            SpannerError: ABORTED, or a refusal.
            Unknown: it may have committed.
        """
        parts: dict[int, list[Any]] = {group: [] for group in self.terms}
        for key, value in values.items():
            mutation = insert_or_update("T", ("K", "V"), [(key, ",".join(map(str, value)))])
            parts.setdefault(key // WIDTH, []).append(mutation.to_wire())
        first = coordinator if coordinator is not None else self.client.world.rng.choice(sorted(parts))
        others = [group for group in parts if group != first]
        prepares = [
            asyncio.create_task(
                self.client.ask(
                    group,
                    "prepare",
                    pb.PrepareRequest(
                        group=group,
                        transaction=self.who(group),
                        mutations=parts[group],
                        schema_version=SCHEMA.version,
                        coordinator=first,
                    ),
                    20,
                )
            )
            for group in others
        ]
        request = pb.CommitRequest(
            group=first,
            transaction=self.who(first),
            mutations=parts[first],
            schema_version=SCHEMA.version,
            participants=others,
        )
        try:
            return (await self.client.ask(first, "commit", request, 20)).commit_timestamp
        except SpannerError as error:
            if error.code == "UNAVAILABLE":
                raise Unknown from None
            raise
        finally:
            for task in prepares:
                task.add_done_callback(looked_at)

    def give_up(self) -> None:
        for group in self.terms:
            request = pb.TransactionRequest(group=group, transaction=self.who(group))
            task = asyncio.create_task(self.client.ask(group, "rollback", request, 1))
            task.add_done_callback(looked_at)


class Client:
    """A client: one transaction at a time."""

    def __init__(self, world: World, name: str, history: History | None = None) -> None:
        self.world, self.name, self.history = world, name, history or History()
        self._numbers = self._lives = 0

    @property
    def process(self) -> str:
        return f"{self.name}.{self._lives}"

    async def ask(self, group: int, method: str, request: Any, tries: int) -> Any:
        """Asks the leader of a group, whoever that is."""
        core = self.world.cores[group]
        server = core.leader.name if core.leader is not None else core.replicas[0].name
        for left in reversed(range(tries)):
            try:
                return await self.world.call(group, server, method, request)
            except SpannerError as error:
                if error.code != "UNAVAILABLE" or not left:
                    raise
                server = error.hint or self.world.rng.choice(core.replicas).name
            await self.world.pause(0.05)
        raise AssertionError

    def attempt(self, age: int | None = None) -> Attempt:
        self._numbers += 1
        return Attempt(self, f"{self.name}-{self._numbers}", age or now_ns())

    async def transaction(self, reads: list[int], appends: dict[int, int], tries: int = 30) -> bool:
        """Reads some keys, and appends to some; tries until it is committed; says whether it is."""
        asked = [["r", key, None] for key in reads] + [["append", *each] for each in appends.items()]
        self.history.add(self.process, "invoke", asked)
        age = now_ns()
        for number in range(tries):
            attempt = self.attempt(age)
            try:
                seen = {key: await attempt.read(key) for key in dict.fromkeys([*reads, *appends])}
                if self.world.rng.random() < 0.2:
                    await self.world.pause(0.01)
                values = {key: [*seen[key], value] for key, value in appends.items()}
                timestamp = await attempt.commit(values)
            except SpannerError as error:
                assert error.code in ("ABORTED", "UNAVAILABLE"), error
                attempt.give_up()
                await self.world.pause(0.01 * (number + 1))
                continue
            except Unknown:
                self.history.add(self.process, "info", asked)
                self._lives += 1
                return False
            done = [["r", key, seen[key]] for key in reads] + [["append", *each] for each in appends.items()]
            self.history.add(self.process, "ok", done, timestamp)
            return True
        self.history.add(self.process, "fail", asked)
        return False

    async def snapshot(self, keys: list[int]) -> None:
        """Reads some keys without locks, now: at any replica, or at the leader if they are of one group."""
        asked = [["r", key, None] for key in keys]
        self.history.add(self.process, "invoke", asked)
        groups = {key // WIDTH for key in keys}
        try:
            bound = pb.TimestampBound(strong=True)
            if len(groups) == 1 and len(keys) == 1:
                selector = pb.TransactionSelector(read_only=bound)
                parts = await self.ask(keys[0] // WIDTH, "read", request_of(keys[0], selector), 10)
                timestamp = (
                    None  # LastTS() of the row (4.2.2): what was written elsewhere later is not below it
                )
                seen = {keys[0]: value_of(parts)}
            else:
                timestamp = await self._anywhere(keys[0] // WIDTH, bound, keys[0], only_timestamp=True)
                exact = pb.TimestampBound(read_timestamp=timestamp)
                seen = {key: await self._anywhere(key // WIDTH, exact, key) for key in keys}
        except SpannerError as error:
            assert error.code == "UNAVAILABLE", error
            self.history.add(self.process, "fail", asked)
            return
        self.history.add(self.process, "ok", [["r", key, seen[key]] for key in keys], timestamp)

    async def _anywhere(self, group: int, bound: pb.TimestampBound, key: int, **more: Any) -> Any:
        request = request_of(key, pb.TransactionSelector(read_only=bound), **more)
        for left in reversed(range(10)):
            server = self.world.rng.choice(self.world.cores[group].replicas).name
            try:
                parts = await self.world.call(group, server, "read", request)
                return parts[0].read_timestamp if more else value_of(parts)
            except SpannerError as error:
                if error.code != "UNAVAILABLE" or not left:
                    raise
        raise AssertionError


def request_of(key: int, selector: pb.TransactionSelector, **more: Any) -> pb.ReadRequest:
    within = only(TABLE.key([key]))
    return pb.ReadRequest(
        group=key // WIDTH,
        transaction=selector,
        table="T",
        columns=["V"],
        ranges=[pb.KeyRange(start=within.start, end=within.end)],
        schema_version=SCHEMA.version,
        **more,
    )


def value_of(parts: list[pb.PartialResultSet]) -> list[int]:
    rows = [row for part in parts for row in msgspec.msgpack.decode(part.rows)]
    return [int(item) for item in rows[0][0].split(",")] if rows else []
