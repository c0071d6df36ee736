"""Changes of the schema (4.2.3): one transaction at a timestamp in the future, over all groups.

Whoever writes or reads before that timestamp does not wait for it; whoever comes after it does, until the
outcome is known. Every group has the newest schema: those that are made later get it as they begin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.spanner.client import ALL
from services.spanner.errors import SpannerError
from services.spanner.placement.groups import groups_in, schema_in
from services.spanner.placement.system import MOVES, ROOT, SCHEMAS
from services.spanner.schema import apply_change, decode_changes

if TYPE_CHECKING:
    from services.spanner.client import Database, Transaction
    from services.spanner.schema import Schema

LEAD_NS = 300_000_000
"""How far ahead a change is put at first: all groups must have prepared it by then."""

LONGEST_NS = 20_000_000_000
"""The farthest it is put ahead, doubled after each attempt that came too late."""


async def change_schema(database: Database, change: bytes, at: int = 0) -> tuple[Schema, int]:
    """Changes the schema, and returns it with the timestamp from which on it holds, once that has passed.

    Args:
        database: the universe's.
        change: what is changed, as `schema.encode_changes` writes it.
        at: that timestamp; 0: soon.

    Raises:
        SpannerError: it is no change of this schema; FAILED_PRECONDITION: `at` comes too soon for that.
    """
    changes = decode_changes(change)

    async def work(transaction: Transaction, when: int) -> Schema:
        schema = apply_change(await schema_in(transaction), *changes)
        groups = await groups_in(transaction)
        transaction.insert(SCHEMAS, ("version", "schema", "since"), [(schema.version, schema.encode(), when)])
        for group in [ROOT, *(one.group for one in groups.values() if one.state == "ready")]:
            transaction.change(group, schema=schema.encode(), at=when)
        await transaction.commit()
        return schema

    lead = LEAD_NS
    while True:
        when = at or await present(database) + lead
        try:
            return await database.run_in_transaction(work, when), when
        except SpannerError as error:
            lead *= 2
            late = error.code == "FAILED_PRECONDITION" and "too late" in error.detail
            if at or not late or lead > LONGEST_NS:
                raise


async def present(database: Database) -> int:
    """Returns a timestamp of TrueTime that has passed, or is about to."""
    snapshot = database.snapshot(strong=True, multi_use=True)
    await snapshot.read(MOVES, ("name",), ALL)
    assert snapshot.timestamp is not None
    return snapshot.timestamp
