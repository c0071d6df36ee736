"""A join on the reduce side: two inputs, told apart by a tag, meet under their common key.

Lines of both inputs are a kind, a key and a value with tabs between: users are "user TAB id TAB name", orders
"order TAB id TAB thing". The key of the intermediate pairs holds the tag too, so that a user comes before the
orders of the same id, and no reduce has to keep them in memory; the partition function looks at the id alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from services.mapreduce.counters import count
from services.mapreduce.job import Job, Pair
from services.mapreduce.partition import by_hash

USER, ORDER = 0, 1


def by_id(key: Any, reduces: int) -> int:
    """Returns the part of all that has the same id."""
    return by_hash(key[0], reduces)


class Join(Job):
    """Gives "id TAB name TAB thing" for each order of a user that there is."""

    partitioner = staticmethod(by_id)
    user: tuple[str, str] | None = None  # the last one that came by

    def map(self, offset: int, line: str) -> Iterator[tuple[tuple[str, int], str]]:
        """Tags a line."""
        kind, key, value = line.split("\t", 2)
        yield (key, USER if kind == "user" else ORDER), value

    def reduce(self, key: tuple[str, int], values: Iterator[str]) -> Iterator[Pair]:
        """Remembers a user, and gives the orders that follow."""
        id_, tag = key
        for value in values:
            if tag == USER:
                self.user = key[0], value
            elif self.user is not None and self.user[0] == id_:
                yield Pair(id_, f"{self.user[1]}\t{value}")
            else:
                count("orders without a user")
