"""The state of a group, from a replica that has it to one that is too far behind for the log, or new."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import grpc
import msgspec

from protos import spanner_pb2 as pb
from services.spanner.paxos import Position
from services.spanner.replica.links import BROKEN, CHANNEL_OPTIONS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from services.host import Context, Host
    from services.spanner.storage import Storage

FETCH = "/dsim.spanner.Replicas/Checkpoint"
SILENCE = 10.0  # seconds without a piece after which it is given up

log = logging.getLogger(__name__)


async def serve(state: tuple[Position, Iterator[bytes]] | None, context: Context) -> None:
    """Sends a state, as of now, however much is applied meanwhile; the position with the first piece."""
    if state is None:
        await context.abort(grpc.StatusCode.NOT_FOUND, "this spanserver has no data of that group")
    assert state is not None
    position, pieces = state
    await context.write(pb.CheckpointPiece(header=msgspec.msgpack.encode(position)))
    for piece in pieces:
        await context.write(pb.CheckpointPiece(piece=piece))
    await context.write(pb.CheckpointPiece(header=b"end"))


async def fetch(
    host: Host,
    metadata: tuple[tuple[str, str], ...],
    storage: Storage,
    group: int,
    server: str,
    *,
    data: bool,
) -> Position | None:
    """Fetches a state into a checkpoint beside the own one.

    Args:
        host: the door.
        metadata: that says who asks.
        storage: where it is put.
        group: of which group.
        server: from whom.
        data: without, only the position is wanted (a witness).

    Returns:
        its position; None where it could not be had, or not be written.
    """
    channel = host.connect(server, options=CHANNEL_OPTIONS)
    try:
        call = channel.unary_stream(
            FETCH,
            request_serializer=pb.CheckpointRequest.SerializeToString,
            response_deserializer=pb.CheckpointPiece.FromString,
        )(pb.CheckpointRequest(group=group), metadata=metadata)
        first = await _read(call)
        position = msgspec.msgpack.decode(first.header, type=Position)
        if data and position.index:
            await storage.put(group, position.index, position, _pieces(call))
        call.cancel()
        return position
    except (*BROKEN, msgspec.DecodeError, OSError) as exc:
        log.warning("group %d: no checkpoint from %s: %s", group, server, exc)
        host.trace("no checkpoint fetched", group=group, server=server, why=type(exc).__name__)
        return None
    finally:
        await channel.close()


async def _pieces(call: Any) -> AsyncIterator[bytes]:
    while not (message := await _read(call)).header:
        yield message.piece


async def _read(call: Any) -> pb.CheckpointPiece:
    async with asyncio.timeout(SILENCE):
        message = await call.read()
    if message is grpc.aio.EOF:
        raise ConnectionError("the stream ended before the state did")
    assert isinstance(message, pb.CheckpointPiece)
    return message
