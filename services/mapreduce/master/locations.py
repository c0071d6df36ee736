"""Where the map outputs of a job lie: what `Locate` streams are served from (3.1 step 4, 3.3).

A log that is only added to: completions of maps, and losses. It is cut into segments, one a publishing
interval, and a segment holds its R sizes of each map as one string of bytes, a row a map: the column of one
reduce task is a strided slice of it, so that M * R entries reach R streams without a step of Python for
each. This is also where the master keeps the sizes of all regions: one byte for each pair of map and reduce
(3.5).

A stream that begins late, or begins again, gets the whole log: what has been lost or moved meanwhile is
left out of it.
"""

from __future__ import annotations

import asyncio
from array import array
from itertools import compress
from typing import TYPE_CHECKING

from msgspec import Struct

from protos import mapreduce_pb2 as pb

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from services.mapreduce.master.state import Worker

MESSAGE = 1 << 14
"""Entries of one message: about 300 KB, for thousands of streams may each have one under way."""

COLUMNS_KEPT = 8
"""Streams ask for the same segments at about the same time: so many answers are kept, but for the sizes."""


class Segment(Struct):
    """Completions that were published together: entry i of each column belongs together."""

    maps: array[int]
    workers: array[int]  # index of the name
    attempts: array[int]
    sizes: bytes  # len(maps) rows of R
    dead: int = 0  # entries whose output has been lost since


class Columns(Struct):
    """Some segments as a message has them, without what differs from reduce to reduce."""

    message: bytes  # pb.Locations without `sizes` and `lost`
    keep: list[bool] | None  # None: all entries


class Locations:
    """The log of one job.

    Args:
        maps: M.
        reduces: R.

    Attributes:
        due: `publish` will be called soon.
    """

    def __init__(self, maps: int, reduces: int) -> None:
        self.due = False
        self._reduces = reduces
        self._names: list[str] = []
        self._index: dict[str, int] = {}
        self._segments: list[Segment] = []
        self._lost: list[tuple[int, int]] = []  # map, attempt
        self._now = array("q", [-1]) * maps  # of each map: the attempt whose output is to be read
        self._segment = array("i", [-1]) * maps  # and the segment that says so; -1: not yet published
        self._rows: dict[int, tuple[str, int, bytes]] = {}  # not yet published, by map
        self._columns: dict[tuple[int, int], Columns] = {}
        self._changed = asyncio.Event()
        self._over = False

    @property
    def bytes_of_sizes(self) -> int:
        """How many bytes of sizes are kept."""
        return sum(len(segment.sizes) for segment in self._segments) + len(self._rows) * self._reduces

    def add(self, number: int, worker: Worker, attempt: int, sizes: bytes) -> None:
        """Takes a map's completion; streams tell it after `publish`.

        Raises:
            ValueError: there are not R sizes.
        """
        if len(sizes) != self._reduces:
            raise ValueError(f"map {number} says the sizes of {len(sizes)} regions, not of {self._reduces}")
        assert self._now[number] < 0, "an output that is there has moved without having been lost"
        self._now[number] = attempt
        self._rows[number] = (worker[0], attempt, sizes)

    def lose(self, number: int) -> None:
        """The output of a map is gone; streams tell it after `publish`."""
        attempt, self._now[number] = self._now[number], -1
        assert attempt >= 0, "an output was lost that was not there"
        if self._rows.pop(number, None) is not None:
            return
        segment = self._segments[self._segment[number]]
        segment.dead += 1
        if segment.dead == len(segment.maps):
            segment.sizes = b""
        self._segment[number] = -1
        self._lost.append((number, attempt))
        self._columns.clear()

    def sizes(self, number: int) -> bytes:
        """Returns the sizes of a completed map's regions."""
        if number in self._rows:
            return self._rows[number][2]
        segment = self._segments[self._segment[number]]
        row = segment.maps.index(number) * self._reduces
        return segment.sizes[row : row + self._reduces]

    def publish(self) -> None:
        """Lets the streams tell what has come since the last time."""
        self.due = False
        if self._rows:
            for number in self._rows:
                self._segment[number] = len(self._segments)
            rows = self._rows.values()
            self._segments.append(
                Segment(
                    array("I", self._rows),
                    array("I", [self._named(name) for name, _, _ in rows]),
                    array("Q", [attempt for _, attempt, _ in rows]),
                    b"".join([sizes for _, _, sizes in rows]),
                )
            )
            self._rows = {}
        self._wake()

    def end(self) -> None:
        """The job is over: streams end."""
        self._over = True
        self._wake()

    async def follow(self, reduce: int) -> AsyncIterator[pb.Locations]:
        """Yields what a reduce task must know, from the beginning, as it comes, until the job is over.

        In a message what is lost comes before what is there: a map in both has moved. A loss names the
        execution: who opens a stream again hears of old ones, and may know of a later output already.
        """
        at, lost = 0, 0
        while not self._over:
            changed = self._changed
            if at < len(self._segments) or lost < len(self._lost):
                message, at, lost = self._pack(reduce, at, lost)
                yield message
                del message  # a stream waits long for the next one, and this one may be large
            else:
                await changed.wait()

    def _pack(self, reduce: int, at: int, lost: int) -> tuple[pb.Locations, int, int]:
        end, entries = at, 0
        while end < len(self._segments) and (
            not entries or entries + len(self._segments[end].maps) <= MESSAGE
        ):
            entries += len(self._segments[end].maps)
            end += 1
        columns = self._columns.get((at, end))
        if columns is None:
            if len(self._columns) == COLUMNS_KEPT:
                del self._columns[next(iter(self._columns))]
            columns = self._columns[at, end] = self._pack_columns(at, end)
        message = pb.Locations.FromString(columns.message)
        sizes = b"".join(
            [s.sizes[reduce :: self._reduces] for s in self._segments[at:end] if s.dead < len(s.maps)]
        )
        message.sizes = sizes if columns.keep is None else bytes(compress(sizes, columns.keep))
        for number, attempt in self._lost[lost:]:
            message.lost.append(number)
            message.lost_attempts.append(attempt)
        return message, end, len(self._lost)

    def _pack_columns(self, at: int, end: int) -> Columns:
        segments = [s for s in self._segments[at:end] if s.dead < len(s.maps)]
        maps, workers, attempts = array("I"), array("I"), array("Q")
        for segment in segments:
            maps += segment.maps
            workers += segment.workers
            attempts += segment.attempts
        keep = None
        if any(segment.dead for segment in segments):
            keep = [self._now[number] == attempt for number, attempt in zip(maps, attempts, strict=True)]
            maps = array("I", compress(maps, keep))
            workers = array("I", compress(workers, keep))
            attempts = array("Q", compress(attempts, keep))
        used = {index: place for place, index in enumerate(dict.fromkeys(workers))}
        message = pb.Locations(
            maps=maps.tobytes(),
            workers=array("I", [used[index] for index in workers]).tobytes(),
            attempts=attempts.tobytes(),
            names=[self._names[index] for index in used],
        )
        return Columns(message.SerializeToString(), keep)

    def _named(self, name: str) -> int:
        index = self._index.get(name)
        if index is None:
            index = self._index[name] = len(self._names)
            self._names.append(name)
        return index

    def _wake(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()
