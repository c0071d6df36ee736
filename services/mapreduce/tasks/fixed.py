"""Sorting records of a fixed size without looking at single ones in Python (5.3).

When the input is `Records(size, key=...)`, map and reduce are the identity and the output is `PairsOutput`,
records stay what they were: bytes in blocks. They are sorted by numpy, partitioned by a search for the cuts
(or by hash), and merged in blocks as pairs are (see `merge.py`). A run is a range of a file: how many
records, and the records.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple, cast
from zlib import crc32

import numpy as np

from services.files.api import BeyondView
from services.mapreduce.counters import GROUPS, MAP_IN, MAP_OUT, REDUCE_IN, REDUCE_OUT
from services.mapreduce.hints import key_bytes
from services.mapreduce.partition import TotalOrder
from services.mapreduce.tasks.order import Done, InputError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import BinaryIO, TypeAlias

    from services.mapreduce.inputs import Records
    from services.mapreduce.tasks.execution import Execution

    Rows: TypeAlias = np.ndarray[Any, np.dtype[np.uint8]]  # one record each
    Numbers: TypeAlias = np.ndarray[Any, np.dtype[Any]]

COUNT = struct.Struct(">Q")
"""Before a run: how many records it has."""

SMALLEST_BLOCK = 64 << 10
"""Bytes that are read of a run at a time, at least."""

CHUNK = 4 << 20
"""Bytes that are put in order and written at a time."""

SORTED_SHARE = 0.6
"""Of the memory for pairs, what records may take that are sorted at once: numbers come on top."""


class Run(NamedTuple):
    """A sorted run: so many records from byte `start` of a file."""

    path: str
    start: int
    records: int


class Sorter:
    """Sorts, partitions and merges records.

    Args:
        execution: of the task.
    """

    def __init__(self, execution: Execution) -> None:
        source = cast("Records", execution.program.input)
        self.size = source.size
        self.key = source.key
        self.source = source
        self.execution = execution
        self.disk = execution.inside.disk
        self.room = max(1, int(execution.memory * SORTED_SHARE) // self.size)  # records

    def order(self, rows: Rows) -> Numbers:
        """Returns the numbers of the rows in the order of their keys."""
        words = self._words(rows, 0)
        order: Numbers = np.argsort(words, kind="stable")
        if self.key > 8:
            words = words[order]
            if (words[1:] == words[:-1]).any():  # the first 8 bytes do not tell
                columns = [self._words(rows, at) for at in range(0, self.key, 8)]
                order = np.lexsort(columns[::-1])
        return order

    def _words(self, rows: Rows, at: int) -> Numbers:
        """Returns 8 bytes of each key as a number; behind its end there are zeros."""
        bytes_ = np.zeros((len(rows), 8), np.uint8)
        end = min(at + 8, self.key)
        bytes_[:, : end - at] = rows[:, at:end]
        return cast("Numbers", bytes_.view(">u8").ravel().astype(np.uint64))

    def regions(self, rows: Rows, order: Numbers) -> tuple[Numbers, list[int]]:
        """Returns the numbers by region and key, and the R + 1 places at which the regions begin and end."""
        reduces = self.execution.order.reduces
        partitioner = self.execution.program.partitioner
        if isinstance(partitioner, TotalOrder):
            cuts = [
                bisect_left(order, cut, key=lambda number: rows[number, : self.key].tobytes())
                for cut in partitioner.cuts or ()
            ]
            cuts += [len(order)] * (reduces - 1 - len(cuts))
            return order, [0, *cuts, len(order)]
        if reduces == 1:
            return order, [0, len(order)]
        keys = np.ascontiguousarray(rows[order, : self.key]).tobytes()
        numbers = np.fromiter(
            (crc32(key_bytes(keys[at : at + self.key])) % reduces for at in range(0, len(keys), self.key)),
            np.int64,
            len(order),
        )
        by_region = np.argsort(numbers, kind="stable")
        ends = np.searchsorted(numbers[by_region], np.arange(reduces + 1))
        return order[by_region], [int(end) for end in ends]

    def spill(self, rows: Rows, path: str) -> list[Run]:
        """Writes rows as R runs."""
        order, bounds = self.regions(rows, self.order(rows))
        runs = []
        with self.disk.open(path, "wb") as file:
            at = 0
            for start, end in pairwise(bounds):
                if end > start:
                    runs.append(Run(path, at + COUNT.size, end - start))
                    file.write(COUNT.pack(end - start))
                    for chunk in self.chunks(rows, order[start:end]):
                        file.write(chunk.data)
                    at += COUNT.size + (end - start) * self.size
                else:
                    runs.append(Run(path, at, 0))
        return runs

    def chunks(self, rows: Rows, order: Numbers) -> Iterator[Rows]:
        """Yields rows in an order, some at a time."""
        many = max(1, CHUNK // self.size)
        for at in range(0, len(order), many):
            yield rows[order[at : at + many]]

    def runs_of(self, path: str) -> list[Run]:
        """Finds the runs in a file."""
        runs = []
        at, end = 0, self.disk.size(path)
        with self.disk.open(path, "rb") as file:
            while at < end:
                file.seek(at)
                (count,) = COUNT.unpack(file.read(COUNT.size))
                runs.append(Run(path, at + COUNT.size, count))
                at += COUNT.size + count * self.size
        if at > end:
            raise EOFError(f"{path}: a run of records is cut off")
        return runs

    def merge(self, runs: Iterable[Run], scratch: str) -> Iterator[Rows]:
        """Yields all records of some runs in order."""
        left = sorted((run for run in runs if run.records), key=lambda run: run.records)
        if sum(run.records for run in left) <= self.room:
            if left:
                rows = np.concatenate([self._read(run, 0, run.records) for run in left])
                yield from self.chunks(rows, self.order(rows))
            return
        most = max(2, self.room * self.size // (2 * SMALLEST_BLOCK))
        made = 0
        while len(left) > most:
            path = f"{scratch}-{made}"
            made += 1
            some = left[: min(most, len(left) - most + 1)]
            with self.disk.open(path, "wb") as file:
                count = self._write(file, self._in_blocks(some))
            left = sorted([*left[len(some) :], Run(path, 0, count)], key=lambda run: run.records)
        yield from self._in_blocks(left)
        for number in range(made):
            self.disk.remove(f"{scratch}-{number}")

    def _write(self, file: BinaryIO, blocks: Iterable[Rows]) -> int:
        count = 0
        for rows in blocks:
            file.write(rows.data)
            count += len(rows)
        return count

    def _in_blocks(self, runs: Sequence[Run]) -> Iterator[Rows]:
        many = max(SMALLEST_BLOCK // self.size, min(CHUNK // self.size, self.room // (2 * len(runs))), 1)
        heads: list[tuple[Run, int, Rows]] = [(run, many, self._read(run, 0, many)) for run in runs]
        while heads:
            self.execution.tick()
            last = min(rows[-1, : self.key].tobytes() for _, _, rows in heads)
            taken: list[Rows] = []
            following = []
            for run, at, rows in heads:
                cut = self._count(rows, last)
                taken.append(rows[:cut])
                if cut < len(rows):
                    following.append((run, at, rows[cut:]))
                elif at < run.records:
                    following.append((run, at + many, self._read(run, at, many)))
            heads = following
            together = np.concatenate(taken)
            yield together[self.order(together)] if len(taken) > 1 else together

    def _count(self, rows: Rows, last: bytes) -> int:
        """Returns how many of sorted rows have keys up to `last`."""
        return bisect_right(range(len(rows)), last, key=lambda number: rows[number, : self.key].tobytes())

    def _read(self, run: Run, at: int, many: int) -> Rows:
        many = min(many, run.records - at)
        with self.disk.open(run.path, "rb", 0) as file:
            file.seek(run.start + at * self.size)
            data = bytearray()
            while len(data) < many * self.size:
                more = file.read(many * self.size - len(data))
                if not more:
                    raise EOFError(f"{run.path}: a run of records is cut off")
                data = bytearray(more) if not data else data + more
        return np.frombuffer(data, np.uint8).reshape(many, self.size)


def map_records(execution: Execution) -> Done:
    """Executes a map task."""
    sorter = Sorter(execution)
    order = execution.order
    base = f"{order.job}/map-{order.number:05}.{order.attempt}"
    total = sum(piece.size if piece.size >= 0 else execution.view.size(piece.path) for piece in order.split)
    room = min(sorter.room, total // sorter.size + len(order.split) + 1)
    rows = np.empty((room, sorter.size), np.uint8)
    used = count = 0
    spills: list[list[Run]] = []
    try:
        for block in _blocks(sorter, execution):
            at = 0
            while at < len(block):
                if used == len(rows):
                    spills.append(sorter.spill(rows, f"{base}.spill-{len(spills)}"))
                    used = 0
                some = block[at : at + len(rows) - used]
                rows[used : used + len(some)] = some
                used += len(some)
                at += len(some)
            count += len(block)
            execution.input_bytes = min(total, execution.input_bytes + block.nbytes)
            execution.fraction = execution.input_bytes / (total or 1)
            execution.tick()
        execution.input_bytes = total
        if not spills:
            regions = sorter.spill(rows[:used], f"{base}.new")
        else:
            spills.append(sorter.spill(rows[:used], f"{base}.spill-{len(spills)}"))
            del rows
            regions = _merged(sorter, spills, base)
        execution.inside.disk.rename(f"{base}.new", base)
    except BaseException:
        for name in (f"{base}.new", *(f"{base}.spill-{n}" for n in range(len(spills) + 1))):
            if execution.inside.disk.exists(name):
                execution.inside.disk.remove(name)
        raise
    offsets = [0]
    for run in regions:
        offsets.append(run.start + run.records * sorter.size if run.records else offsets[-1])
    counters = execution.task.counters
    counters[MAP_IN] = counters[MAP_OUT] = count
    execution.output_bytes = offsets[-1]
    done = execution.finish(base, offsets)
    done.records_in = done.records_out = count
    return done


def _blocks(sorter: Sorter, execution: Execution) -> Iterator[Rows]:
    """Reads the split; whatever goes wrong there is said of the file."""
    for piece in execution.order.split:
        try:
            for _, block in sorter.source.blocks(piece, execution.view):
                yield np.frombuffer(block, np.uint8).reshape(-1, sorter.size)
        except (InputError, BeyondView, MemoryError):
            raise
        except Exception as exc:
            what = getattr(exc, "strerror", None) or f"{type(exc).__name__}: {exc}"
            raise InputError(f"{piece.path}: cannot be read: {what}") from exc


def _merged(sorter: Sorter, spills: list[list[Run]], base: str) -> list[Run]:
    """Merges spills region by region into one file."""
    regions = []
    at = 0
    with sorter.disk.open(f"{base}.new", "wb") as file:
        for runs in zip(*spills, strict=True):
            count = sum(run.records for run in runs)
            if count:
                file.write(COUNT.pack(count))
                at += COUNT.size
                sorter._write(file, sorter.merge(runs, f"{base}.merge"))
            regions.append(Run(base, at, count))
            at += count * sorter.size
    for number in range(len(spills)):
        sorter.disk.remove(f"{base}.spill-{number}")
    return regions


def reduce_records(execution: Execution) -> Done:
    """Executes a reduce task."""
    sorter = Sorter(execution)
    order = execution.order
    file = execution.output("part").file
    try:
        runs = [run for path in order.segments for run in sorter.runs_of(path)]
        total = sum(run.records for run in runs)
        execution.input_bytes = total * sorter.size
        count = groups = 0
        previous = b""
        for rows in sorter.merge(runs, f"{order.job}/reduce-{order.number:05}.{order.attempt}.merge"):
            keys = rows[:, : sorter.key]
            groups += int((keys[1:] != keys[:-1]).any(axis=1).sum())
            groups += keys[0].tobytes() != previous
            previous = keys[-1].tobytes()
            file.write(rows.data)
            count += len(rows)
            execution.output_bytes += rows.nbytes
            execution.fraction = count / total
            execution.tick()
    except BaseException:
        execution.abandon()
        raise
    counters = execution.task.counters
    counters[GROUPS] = groups
    counters[REDUCE_IN] = counters[REDUCE_OUT] = count
    done = execution.finish()
    done.records_in = done.records_out = count
    return done
