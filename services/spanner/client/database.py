"""The database, as a program has it: transactions, snapshots, batches; read first."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from services.spanner.client.batch import Batch
from services.spanner.client.bounds import bound as _bound
from services.spanner.client.locations import Locations
from services.spanner.client.reads import Reader, What
from services.spanner.client.retry import Backoff
from services.spanner.client.router import Router
from services.spanner.client.snapshot import Snapshot
from services.spanner.client.transaction import Transaction
from services.spanner.errors import SpannerError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence
    from typing import Concatenate, ParamSpec, Self

    from services.host import Host
    from services.spanner.client.bounds import Duration, Timestamp
    from services.spanner.schema import Schema

    P = ParamSpec("P")

KEEP_ALIVE = 3.0  # seconds between two words of an open transaction (4.2.1)
TIMEOUT = 30.0  # seconds
SPREAD = 1_000_000  # ns: ages of transactions that begin in the same moment differ by up to this

T = TypeVar("T")


def connect(
    host: Host, locations: Sequence[str], *, zone: str = "", timeout: float = TIMEOUT, placement: bool = False
) -> Database:
    """Returns the database; nothing is asked yet. `async with connect(...) as database` closes it, too.

    Args:
        host: the door of the program that uses it.
        locations: names of location proxies; the first that answers is asked.
        zone: the program's own: reads go to replicas there first. "" leaves that to measured latencies.
        timeout: seconds for a read, or for a transaction with all that it takes to run it again; each call
            can have its own.
        placement: for placement only: its transactions may write the system tables.

    Raises:
        SpannerError: INVALID_ARGUMENT: no location proxy is named.
    """
    return Database(host, locations, zone, timeout, placement=placement)


class Database:
    """The database; made by `connect`.

    Args:
        host, locations, zone, timeout, placement: see `connect`.
    """

    def __init__(
        self, host: Host, locations: Sequence[str], zone: str, timeout: float, *, placement: bool = False
    ) -> None:
        self.host = host
        self.placement = placement
        self.locations = Locations(host, locations)
        self.router = Router(host, self.locations, zone)
        self.reader = Reader(self.router)
        self._timeout = timeout
        self._prefix = f"{host.name}-{host.rng.getrandbits(48):012x}"
        self._numbers = 0
        self._open: dict[Transaction, float] = {}
        self._keeping: asyncio.Task[None] | None = None
        self._background: dict[asyncio.Task[None], None] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Gives up what is open, and closes all connections."""
        for transaction in list(self._open):
            await transaction.rollback()
        if self._background:
            await asyncio.wait(list(self._background), timeout=1.0)
        for task in [*self._background, *([self._keeping] if self._keeping else [])]:
            task.cancel()
        await self.router.close()
        await self.locations.close()

    # What a program does

    async def run_in_transaction(
        self,
        work: Callable[Concatenate[Transaction, P], Awaitable[T]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        """Runs `await work(transaction, ...)`, commits, and returns what it returned.

        Where the transaction is aborted (a conflict, a leader that died) it is run again from its beginning,
        after a while, with the age that it had: so it gets older than those in its way, and its turn comes.
            `work`
        must not do what cannot be done twice, except through the transaction.

        Raises:
            SpannerError: DEADLINE_EXCEEDED or ABORTED: the time (`connect`) was over; others: as the
                transaction's calls raise them. `OutcomeUnknown`: nobody knows whether it has committed; it is
                not run again.
        """
        return await self.run(work, args, kwargs, self._timeout)

    async def run(
        self, work: Callable[..., Awaitable[T]], args: Sequence[Any], kwargs: dict[str, Any], timeout: float
    ) -> T:
        """As `run_in_transaction`, with a time-out in seconds of its own."""
        deadline = asyncio.get_running_loop().time() + timeout
        age = self._age()
        backoff = Backoff(self.host.rng)
        while True:
            transaction = await self._begin(age, deadline)
            try:
                result = await work(transaction, *args, **kwargs)
                if transaction.is_open:
                    await transaction.commit()
            except SpannerError as exc:
                await transaction.rollback()
                if exc.code != "ABORTED":
                    raise
                wait = backoff.next(exc.retry_s)
                if asyncio.get_running_loop().time() + wait > deadline:
                    raise
                await asyncio.sleep(wait)
            except BaseException:
                await transaction.rollback()
                raise
            else:
                return result

    async def transaction(self, *, timeout: float | None = None) -> Transaction:
        """Begins a transaction that nobody runs again: `async with await database.transaction() as t`."""
        loop = asyncio.get_running_loop()
        return await self._begin(self._age(), loop.time() + (timeout or self._timeout))

    def snapshot(
        self,
        *,
        strong: bool = False,
        read_timestamp: Timestamp | None = None,
        min_read_timestamp: Timestamp | None = None,
        max_staleness: Duration | None = None,
        exact_staleness: Duration | None = None,
        multi_use: bool = False,
        timeout: float | None = None,
    ) -> Snapshot:
        """Returns a read-only transaction.

        Args:
            strong: sees all that was committed before it began; the default.
            read_timestamp: at exactly this time; waits where that has not come yet.
            min_read_timestamp: at a time not before this: the newest at which the nearest replica can answer
                at once.
            max_staleness: the same, by how long ago it may be.
            exact_staleness: at the time so long ago.
            multi_use: for several reads, all at the same time; not with `min_read_timestamp` and
                `max_staleness`.
            timeout: seconds for a read.

        Raises:
            SpannerError: INVALID_ARGUMENT: bounds that make no sense.
        """
        chosen = _bound(
            strong=strong,
            read_timestamp=read_timestamp,
            min_read_timestamp=min_read_timestamp,
            max_staleness=max_staleness,
            exact_staleness=exact_staleness,
        )
        return Snapshot(self, chosen, multi_use, timeout or self._timeout)

    def batch(self) -> Batch:
        """Returns mutations to be committed at once, no reads: `async with database.batch() as batch`."""
        return Batch(self)

    async def schema(self, *, timeout: float | None = None) -> Schema:
        """Returns the schema, as this client knows it."""
        loop = asyncio.get_running_loop()
        return await self.locations.schema(loop.time() + (timeout or self._timeout))

    # For the parts of the client

    def transaction_id(self) -> str:
        """Returns a name that no other transaction has."""
        self._numbers += 1
        return f"{self._prefix}-{self._numbers}"

    async def schema_with(self, table: str, columns: Sequence[str], deadline: float) -> Schema:
        """Returns the schema; a newer one than was known when that has no such table or column."""
        schema = await self.locations.schema(deadline)
        try:
            known = schema.table(table)
            for column in columns:
                known.column(column)
        except SpannerError:
            return await self.locations.schema(deadline, newer_than=schema.version)
        return schema

    async def learn(self, error: SpannerError, asked: int, schema: Schema, deadline: float) -> None:
        """Finds out anew what a server says is otherwise; see `Reader.learn`."""
        what = What("", (), schema.version)
        try:
            await self.reader.learn(error, asked, what, Backoff(self.host.rng), deadline)
        except SpannerError:
            return  # the next attempt finds out whether it matters

    def closed(self, transaction: Transaction) -> None:
        """Says that a transaction needs no keepalives any more."""
        self._open.pop(transaction, None)

    def in_background(self, work: Coroutine[Any, Any, None]) -> None:
        """Runs what nobody waits for."""
        task = asyncio.ensure_future(work)
        self._background[task] = None
        task.add_done_callback(lambda done: self._background.pop(done, None))

    def _age(self) -> int:
        return self.host.clock.time_ns() + self.host.rng.randrange(SPREAD)

    async def _begin(self, age: int, deadline: float) -> Transaction:
        schema = await self.locations.schema(deadline)
        transaction = Transaction(self, age, deadline, schema)
        self._open[transaction] = asyncio.get_running_loop().time()
        if self._keeping is None or self._keeping.done():
            self._keeping = asyncio.ensure_future(self._keep_alive())
        return transaction

    async def _keep_alive(self) -> None:
        loop = asyncio.get_running_loop()
        while self._open:
            await asyncio.sleep(KEEP_ALIVE / 2)
            old = [one for one, since in self._open.items() if since <= loop.time() - KEEP_ALIVE / 2]
            await asyncio.gather(*(transaction.keep_alive() for transaction in old))
