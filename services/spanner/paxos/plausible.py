"""What no member can have said, whatever happened to it: such a message is ignored, as a stranger's is.

The rules believe members. This keeps out what would have a replica find its own rules broken, or bind it to a
time that never comes: a fault of another program, or somebody who pretends to be a member. It does not make
Paxos proof against members that lie well; who may be one is not for the rules to decide.

A leader's timestamps and promises lie in its lease, so none of them is later than TT.now().latest anywhere
plus the length of a lease.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

from services.spanner.paxos.messages import Accept, Accepted, Ask, Behind, History, Learn, Promise

if TYPE_CHECKING:
    from services.spanner.paxos.messages import LogEntry, Message


def plausible(message: Message, now: int, lease: int) -> bool:
    """Says whether a member can have said it.

    Args:
        message: what it is to have said.
        now: TT.now().latest. A vote says back what this replica asked for, so not anything later.
        lease: how long one is, in nanoseconds.
    """
    kind, latest = type(message), now + lease
    if kind is Accepted:
        return message.vote <= now  # type: ignore[union-attr]
    if kind is Accept:
        return message.promise <= latest and _in_order(message.entries, latest)  # type: ignore[union-attr]
    if kind is Learn:
        return message.promise <= latest  # type: ignore[union-attr]
    if kind is History:
        return _in_order(message.entries, latest)  # type: ignore[union-attr]
    if kind is Promise:
        return message.vote <= now and message.committed <= message.last  # type: ignore[union-attr]
    if kind is Behind:
        return message.timestamp <= latest  # type: ignore[union-attr]
    if kind is Ask:
        return message.at_least <= latest  # type: ignore[union-attr]
    return True


def _in_order(entries: tuple[LogEntry, ...], latest: int) -> bool:
    if not entries:
        return True
    if len(entries) > 1 and any(one.timestamp >= other.timestamp for one, other in pairwise(entries)):
        return False
    return entries[-1].timestamp <= latest
