"""Reading: which pieces of the key set are where, asking for them, going on when a server goes away.

A read is cut into *runs*: what one group has in a row. Runs are read side by side, one after the other where
rows are counted or streamed, and the rows come in the order of the keys.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct

from protos import spanner_pb2 as pb
from services.spanner.client.retry import Backoff
from services.spanner.client.router import ELSEWHERE, Router, Search
from services.spanner.errors import SpannerError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.spanner.keys import KeyRange

STALLED = 1.0  # seconds without rows after which another replica is asked; it doubles


class What(Struct):
    """What is read.

    Attributes:
        table, columns: of which the values are wanted.
        schema_version: by which ranges are made.
        only_timestamp: no rows are wanted, only the timestamp at which they would be read.
    """

    table: str
    columns: Sequence[str]
    schema_version: int
    only_timestamp: bool = False


class Scattered(Exception):
    """What one group had is several groups' by now: the timestamp must be chosen for all of them."""


class How(Protocol):
    """As part of which transaction a run is read."""

    def selector(self, group: int) -> pb.TransactionSelector:
        """Returns what the request says of the transaction."""
        ...

    def seen(self, group: int, part: pb.PartialResultSet) -> None:
        """Takes what an answer tells of the transaction."""
        ...

    def scattered(self) -> None:
        """Told that what is read is of several groups, as far as is known now.

        Raises:
            Scattered: it was to be read as if one group had it; no answer has come yet.
        """
        ...

    @property
    def at_leader(self) -> bool:
        """Whether the leader is asked; else the nearest replica."""
        ...


class Run:
    """What one group has in a row, being read.

    Args:
        router: whom to ask.
        group: the group.
        ranges: in order.
        what, how: see there.
        deadline: in `loop.time()`.
    """

    def __init__(
        self, router: Router, group: int, ranges: Sequence[KeyRange], what: What, how: How, deadline: float
    ) -> None:
        self.group = group
        self.token = b""
        self._router = router
        self._ranges = [pb.KeyRange(start=one.start, end=one.end) for one in ranges]
        self._what = what
        self._how = how
        self._search = Search(router, group, deadline)
        self._avoid: dict[str, None] = {}

    async def parts(self, limit: int) -> AsyncIterator[pb.PartialResultSet]:
        """Yields the answers, whichever servers give them.

        Args:
            limit: rows; 0 for all.

        Raises:
            SpannerError: the refusal; with a reason of `ELSEWHERE`, what is left (after `token`) is to be
                asked otherwise.
        """
        patience = STALLED
        counted = 0
        try:
            while True:
                server = self._server()
                rows, forget = await self._router.pipeline(server).read(
                    self._request(limit and limit - counted), self._search.left()
                )
                try:
                    while True:
                        left = self._search.left()
                        async with asyncio.timeout(left if self._how.at_leader else min(patience, left)):
                            part = await rows.next()
                        if part is None:
                            return
                        self._search.over(found=True)
                        if part.resume_token:
                            self.token = part.resume_token
                        self._how.seen(self.group, part)
                        counted += len(part.timestamps)
                        yield part
                except TimeoutError:
                    self._search.left()
                    patience *= 2
                    self._avoid[server] = None
                except SpannerError as exc:
                    await self._failed(server, exc)
                finally:
                    forget()
        finally:
            self._search.over()

    def _server(self) -> str:
        if self._how.at_leader:
            return self._search.leader()
        place = self._router.locations.place(self.group)
        if len(self._avoid) >= len(place.readable):
            self._avoid.clear()
        return self._router.nearest(place, self._avoid)

    def _request(self, limit: int) -> pb.ReadRequest:
        what = self._what
        return pb.ReadRequest(
            group=self.group,
            transaction=self._how.selector(self.group),
            table=what.table,
            columns=what.columns,
            ranges=self._ranges,
            limit=limit,
            schema_version=what.schema_version,
            resume_token=self.token,
            only_timestamp=what.only_timestamp,
        )

    async def _failed(self, server: str, error: SpannerError) -> None:
        if self._how.at_leader:
            await self._search.failed(server, error)
            return
        if error.code not in ("UNAVAILABLE", "DEADLINE_EXCEEDED") or error.reason in ELSEWHERE:
            raise error
        if error.reason not in ("no-time", "not-leader"):
            self._router.suspect(server)
        self._avoid[server] = None
        await self._search.failed("", error)


