"""What a spanserver finds on its disk when it starts.

Whatever a crash may have left is put in order here: remains of files that were being written go, and the torn
end of the log is cut off. Everything else that is not as it was written is refused, with what is wrong.
Checkpoints are only counted: each is read when its replica loads it.
"""

from __future__ import annotations

import json
import logging
import re
from typing import TYPE_CHECKING

from msgspec import Struct

from services.durable import values
from services.durable.errors import StorageRefused
from services.durable.headers import HEADER_SIZE, begun
from services.spanner.storage.checkpoints import FOLDER as CHECKPOINTS
from services.spanner.storage.checkpoints import Checkpoint, checkpoints
from services.spanner.storage.errors import CURE
from services.spanner.storage.image import Image, apply
from services.spanner.storage.log import FOLDER as LOG
from services.spanner.storage.log import Log, Segment, segment_path
from services.spanner.storage.records import BATCHES, FORMAT, SegmentHeader

if TYPE_CHECKING:
    import random

    from services.host import Disk, File

IDENTITY = f"{LOG}/identity"
_SEGMENT = re.compile(r"segment-(\d{8,})")

log = logging.getLogger(__name__)


class Recovered(Struct, frozen=True):
    """What was found.

    Attributes:
        log: the log; a new segment has been begun.
        images: what it says of each group.
        repaired: what had to be put in order, for people.
    """

    log: Log
    images: dict[int, Image]
    repaired: list[str]


async def recover(disk: Disk, rng: random.Random, universe: str, server: str) -> Recovered:
    """Reads what is there, and makes the folders where there is nothing.

    Raises:
        StorageRefused: what is there is damaged, or another server's.
        OSError: the disk fails.
    """
    repaired: list[str] = []
    await _tidy(disk, repaired)
    new = await _is_new(disk, universe, server)
    headers = [] if new else await _headers(disk, universe, server, repaired)
    images: dict[int, Image] = {}
    segments: list[Segment] = []
    batch = headers[0].batch if headers else 0
    for header in headers:
        if header.batch != batch:
            raise StorageRefused(
                f"{segment_path(header.number)} begins with batch {header.batch}, "
                f"but what is before it ends before {batch}; {CURE}"
            )
        last = header is headers[-1]
        file = await disk.open(segment_path(header.number), "a" if last else "r")
        try:
            batch, size = await _read(file, header, last, images, repaired)
        finally:
            await file.close()
        segments.append(Segment(header.number, size))
    await _match(disk, images)
    if not new:
        await disk.sync(LOG)  # names that a failed sync left in the cache
        if await disk.list(CHECKPOINTS):
            await disk.sync(CHECKPOINTS)
    for line in repaired:
        log.warning("spanserver %s: %s", server, line)
    found = Log(disk, rng, universe, server, segments, batch)
    number = segments[-1].number + 1 if segments else 0
    await found.begin(min((image.oldest for image in images.values()), default=number))
    if new:  # last: with it, there must be a log
        await values.save(disk, IDENTITY, _identity(universe, server))
    return Recovered(found, images, repaired)


async def _tidy(disk: Disk, repaired: list[str]) -> None:
    """Removes what was being written."""
    for folder in (LOG, CHECKPOINTS):
        for name in await disk.list(folder):
            if name.endswith(values.PART):
                await disk.remove(f"{folder}/{name}")
                repaired.append(f"{folder}/{name} was not finished: removed")


def _identity(universe: str, server: str) -> str:
    return json.dumps({"format": FORMAT, "universe": universe, "server": server})


async def _is_new(disk: Disk, universe: str, server: str) -> bool:
    """Makes sure that the folder is this server's, or nobody's yet, which it says."""
    text = await values.load(disk, IDENTITY, f"restore it from a copy, or {CURE}")
    if text is not None:
        if text != _identity(universe, server):
            raise StorageRefused(_stranger(text, universe, server))
        return False
    used = [f"{CHECKPOINTS}/{name}" for name in await disk.list(CHECKPOINTS)]
    for name in await disk.list(LOG):
        file = await disk.open(f"{LOG}/{name}")
        size = await file.size()
        await file.close()
        if name != "segment-00000000" or size > HEADER_SIZE:
            used.append(f"{LOG}/{name}")
    if used:
        raise StorageRefused(
            f"{IDENTITY} is missing, yet there is {used[0]}: restore it from a copy, or {CURE}"
        )
    return True


