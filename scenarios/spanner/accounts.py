"""Accounts, and who moves money between them: clients whose every transaction goes into the history.

An account is a register of the history: what stands in it is the *tag* of the transaction that wrote it last,
which no other one has, so that readers show whose writes they saw. The balance stands beside it: whoever
audits adds those up.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from services.spanner.client import ALL, OutcomeUnknown, SpannerError, keys
from services.spanner.placement.system import SYSTEM
from services.spanner.schema import ColumnSpec, CreateTable, apply_change

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from scenarios.spanner.cluster import Universe
    from services.spanner.client import Row, Transaction
    from sim import World
    from sim.scenario.api import OpenOperation

TABLE = "Accounts"
COLUMNS = ("Id", "Balance", "Tag")
OPENING = 100
SCHEMA = apply_change(
    SYSTEM,
    CreateTable(
        TABLE,
        (ColumnSpec("Id", "INT64"), ColumnSpec("Balance", "INT64"), ColumnSpec("Tag", "STRING(64)")),
        primary_key=("Id",),
    ),
)


def cuts(accounts: int, groups: int) -> list[bytes]:
    """Returns the keys at which that many groups begin that have equally many of the accounts."""
    table = SCHEMA.table(TABLE)
    return [table.key([accounts * part // groups]) for part in range(1, groups)]


def account(number: int) -> str:
    """Returns what the history calls an account."""
    return f"a{number}"


class Banker:
    """A client.

    Args:
        universe: where the accounts are.
        name: of the client, and of its host.
        accounts: how many there are.
        zone: in which it is.
        timeout: seconds for a transaction.
        among: the accounts between which it transfers; None: all.

    Attributes:
        committed, refused, unknown: how its transactions ended.
        latencies: seconds of those that were committed.
        commits: when they were, in seconds of the run.
        runs: how often transactions were begun: those that were aborted are begun again.
        read_at, written_at: the timestamps of its last audit and commit.
        alone: nothing but the accounts is written. Otherwise a strong read of one group may be at LastTS of
            the accounts (4.2.4), before what was written elsewhere and known: its timestamp is no place in
            real time.
    """

    def __init__(
        self,
        universe: Universe,
        name: str,
        accounts: int,
        *,
        zone: str = "",
        timeout: float = 30.0,
        among: Sequence[int] | None = None,
    ) -> None:
        self.world: World = universe.world
        self.alone = True
        self.name = name
        self.accounts = accounts
        self.committed = self.refused = self.unknown = 0
        self.latencies: list[float] = []
        self.commits: list[float] = []
        self.runs = 0
        self.read_at = self.written_at = 0
        self._database = universe.database(name, zone=zone, timeout=timeout)
        self._chance = self.world.client(name).rng
        self._among = range(accounts) if among is None else among
        self._tags = 0

    async def open_accounts(self) -> None:
        """Writes all accounts for the first time, in one transaction."""
        numbers = range(self.accounts)
        tag = self._tag()

        async def work(transaction: Transaction) -> list[Row]:
            transaction.insert(TABLE, COLUMNS, [(one, OPENING, tag) for one in numbers])
            return []

        await self._record(work, [], numbers, tag)

    async def work(self, over: asyncio.Event, pause: float = 0.05) -> None:
        """Transfers until it is `over`, with pauses of so many seconds on average."""
        while not over.is_set():
            await self.transfer()
            await asyncio.sleep(self._chance.expovariate(1 / pause) if pause else 0)

    async def transfer(
        self,
        meanwhile: Callable[[], Awaitable[object]] | None = None,
        between: tuple[int, int] | None = None,
    ) -> None:
        """Moves some money from one account to another.

        Args:
            meanwhile: what happens between the reads and the commit.
            between: from which to which; the group of the first one coordinates. None: any.
        """
        source, target = between or self._chance.sample(self._among, 2)
        amount = self._chance.randint(1, 10)
        tag = self._tag()

        async def work(transaction: Transaction) -> list[Row]:
            rows = await transaction.read(TABLE, COLUMNS, keys([source], [target]))
            if meanwhile is not None:
                await meanwhile()
            balances = {number: balance for number, balance, _ in rows}
            moved = {source: balances[source] - amount, target: balances[target] + amount}
            transaction.update(TABLE, COLUMNS, [(one, moved[one], tag) for one in (source, target)])
            return rows

        await self._record(work, sorted((source, target)), (source, target), tag)

    async def audit(self, **bound: Any) -> int | None:
        """Adds up all balances at one moment; returns the sum, None where it could not be read.

        Args:
            bound: as `Database.snapshot` takes it; none is strong.
        """
        numbers = range(self.accounts)
        strong = not bound or "strong" in bound
        reads = [["r", account(one), None] for one in numbers]
        async with self.world.operation(self.name, "txn" if strong else "snapshot", reads) as op:
            snapshot = self._database.snapshot(**bound)
            try:
                rows = await snapshot.read(TABLE, COLUMNS, ALL)
            except SpannerError as exc:
                op.fail(f"{exc.code} {exc.reason}".strip())
                return None
            stamped = self.alone or not strong
            op.ok(_seen(rows, numbers), timestamp=snapshot.timestamp if stamped else None)
            self.read_at = snapshot.timestamp or 0
        total: int = sum(balance for _, balance, _ in rows)
        return total

    async def _run(self, work: Callable[[Transaction], Awaitable[list[Row]]]) -> list[Row]:
        """Runs a transaction until it commits."""
        return await self._database.run_in_transaction(work)

    async def _record(self, work: Any, reads: Sequence[int], writes: Sequence[int], tag: str) -> None:
        """Runs a transaction, and records it."""
        asked = [["r", account(one), None] for one in reads]
        written = [["w", account(one), tag] for one in writes]
        last: list[Transaction] = []

        async def noted(transaction: Transaction) -> Any:
            last[:] = [transaction]
            self.runs += 1
            return await work(transaction)

        began = self.world.now()
        async with self.world.operation(self.name, "txn", [*asked, *written]) as op:
            try:
                rows = await self._run(noted)
            except OutcomeUnknown as exc:
                self.unknown += 1
                op.info(exc.code)
            except SpannerError as exc:
                self.refused += 1
                op.fail(f"{exc.code} {exc.reason}".strip())
            else:
                self._committed(op, [*_seen(rows, reads), *written], last[0], began)

    def _committed(self, op: OpenOperation, value: Any, transaction: Transaction, began: float) -> None:
        self.committed += 1
        self.latencies.append(self.world.now() - began)
        self.commits.append(self.world.now())
        self.written_at = transaction.commit_timestamp or 0
        op.ok(value, timestamp=transaction.commit_timestamp)

    def _tag(self) -> str:
        self._tags += 1
        return f"{self.name}-{self._tags}"


def _seen(rows: Sequence[Row], numbers: Sequence[int]) -> list[list[Any]]:
    """Returns reads as the history has them."""
    tags = {number: tag for number, _, tag in rows}
    return [["r", account(one), tags.get(one)] for one in numbers]