class Reader:
    """Reads of one client.

    Args:
        router: whom to ask.
    """

    def __init__(self, router: Router) -> None:
        self._router = router
        self._locations = router.locations

    async def groups(self, ranges: Sequence[KeyRange], deadline: float) -> dict[int, list[KeyRange]]:
        """Returns the groups that own something of these ranges, each with what that is."""
        owners: dict[int, list[KeyRange]] = {}
        for group, pieces in await self._split(ranges, deadline):
            owners.setdefault(group, []).extend(pieces)
        return owners

    async def all(
        self, what: What, ranges: Sequence[KeyRange], limit: int, how: How, deadline: float
    ) -> list[pb.PartialResultSet]:
        """Returns all answers to a read, in the order of the keys.

        Raises:
            SpannerError: the refusal.
        """
        runs = await self._split(ranges, deadline)
        if len(runs) > 1:
            how.scattered()
        if len(runs) == 1 or limit:
            return [part async for part in self._in_turn(runs, what, how, limit, deadline)]
        tasks = [asyncio.ensure_future(self._gather(run, what, how, deadline)) for run in runs]
        try:
            return [part for parts in await asyncio.gather(*tasks) for part in parts]
        finally:
            for task in tasks:
                task.cancel()

    async def timestamp(
        self, what: What, group: int, ranges: Sequence[KeyRange], how: How, deadline: float
    ) -> int:
        """Returns the timestamp at which a replica of a group would read."""
        what = What(what.table, what.columns, what.schema_version, only_timestamp=True)
        parts = [part async for part in self._in_turn([(group, ranges)], what, how, 0, deadline)]
        return min(part.read_timestamp for part in parts)

    async def stream(
        self, what: What, ranges: Sequence[KeyRange], limit: int, how: How, deadline: float
    ) -> AsyncIterator[pb.PartialResultSet]:
        """Yields the answers as they come, in the order of the keys."""
        runs = await self._split(ranges, deadline)
        if len(runs) > 1:
            how.scattered()
        async for part in self._in_turn(runs, what, how, limit, deadline):
            yield part

    async def _gather(
        self, run: tuple[int, Sequence[KeyRange]], what: What, how: How, deadline: float
    ) -> list[pb.PartialResultSet]:
        return [part async for part in self._in_turn([run], what, how, 0, deadline)]

    async def _in_turn(
        self,
        runs: Sequence[tuple[int, Sequence[KeyRange]]],
        what: What,
        how: How,
        limit: int,
        deadline: float,
    ) -> AsyncIterator[pb.PartialResultSet]:
        """Yields the answers to runs, one run after the other; looks again where they are if they moved."""
        left = [(group, ranges, b"") for group, ranges in runs]
        counted = 0
        backoff = Backoff(self._router.host.rng)
        while left and not (limit and counted >= limit):
            group, ranges, token = left.pop(0)
            asked = self._locations.timestamp
            run = Run(self._router, group, ranges, what, how, deadline)
            run.token = token
            try:
                async for part in run.parts(limit and limit - counted):
                    counted += len(part.timestamps)
                    yield part
            except SpannerError as exc:
                if exc.reason not in ELSEWHERE:
                    raise
                await self.learn(exc, asked, what, backoff, deadline)
                again = await self._split(ranges, deadline)
                if len(again) > 1:
                    how.scattered()
                left[:0] = [(owner, pieces, run.token) for owner, pieces in again]

    async def learn(
        self, error: SpannerError, asked: int, what: What, backoff: Backoff, deadline: float
    ) -> None:
        """Finds out anew what a server says is otherwise.

        Args:
            error: what it said.
            asked: as of which timestamp locations were believed.
            what: gets the new version of the schema.
            backoff: the wait before, for what is otherwise may not be known everywhere yet.
            deadline: in `loop.time()`.

        Raises:
            SpannerError: the error itself, when the time is over.
        """
        wait = backoff.next()
        if asyncio.get_running_loop().time() + wait > deadline:
            raise error
        await asyncio.sleep(wait)
        if error.reason == "schema":
            schema = await self._locations.schema(deadline, newer_than=what.schema_version)
            what.schema_version = schema.version
        else:
            await self._locations.newer_than(asked, deadline)

    async def _split(self, ranges: Sequence[KeyRange], deadline: float) -> list[tuple[int, list[KeyRange]]]:
        await self._locations.known(deadline)
        backoff = Backoff(self._router.host.rng)
        while True:
            asked = self._locations.timestamp
            try:
                runs = self._locations.split(ranges)
                for group, _ in runs:
                    self._locations.place(group)
            except SpannerError as exc:
                await self.learn(exc, asked, What("", (), 0), backoff, deadline)
            else:
                return runs
