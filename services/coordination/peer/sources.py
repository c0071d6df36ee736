"""What a learner is sent that is made as it is sent: a part of the history, or the state."""

from __future__ import annotations

from typing import TYPE_CHECKING

from protos.coordination_pb2 import Propose, Snapshot
from services.coordination.peer.encoding import encode

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from services.coordination.storage import Storage


async def history(storage: Storage, after: int, upto: int) -> AsyncIterator[bytes]:
    """Yields proposals of the history, after one zxid and up to another.

    Raises:
        StorageRefused, OSError: they cannot be read.
    """
    async for records in storage.read(after, upto):
        yield b"".join(
            [
                encode(Propose(zxid=zxid, transaction=transaction, members=members))
                for zxid, transaction, members in records
            ]
        )


async def state(pieces: Iterator[bytes], zxid: int, members: str) -> AsyncIterator[bytes]:
    """Yields the state in pieces; that none follows makes one the last.

    Args:
        pieces: of the state.
        zxid: the last transaction delivered before the first piece.
        members: the configuration, which the last piece carries.
    """
    before = b""
    for piece in pieces:
        if before:
            yield encode(Snapshot(zxid=zxid, chunk=before))
        before = piece
    yield encode(Snapshot(zxid=zxid, chunk=before, last=True, members=members))
