"""What transactions and batches have in common: they collect mutations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from services.spanner import schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from services.spanner.schema import KeySet, Mutation, Value


class Mutations(ABC):
    """Mutations, in order; nothing is sent before the commit.

    Attributes:
        mutations: so far.
    """

    def __init__(self) -> None:
        self.mutations: list[Mutation] = []

    def insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> None:
        """Adds rows; ALREADY_EXISTS at the commit where one is there."""
        self._add(schema.insert(table, columns, rows))

    def update(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> None:
        """Changes columns of rows; NOT_FOUND at the commit where one is not there."""
        self._add(schema.update(table, columns, rows))

    def insert_or_update(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> None:
        """Adds rows, or changes these columns of them where they are there."""
        self._add(schema.insert_or_update(table, columns, rows))

    def replace(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Value]]) -> None:
        """Adds rows, or puts them in the place of those that are there: other columns become NULL."""
        self._add(schema.replace(table, columns, rows))

    def delete(self, table: str, key_set: KeySet) -> None:
        """Deletes rows; what is not there is no matter."""
        self._add(schema.delete(table, key_set))

    def _add(self, mutation: Mutation) -> None:
        self._usable()
        self.mutations.append(mutation)

    @abstractmethod
    def _usable(self) -> None:
        """Does nothing while mutations can be added.

        Raises:
            SpannerError: FAILED_PRECONDITION: it is over.
        """
