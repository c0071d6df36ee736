"""The first entry of a group that there is from the beginning: what it owns, and by which schema.

It is a commit like any other, of a transaction that always has the same name: whichever member gets to lead
first makes it, and another one that tries finds it done.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from protos import spanner_pb2 as pb
from services.spanner.errors import SpannerError
from services.spanner.schema import EMPTY

if TYPE_CHECKING:
    from services.spanner.spanserver.server import Hosted
    from services.spanner.spanserver.settings import Founding

NAME = "genesis"
AGAIN = 0.2  # seconds
TURN = 1.0  # seconds that each member leaves to those before it


async def found(hosted: Hosted, founding: Founding, schema: bytes, server: str) -> None:
    """Sees to it that a group has its first entry; returns when it has.

    Args:
        hosted: the group's replica here.
        founding: what it is to own.
        schema: the universe's first one, encoded; b"" for one without tables.
        server: this one's name.
    """
    electable = [one.server for one in founding.members if one.kind == "read-write"]
    if server not in electable:
        return
    first = founding.preferred or electable[0]
    turn = 0 if server == first else 1 + electable.index(server)
    request = pb.CommitRequest(
        group=founding.group,
        transaction=pb.Transaction(id=NAME, age=1),
        ownership=pb.Ownership(
            acquired=[pb.KeyRange(start=one.start, end=one.end) for one in founding.owned]
        ),
        schema=schema or EMPTY.encode(),
        placement=True,
    )
    await asyncio.sleep(turn * TURN)
    while not hosted.tablet.schemas:
        try:
            await hosted.transactions.commit(request)
        except SpannerError:
            await asyncio.sleep(AGAIN)
