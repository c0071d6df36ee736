"""Checkpoints of groups: files of pieces (`services/durable/pieces.py`), named after group and index."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from services.durable.errors import StorageRefused
from services.durable.headers import HEADER_SIZE, read_header
from services.durable.pieces import PIECE, frames
from services.spanner.storage.errors import CURE
from services.spanner.storage.records import CheckpointEnd, CheckpointHeader

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.host import Disk

FOLDER = "checkpoints"
_NAME = re.compile(r"(\d{8,})-(\d{12,})")


class Checkpoint(Struct, frozen=True, order=True):
    """A checkpoint on the disk: of which group, as of which index of its log."""

    group: int
    index: int

    @property
    def path(self) -> str:
        """Where it is."""
        return f"{FOLDER}/{self.group:08d}-{self.index:012d}"


def checkpoints(names: list[str]) -> list[Checkpoint]:
    """Returns the checkpoints among the names in the folder, by group and index."""
    found = [match for match in map(_NAME.fullmatch, names) if match is not None]
    return sorted(Checkpoint(int(match[1]), int(match[2])) for match in found)


async def check(disk: Disk, checkpoint: Checkpoint, universe: str, server: str) -> None:
    """Looks at a checkpoint's header.

    Raises:
        StorageRefused: it is damaged, or another server's.
        OSError: it cannot be read.
    """
    file = await disk.open(checkpoint.path)
    try:
        header = read_header(await file.read(HEADER_SIZE), CheckpointHeader, checkpoint.path)
    finally:
        await file.close()
    if header is None:
        raise StorageRefused(f"{checkpoint.path} is damaged in its header; {CURE}")
    if (header.universe, header.server) != (universe, server):
        raise StorageRefused(
            f'{checkpoint.path} is of server {header.server} of universe "{header.universe}": '
            "put the server's own files back, or " + CURE
        )
    if (header.group, header.index) != (checkpoint.group, checkpoint.index):
        raise StorageRefused(
            f"{checkpoint.path} is a checkpoint of group {header.group} at {header.index}; {CURE}"
        )


async def pieces(disk: Disk, checkpoint: Checkpoint, batch: int) -> AsyncIterator[bytes]:
    """Yields the pieces of a checkpoint.

    Args:
        disk: where it is.
        checkpoint: which.
        batch: the number of the log's next batch: it has at least reached what the checkpoint says.

    Raises:
        StorageRefused: it is damaged, or the log has lost its end.
        OSError: it cannot be read.
    """
    count = 0
    try:
        async for tag, content in frames(disk, checkpoint.path):
            if tag == PIECE:
                count += 1
                yield content
                continue
            end = msgspec.msgpack.decode(content, type=CheckpointEnd)
    except msgspec.DecodeError as exc:
        raise StorageRefused(f"{checkpoint.path} is damaged at its end: {exc}; {CURE}") from None
    except StorageRefused as exc:
        raise StorageRefused(f"{exc}; {CURE}") from None
    if end.pieces != count:
        raise StorageRefused(f"{checkpoint.path} is damaged: {count} pieces, not {end.pieces}; {CURE}")
    if end.batch > batch:
        raise StorageRefused(
            f"the log ends before batch {batch}, but {checkpoint.path} was written when it had {end.batch}: "
            f"a part is missing; {CURE}"
        )
