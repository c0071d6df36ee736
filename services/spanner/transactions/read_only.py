"""Reads without locks (4.1.3, 4.1.4, 4.2.2): choose a timestamp, wait until it is safe, read.

Nothing here takes a lock, and no write waits for a read (invariant 13).

Whoever reads a row knows that its transaction has committed, and so it must have: a replica may have applied
an entry whose commit wait is still under way, and then the read waits for the rest of it too (4.1.2: nobody
sees anything of it before TT.after(s)).
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

from protos import spanner_pb2 as pb
from services.spanner.errors import SpannerError
from services.spanner.group import NotLeader
from services.spanner.keys import KeyRange
from services.spanner.schema import EMPTY, Schema
from services.spanner.tablet import FOREVER
from services.spanner.transactions.pages import Pages, Place
from services.spanner.truetime.interval import Unsynchronized

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from services.spanner.group import Group
    from services.spanner.tablet import Tablet


async def read(
    group: Group, tablet: Tablet, request: pb.ReadRequest, *, commit_wait: bool = True
) -> AsyncIterator[pb.PartialResultSet]:
    """Yields what a read-only request asks for, at one timestamp.

    Args:
        group, tablet: the replica that is asked; only a strong read needs the leader.
        request: with a `read_only` selector. A resume token of any replica goes before it.
        commit_wait: False where transactions do not wait either (`TransactionSettings.commit_wait`).

    Raises:
        SpannerError: UNAVAILABLE "not-leader", "no-time" (this host's clock is not synchronized), "moved"
            (the group
            has not all of it at that timestamp), "schema" (the ranges were made by an older schema);
            OUT_OF_RANGE: versions that old are collected; NOT_FOUND: no such table or column;
            INVALID_ARGUMENT.
    """
    ranges = tuple(KeyRange(each.start, each.end) for each in request.ranges)
    try:
        if request.resume_token:
            t = Place.decode(request.resume_token).timestamp
        else:
            t = await choose(group, tablet, request.transaction.read_only, ranges, request.only_timestamp)
        if request.only_timestamp:
            yield pb.PartialResultSet(read_timestamp=t, last=True)
            return
        await safe(group, tablet, ranges, t, commit_wait=commit_wait)
    except NotLeader as error:
        raise SpannerError("UNAVAILABLE", str(error), "not-leader", hint=error.leader) from None
    except Unsynchronized:
        raise SpannerError("UNAVAILABLE", "the clock of this host is not synchronized", "no-time") from None
    schema = tablet.schema_at(t)
    version = (Schema.decode(schema) if schema else EMPTY).version
    if version > request.schema_version:
        words = f"the schema is of version {version} at {t}, the request goes by {request.schema_version}"
        raise SpannerError("UNAVAILABLE", words, "schema")
    pages = Pages(tablet, request, schema, t)
    while True:
        part = pages.next()
        if part is not None:
            yield part
        if pages.done:
            return
        if part is None:
            await asyncio.sleep(0)
        tablet.check(pages.ranges, t)


async def choose(
    group: Group,
    tablet: Tablet,
    bound: pb.TimestampBound,
    ranges: Sequence[KeyRange],
    only_timestamp: bool = False,
) -> int:
    """Returns the timestamp at which a read takes place.

    Args:
        group, tablet: of the replica that is asked.
        bound: what the client wants. Strong: all that had committed as the read began. Of ages, the
            absolute time is
            taken to be TT.now().latest, so that what is read is never older than that (invariant 18).
        ranges: what is read.
        only_timestamp: other groups are read at it too: a strong read takes TT.now().latest, which any
            replica
            knows (4.2.2), and not LastTS() of this group.

    Raises:
        NotLeader: a strong read of one group is for its leader.
        Unsynchronized: this host has no time.
        SpannerError: INVALID_ARGUMENT: there is no bound.
    """
    now = group.truetime.now()
    kind = bound.WhichOneof("bound")
    if kind == "strong":
        return now.latest if only_timestamp or not ranges else await _last(group, tablet, ranges)
    if kind == "read_timestamp":
        return bound.read_timestamp
    if kind == "exact_staleness":
        return max(0, now.latest - bound.exact_staleness)
    if kind == "max_staleness":
        least = max(0, now.latest - bound.max_staleness)
    elif kind == "min_read_timestamp":
        least = bound.min_read_timestamp
    else:
        raise SpannerError("INVALID_ARGUMENT", "a read without locks needs a timestamp bound")
    # The newest that can be had without waiting for anything.
    return max(least, min(group.paxos_safe_now, tablet.tm_safe(ranges), now.earliest - 1))


async def _last(group: Group, tablet: Tablet, ranges: Sequence[KeyRange]) -> int:
    """Returns LastTS() of ranges, or TT.now().latest where that is not the last for sure (4.2.2).

    All that has committed is applied at the leader, or prepared: no later timestamp shows more, as long as
    this is the leader. So its lease must hold at the moment of the choice.
    """
    while True:
        term = await group.lead()
        now = group.truetime.now()
        if group.term != term:
            continue
        if tablet.blocking(ranges, FOREVER):
            return now.latest
        schema = tablet.schema_place(now.latest)
        since = tablet.schemas[schema][0] if schema >= 0 else 0
        return min(now.latest, max(since, tablet.last_write(ranges)))


async def safe(
    group: Group, tablet: Tablet, ranges: Sequence[KeyRange], t: int, *, commit_wait: bool = True
) -> None:
    """Waits until ranges can be read here at `t`: t ≤ t_safe (4.1.3), and what is seen has committed.

    It may return at once, and does not give way then.

    Raises:
        SpannerError: they cannot: moved, or collected.
        Unsynchronized: this host has no time.
    """
    truetime = group.truetime
    truetime.now()
    tablet.check(ranges, t)
    if t > group.paxos_safe_now:
        if truetime.before(t):
            # A promise about the future would push the timestamps of all writes there.
            await truetime.until_after(t)
        await group.paxos_safe(t)
    await resolved(tablet, ranges, t)
    if commit_wait:
        shown = tablet.schemas[tablet.schema_place(t)][0] if tablet.schema_place(t) >= 0 else 0
        shown = min(t, max(shown, tablet.last_write(ranges)))
        if not truetime.after(shown):
            await truetime.until_after(shown)
    tablet.check(ranges, t)
    tablet.served(ranges, t)


async def resolved(tablet: Tablet, ranges: Sequence[KeyRange], t: int) -> None:
    """Waits until no prepared transaction may change ranges at or below `t`.

    With t_Paxos_safe ≥ t there will be no other: a later one is prepared above.
    """
    while blocking := tablet.blocking(ranges, t):
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        tablet.when_resolved(blocking[0], partial(_wake, done))
        await done


def _wake(done: asyncio.Future[None]) -> None:
    if not done.done():
        done.set_result(None)
