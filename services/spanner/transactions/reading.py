"""Reads of read-write transactions: the latest committed rows, under shared locks, at the leader (4.2.1)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from protos import spanner_pb2 as pb
from services.spanner.errors import SpannerError
from services.spanner.keys import KeyRange
from services.spanner.transactions.pages import Pages
from services.spanner.transactions.work import decoded

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.spanner.transactions.leading import Reign, Transaction


async def read(reign: Reign, request: pb.ReadRequest) -> AsyncIterator[pb.PartialResultSet]:
    """Yields what a read under locks asks for; see `Transactions.read`.

    The locks are taken first, of all ranges, whatever the limit. Locks of who wrote there before are kept
    until that is applied and its commit wait is over, so what is there then is the latest, and may be
    seen.
    """
    tablet = reign.tablet
    truetime = reign.group.truetime
    one = reign.enter(request.transaction.read_write)
    _check(reign, one)
    ranges = [KeyRange(each.start, each.end) for each in request.ranges]
    for within in ranges:
        if within.start >= within.end:
            raise SpannerError("INVALID_ARGUMENT", f"{within} is no range")
    await reign.lock(one, ranges, False)
    _check(reign, one)
    for within in ranges:
        if not tablet.owns(within):
            raise SpannerError(
                "UNAVAILABLE", f"group {reign.group.number} does not own all of {within}", "moved"
            )
    now = truetime.now()
    schema = tablet.schema_at(now.latest)
    version = decoded(schema).version
    if version != request.schema_version:
        raise reign.aborted(
            f"the schema is of version {version}, the read goes by version {request.schema_version}", "schema"
        )
    if tablet.schemas and tablet.schemas[-1][0] >= now.earliest:
        # Rows that a schema change wrote may be ahead of the present (4.2.3).
        await truetime.until_after(tablet.last_write(ranges))
        _check(reign, one)
    if request.only_timestamp:  # who wants the locks alone (movedir, 2.2): the range may be of no table
        yield pb.PartialResultSet(read_timestamp=now.latest, term=reign.term, last=True)
        return
    pages = Pages(tablet, request, schema, term=reign.term)
    while True:
        part = pages.next()
        if part is not None:
            yield part
        if pages.done:
            return
        if part is None:
            await asyncio.sleep(0)
        _check(reign, one)


def _check(reign: Reign, one: Transaction) -> None:
    reign.check(one)
    if one.work is not None:
        raise SpannerError(
            "FAILED_PRECONDITION", f"transaction {one.id} is being committed, and reads no more"
        )
