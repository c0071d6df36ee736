"""Mutations that are committed at once, without reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.spanner.client.errors import over
from services.spanner.client.mutations import Mutations

if TYPE_CHECKING:
    from typing import Self

    from services.spanner.client.database import Database
    from services.spanner.client.transaction import Transaction


class Batch(Mutations):
    """Mutations for one transaction; `Database.batch` makes it.

    Leaving the block commits, unless by an exception. A conflict has it tried again; a lost answer never has
    it take effect twice.

    Attributes:
        commit_timestamp: None before it has committed.
    """

    def __init__(self, database: Database) -> None:
        super().__init__()
        self.commit_timestamp: int | None = None
        self._database = database
        self._committed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            await self.commit()

    async def commit(self) -> int | None:
        """Commits, and returns the commit timestamp.

        Raises:
            SpannerError: as `Database.run_in_transaction`; FAILED_PRECONDITION: it was committed before.
        """
        self._usable()
        self._committed = True
        await self._database.run_in_transaction(self._all)
        return self.commit_timestamp

    async def _all(self, transaction: Transaction) -> None:
        transaction.mutations[:] = self.mutations
        self.commit_timestamp = await transaction.commit()

    def _usable(self) -> None:
        if self._committed:
            raise over("this batch was committed: make another one")
