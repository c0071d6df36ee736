"""The background copy of movedir as it arrives (2.2): pieces of a range that will be acquired."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from services.spanner.entries import Discard, Import, Version, encode
from services.spanner.errors import SpannerError
from services.spanner.group import NotLeader
from services.spanner.keys import KeyRange
from services.spanner.transactions.leading import unavailable

if TYPE_CHECKING:
    from protos import spanner_pb2 as pb
    from services.spanner.transactions.leading import Reign

_decoder = msgspec.msgpack.Decoder(tuple[Version, ...])


async def stage(reign: Reign, request: pb.ImportRequest) -> None:
    """Logs a piece, or that a move is given up; see `Transactions.stage`.

    Whoever is about to acquire what is staged has the range locked: nothing is staged there then.
    """
    within = KeyRange(request.range.start, request.range.end)
    try:
        versions = _decoder.decode(request.versions) if request.versions else ()
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise SpannerError("INVALID_ARGUMENT", f"the versions cannot be read: {error}") from None
    if not request.discard and any(version.key not in within for version in versions):
        raise SpannerError("INVALID_ARGUMENT", f"a version is not in {within}")

    def entry(timestamp: int) -> bytes:
        tablet = reign.tablet
        staged = tablet.staging.moves.get(request.move)
        touched = (within, staged.range) if staged is not None else (within,)
        for one in reign.transactions.values():
            for locked, exclusive in one.locks.items():
                if exclusive and one.state == "logged" and any(locked.overlaps(each) for each in touched):
                    raise SpannerError("FAILED_PRECONDITION", f"{locked} is being acquired by {one.id}")
        if request.discard:
            if staged is not None:
                reign.staging[piece] = staged.range
            return encode(Discard(request.move))
        if any(within.overlaps(owned) for owned in tablet.owned):
            raise SpannerError("FAILED_PRECONDITION", f"group {reign.group.number} owns some of {within}")
        reign.staging[piece] = within
        return encode(Import(request.move, within, versions, request.horizon))

    piece = object()
    try:
        await reign.group.write(entry, 0, reign.term)
    except NotLeader as error:
        raise unavailable(error) from None
    finally:
        reign.staging.pop(piece, None)