def _stranger(text: str, universe: str, server: str) -> str:
    try:
        said = json.loads(text)
        version, theirs, name = int(said["format"]), str(said["universe"]), str(said["server"])
    except (ValueError, KeyError, TypeError):
        return f"{IDENTITY} is not readable; {CURE}"
    if version > FORMAT:
        return (
            f"{IDENTITY} has format {version}, this program knows those up to {FORMAT}: start the newer one"
        )
    return (
        f'the folder belongs to server {name} of universe "{theirs}", '
        f'this is server {server} of universe "{universe}": check the configuration, or use another folder'
    )


async def _headers(disk: Disk, universe: str, server: str, repaired: list[str]) -> list[SegmentHeader]:
    """Returns the headers of the segments that are needed, and removes the others."""
    found = [match for match in map(_SEGMENT.fullmatch, await disk.list(LOG)) if match is not None]
    numbers = sorted(int(match[1]) for match in found)
    headers: list[SegmentHeader] = []
    for number in reversed(numbers):
        path = segment_path(number)
        if headers and number < headers[0].floor:
            await disk.remove(path)
            continue
        file = await disk.open(path)
        try:
            header, unfinished = await begun(file, SegmentHeader, path)
        finally:
            await file.close()
        if header is None:
            if number == numbers[-1] and unfinished:
                await disk.remove(path)
                repaired.append(f"{path} was only being begun: removed")
                continue
            raise StorageRefused(f"{path} is damaged in its header; {CURE}")
        if (header.universe, header.server, header.number) != (universe, server, number):
            raise StorageRefused(
                f"{path} is segment {header.number} of server {header.server} "
                f'of universe "{header.universe}"; {CURE}'
            )
        headers.append(header)
    headers.reverse()
    if not headers:
        raise StorageRefused(f"{LOG} has no segment of the log; {CURE}")
    floor = headers[-1].floor
    for at, header in enumerate(headers):
        if header.number != floor + at:
            raise StorageRefused(f"{segment_path(floor + at)} is missing; {CURE}")
    return headers


async def _read(
    file: File, header: SegmentHeader, last: bool, images: dict[int, Image], repaired: list[str]
) -> tuple[int, int]:
    """Reads a segment; returns the number of the batch after it, and its size."""
    path = segment_path(header.number)
    number, final, end = header.batch, HEADER_SIZE, HEADER_SIZE
    async for batch in BATCHES.scan(file, header.mark, HEADER_SIZE, await file.size()):
        if batch.number != number:
            raise StorageRefused(f"{path} is out of order at byte {batch.start}; {CURE}")
        records = batch.records()
        size = (batch.end - batch.start) // max(1, len(records))
        for record in records:
            apply(images, record, size, header.number)
        number, final, end = number + 1, batch.start, batch.end
    torn = await BATCHES.mend(file, header.mark, final, end) if last else end - await file.size()
    if torn < 0:
        raise StorageRefused(
            f"{path} is damaged at byte {end}: what was promised or accepted is lost here; {CURE}"
        )
    if torn:
        repaired.append(
            f"{path} had a torn end: {torn} bytes after batch {number - 1}, "
            "of a write that nobody was told of (unless the disk lost its end), are cut off"
        )
    return number, end


async def _match(disk: Disk, images: dict[int, Image]) -> None:
    """Looks for the checkpoint of each group; others are void: not noted yet, superseded, or of no group."""
    found = checkpoints(await disk.list(CHECKPOINTS))
    needed = {Checkpoint(group, image.base): None for group, image in images.items() if image.checkpoint}
    for checkpoint in found:
        if checkpoint not in needed:
            await disk.remove(checkpoint.path)
    there = dict.fromkeys(found)
    for checkpoint in needed:
        if checkpoint not in there:
            raise StorageRefused(f"{checkpoint.path} is missing; {CURE}")
