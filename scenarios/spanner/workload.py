"""Clients that do a little of everything: transfers, appends to lists, reads of keys and ranges,
now and some time ago.

Accounts are registers of the history (`accounts.py`), lists are lists: whoever reads one sees all that was
appended before, in order. Half of the groups have accounts, the others lists, and transactions go over
several of either.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from scenarios.spanner.accounts import SCHEMA as ACCOUNTS
from scenarios.spanner.accounts import TABLE as ACCOUNT_TABLE
from scenarios.spanner.accounts import Banker
from services.spanner.client import ALL, KeySet, OutcomeUnknown, Range, SpannerError, keys
from services.spanner.schema import ColumnSpec, CreateTable, apply_change

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.spanner.client import Row, Transaction

LISTS = "Lists"
COLUMNS = ("Id", "Items")
SCHEMA = apply_change(
    ACCOUNTS, CreateTable(LISTS, (ColumnSpec("Id", "INT64"), ColumnSpec("Items", "STRING(MAX)")), ("Id",))
)
MS = 1_000_000


def cuts(accounts: int, lists: int, groups: int) -> list[bytes]:
    """Returns the keys at which groups begin: the first half have accounts, the others lists."""
    first = max(1, groups // 2)
    second = groups - first
    table, other = SCHEMA.table(ACCOUNT_TABLE), SCHEMA.table(LISTS)
    found = [table.key([accounts * part // first]) for part in range(1, first)]
    return found + [other.key([lists * part // second]) for part in range(second)]


def listed(number: int) -> str:
    """Returns what the history calls a list."""
    return f"l{number}"


class Acknowledged(Struct, frozen=True):
    """A write that was acknowledged: in which table, to which row, what must be in it, and when."""

    table: str
    row: int
    value: str
    timestamp: int


class Worker(Banker):
    """A client.

    Args:
        lists: how many there are.
        others: as `Banker` has them.

    Attributes:
        acknowledged: what it appended, and was told that it is there.
    """

    def __init__(self, *args: Any, lists: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lists = lists
        self.alone = False
        self.acknowledged: list[Acknowledged] = []

    async def work(self, over: asyncio.Event, pause: float = 0.05) -> None:
        """Does one thing after another until it is `over`."""
        while not over.is_set():
            await self.once()
            await asyncio.sleep(self._chance.expovariate(1 / pause) if pause else 0)

    async def once(self) -> None:
        """Does one thing."""
        chance = self._chance
        stale = chance.randint(1, 500) * MS
        whim = chance.random()
        if whim < 0.3:
            await self.transfer()
        elif whim < 0.6:
            some = chance.sample(range(self.lists), min(self.lists, chance.choice((1, 1, 2, 3))))
            await self.append(some, [one for one in some if chance.random() < 0.7])
        elif whim < 0.65:
            await self.everything()
        elif whim < 0.75:
            await self.look(self._part())
        elif whim < 0.85:
            await self.look(self._part(), exact_staleness=stale)
        elif whim < 0.95:
            await self.look(self._part(), max_staleness=stale)
        else:
            await self.audit()

    async def open_lists(self) -> None:
        """Makes all lists, each with one item of its own."""
        await self._append([], range(self.lists))

    async def everywhere(self) -> bool:
        """Writes to all groups that have lists, in one transaction, and to some accounts; says whether it
        could."""
        before = self.committed
        await self._append([], range(self.lists))
        await self.transfer()
        return self.committed == before + 2

    async def append(self, reads: Sequence[int], appends: Sequence[int]) -> None:
        """Reads some lists, and appends to some of them."""
        await self._append(reads, appends)

    async def everything(self) -> None:
        """Reads all lists under locks, as a range."""
        await self._append(range(self.lists), [], ALL)

    async def _append(
        self, reads: Sequence[int], appends: Sequence[int], which: KeySet | None = None
    ) -> None:
        item = self._item()
        numbers = sorted({*reads, *appends})
        asked = [["r", listed(one), None] for one in reads]
        written = [["append", listed(one), item] for one in appends]
        last: list[Transaction] = []

        async def work(transaction: Transaction) -> list[Row]:
            last[:] = [transaction]
            rows = await transaction.read(LISTS, COLUMNS, which or keys(*([one] for one in numbers)))
            before: dict[int, str] = dict(rows)
            changed = [(one, f"{before[one]},{item}" if one in before else f"{item}") for one in appends]
            if changed:
                transaction.insert_or_update(LISTS, COLUMNS, changed)
            return rows

        began = self.world.now()
        async with self.world.operation(self.name, "txn", [*asked, *written]) as op:
            try:
                rows = await self._database.run_in_transaction(work)
            except OutcomeUnknown as exc:
                self.unknown += 1
                op.info(exc.code)
            except SpannerError as exc:
                self.refused += 1
                op.fail(f"{exc.code} {exc.reason}".strip())
            else:
                self._committed(op, [*_items(rows, reads), *written], last[0], began)
                at = last[0].commit_timestamp or 0
                self.acknowledged += [Acknowledged(LISTS, one, str(item), at) for one in appends]

    async def look(self, which: range, **bound: Any) -> None:
        """Reads a range of lists without locks, at any replica.

        Args:
            which: the lists.
            bound: as `Database.snapshot` takes it; none is strong.
        """
        reads = [["r", listed(one), None] for one in which]
        async with self.world.operation(self.name, "snapshot" if bound else "txn", reads) as op:
            snapshot = self._database.snapshot(**bound)
            some = KeySet(ranges=(Range((which.start,), (which.stop,)),))
            try:
                rows = await snapshot.read(LISTS, COLUMNS, some)
            except SpannerError as exc:
                op.fail(f"{exc.code} {exc.reason}".strip())
            else:
                # Of one group a strong read is at LastTS(): what was written elsewhere may be later (4.2.2).
                op.ok(_items(rows, which), timestamp=snapshot.timestamp if bound else None)

    def _part(self) -> range:
        first = self._chance.randrange(self.lists)
        return range(first, self._chance.randint(first + 1, self.lists))

    def _item(self) -> int:
        self._tags += 1
        return int("".join(filter(str.isdigit, self.name)) or 0) * 1_000_000 + self._tags


def _items(rows: Sequence[Row], which: Sequence[int]) -> list[list[Any]]:
    """Returns reads as the history has them."""
    found = {number: [int(item) for item in items.split(",")] for number, items in rows}
    return [["r", listed(one), found.get(one, [])] for one in which]
