"""Map outputs on a worker's disk, R sorted regions in one file each (3.1 step 4), and how they are served.

Where the regions begin is kept in memory: a worker that restarts has no map outputs, as in the paper, whose
master has the completed maps of a failed worker executed again.
"""

from __future__ import annotations

from array import array
from contextlib import aclosing
from typing import TYPE_CHECKING

from msgspec import Struct

from protos import mapreduce_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence

    from services.host import Disk, File

CHUNK = 1 << 20
"""Bytes a message; see the measurements in `shuffle.py`."""


class MapOutput(Struct, frozen=True):
    """A map task's output: its file, R + 1 offsets of the regions in it, and their checksums."""

    path: str
    offsets: array[int]
    checksums: array[int]


class Regions:
    """All map outputs on a disk."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk
        self._outputs: dict[str, dict[tuple[int, int], MapOutput]] = {}  # by job; by map and attempt

    def add(
        self,
        job: str,
        number: int,
        attempt: int,
        path: str,
        offsets: Sequence[int],
        checksums: Sequence[int],
    ) -> None:
        """An execution of a map task has left its output."""
        output = MapOutput(path, array("Q", offsets), array("L", checksums))
        self._outputs.setdefault(job, {})[number, attempt] = output

    def find(self, job: str, number: int, attempt: int) -> MapOutput | None:
        """Returns the output of an execution."""
        return self._outputs.get(job, {}).get((number, attempt))

    def forget(self, job: str) -> None:
        """The job's files are gone, or about to go."""
        self._outputs.pop(job, None)

    async def serve(self, wanted: pb.Regions) -> AsyncGenerator[pb.Bytes, None]:
        """Streams a region of several map outputs, one after the other.

        What is not here, or not whole any more, is `missing`; the disk's troubles are the reader's to go
        round.
        """
        for number, attempt in zip(wanted.maps, wanted.attempts, strict=True):
            output = self.find(wanted.job, number, attempt)
            if output is None or wanted.region + 1 >= len(output.offsets):
                yield pb.Bytes(map=number, missing=True)
                continue
            try:
                async with aclosing(read(self._disk, output, wanted.region, number)) as chunks:
                    async for chunk in chunks:
                        yield chunk
            except OSError:
                yield pb.Bytes(map=number, missing=True)


async def read(disk: Disk, output: MapOutput, region: int, number: int) -> AsyncGenerator[pb.Bytes, None]:
    """Yields one region in chunks.

    Raises:
        OSError: it cannot be read, or the file is shorter than it was.
    """
    offset, end = output.offsets[region], output.offsets[region + 1]
    if offset == end:
        yield pb.Bytes(map=number, last=True)
        return
    file: File = await disk.open(output.path)
    try:
        while offset < end:
            data = await file.read(min(CHUNK, end - offset), offset)
            offset += len(data)
            if not data:
                raise OSError(f"{output.path} ends at {offset}, before its region {region}")
            if offset < end:
                yield pb.Bytes(map=number, data=data)
            else:
                yield pb.Bytes(map=number, data=data, last=True, checksum=output.checksums[region])
    finally:
        await file.close()
