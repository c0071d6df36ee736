"""The map side's buffer (3.1 step 4): pairs up to a limit, then partitioned, sorted, combined and spilled.

At the end the spills become one file of R regions. Each region is merged to one sorted run, unless the reduce
can merge the runs of all maps as they are.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import chain, groupby, pairwise, repeat
from operator import itemgetter, length_hint
from typing import TYPE_CHECKING, Any
from zlib import crc32

from services.mapreduce.counters import COMBINE_IN, COMBINE_OUT
from services.mapreduce.hints import Codec, key_bytes
from services.mapreduce.partition import TotalOrder, by_hash
from services.mapreduce.tasks.execution import BadPair, Execution
from services.mapreduce.tasks.grouping import outputs_of
from services.mapreduce.tasks.groups import Groups, NotHashable
from services.mapreduce.tasks.merge import Merge, key_of
from services.mapreduce.tasks.order import UserError
from services.mapreduce.tasks.pairs import check_pairs
from services.mapreduce.tasks.segment import PAIR_BYTES, Run, RunWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_TOGETHER = 4096

_RUNS_LEFT = 64
"""Runs that a reduce may find of all maps together, so that maps need not merge their spills."""

_value_of = itemgetter(1)


class Spills:
    """What a map task has given so far.

    Attributes:
        pairs: in memory; those after `checked` have not been looked at.
    """

    def __init__(self, execution: Execution) -> None:
        self.pairs: list[Any] = []
        self._execution = execution
        self._disk = execution.inside.disk
        self._codec = Codec(execution.program.types)
        self._checked = 0
        self._memory = 0
        self._groups = Groups(self._codec) if execution.program.combiner else None
        self._spills: list[dict[int, Run]] = []
        order = execution.order
        self._path = f"{order.job}/map-{order.number:05}.{order.attempt}"

    def check(self) -> int:
        """Looks at the latest pairs, spills if the buffer is full, and returns how many these were.

        Raises:
            BadPair: one of them is no pair, or cannot be serialized.
            UserError: keys cannot be compared, or the partition function is wrong.
            OSError: as the disk has it.
        """
        many = len(self.pairs) - self._checked
        if self._groups is not None and self._grouped(self._groups):
            return many
        fresh = self.pairs[self._checked :]
        try:
            self._memory += check_pairs(fresh, self._codec) + PAIR_BYTES * len(fresh)
        except BadPair as bad:
            bad.index += self._checked + many - len(fresh)
            raise
        self._checked += len(fresh)
        if self._memory > self._execution.memory:
            self._spill()
        return many

    def _grouped(self, groups: Groups) -> bool:
        """Takes the pairs to their groups, or says that it cannot be, for this and all that follow."""
        try:
            groups.add(self.pairs)
        except NotHashable as exc:
            rest = self.pairs[exc.taken :]
            if groups.pairs:
                self._spill()
            self._groups = None
            self.pairs[:] = rest
            return False
        self.pairs.clear()
        if groups.memory > self._execution.memory:
            self._make_room(groups)
        return True

    def _make_room(self, groups: Groups) -> None:
        """Combines what is in memory; spills it if that was of little use."""
        if groups.pairs > 2 * groups.keys:
            try:
                for block in self._combined(groups.take(ordered=False)):
                    groups.add(block)
            except BadPair as bad:
                raise UserError(f"combine {bad.why}") from None
        if groups.memory > self._execution.memory // 2:
            self._spill()

    def finish(self) -> tuple[str, list[int]]:
        """Writes the file of R regions, and returns its path and the R + 1 offsets."""
        temporary = f"{self._path}.new"
        if not self._spills:
            self._spill(temporary)
            ends = {number: run.end for number, run in self._spills.pop().items()}
        else:
            if self.pairs or (self._groups is not None and self._groups.pairs):
                self._spill()
            ends = self._merge(temporary)
        self._disk.rename(temporary, self._path)
        offsets = [0]
        for region in range(self._execution.order.reduces):
            offsets.append(ends.get(region, offsets[-1]))
        return self._path, offsets

    def abandon(self) -> None:
        """Removes what was written."""
        for name in (*(f"{self._path}.spill-{n}" for n in range(len(self._spills) + 1)), f"{self._path}.new"):
            if self._disk.exists(name):
                self._disk.remove(name)

    def _spill(self, path: str = "") -> None:
        """Writes what is in memory to a file, by default the next spill."""
        path = path or f"{self._path}.spill-{len(self._spills)}"
        pairs = self.pairs
        blocks: Iterable[list[Any]]
        try:
            if self._groups is not None:
                blocks = self._combined(self._groups.take(ordered=True))
            else:
                pairs.sort(key=key_of)
                blocks = self._combined(_groups((pairs,))) if self._execution.program.combiner else (pairs,)
        except TypeError as exc:
            raise UserError(f"keys cannot be put in order: {exc}") from exc
        regions = self._partitioned(blocks)
        pairs.clear()
        with self._disk.open(path, "wb") as file:
            writer = RunWriter(file, path, self._codec)
            self._spills.append(
                {number: self._write(writer, (regions.pop(number),)) for number in sorted(regions)}
            )
        self._checked = self._memory = 0

    def _write(self, writer: RunWriter, blocks: Iterable[Sequence[Any]]) -> Run:
        try:
            return writer.write(blocks)
        except (TypeError, ValueError, OverflowError) as exc:  # what a combiner gave
            raise UserError(f"combine gave what cannot be serialized: {exc}") from exc

    def _partitioned(self, blocks: Iterable[list[Any]]) -> dict[int, list[Any]]:
        """Returns the regions of pairs that are in order: what is not empty."""
        reduces = self._execution.order.reduces
        partitioner = self._execution.program.partitioner
        pairs = list(chain.from_iterable(blocks))
        if partitioner is by_hash:
            if reduces == 1:
                return {0: pairs} if pairs else {}
            numbers: Iterable[int] = [crc32(key_bytes(pair[0])) % reduces for pair in pairs]
        elif type(partitioner) is TotalOrder and partitioner.cuts is not None:
            cuts = [bisect_left(pairs, cut, key=key_of) for cut in partitioner.cuts]
            if len(cuts) >= reduces:
                raise UserError(f"a total order with {len(cuts)} cuts needs {len(cuts) + 1} reduce tasks")
            ranges = enumerate(pairwise([0, *cuts, len(pairs)]))
            return {number: pairs[start:end] for number, (start, end) in ranges if start < end}
        else:
            numbers = self._numbers(pairs)
        regions: dict[int, list[Any]] = {}
        for number, pair in zip(numbers, pairs, strict=True):
            if number in regions:
                regions[number].append(pair)
            else:
                regions[number] = [pair]
        return regions

    def _numbers(self, pairs: list[Any]) -> Iterator[int]:
        """Yields what the user's partition function says of each pair."""
        reduces = self._execution.order.reduces
        partitioner = self._execution.program.partitioner
        for key, group in groupby(pairs, key_of):
            try:
                number = partitioner(key, reduces)
            except Exception as exc:
                raise self._execution.failed("the partition function", exc, where=repr(key)[:200]) from exc
            if type(number) is not int or not 0 <= number < reduces:
                raise UserError(
                    f"the partition function gave {number!r} for the key {repr(key)[:200]}: "
                    f"not one of the {reduces} reduce tasks"
                )
            for _ in group:
                yield number

    def _merge(self, path: str) -> dict[int, int]:
        """Makes one file of the spills, and returns where in it each region ends."""
        execution = self._execution
        combiner = execution.program.combiner
        as_they_are = not combiner and 0 < execution.order.maps * len(self._spills) <= _RUNS_LEFT
        ends: dict[int, int] = {}
        names = [f"{self._path}.spill-{n}" for n in range(len(self._spills))]
        with (
            Merge(self._disk, self._codec, execution.memory, f"{self._path}.merge", execution.tick) as merge,
            self._disk.open(path, "wb") as file,
        ):
            writer = RunWriter(file, path, self._codec)
            for number in sorted(set().union(*self._spills)):
                runs = [spill[number] for spill in self._spills if number in spill]
                if as_they_are:
                    for run in runs:
                        writer.copy(merge.data(run))
                else:
                    blocks: Iterable[list[Any]] = merge.blocks(runs)
                    if combiner and len(runs) > 1:
                        blocks = self._combined(_groups(blocks))
                    self._write(writer, blocks)
                ends[number] = writer.written
        for name in names:
            self._disk.remove(name)
        return ends

    def _combined(self, groups: Iterable[tuple[Any, Iterable[Any]]]) -> Iterator[list[Any]]:
        """Yields what the combiner makes of the values of each key."""
        execution = self._execution
        execution.inside.mark(-1)  # what goes wrong here is no record's fault
        combine = execution.job.combine
        counters = execution.task.counters
        taken = given = 0
        combined: list[Any] = []
        for key, values in groups:
            many, counted = 0, None
            if type(values) is list or type(values) is repeat:
                many = length_hint(values)
            else:
                values = counted = _Counted(values)
            try:
                some = combine(key, iter(values))
                if type(some) is int or type(some) is str:  # the common case, at once
                    combined.append((key, some))
                else:
                    combined += [(key, value) for value in outputs_of(some)]
            except Exception as exc:
                raise execution.failed("combine", exc, where=repr(key)[:200]) from exc
            taken += many if counted is None else counted.number
            if len(combined) >= _TOGETHER:
                given += len(combined)
                yield combined
                combined = []
        if combined:
            given += len(combined)
            yield combined
        counters[COMBINE_IN] = counters.get(COMBINE_IN, 0) + taken
        counters[COMBINE_OUT] = counters.get(COMBINE_OUT, 0) + given
        execution.inside.mark(execution.number)


def _groups(blocks: Iterable[list[Any]]) -> Iterator[tuple[Any, Iterable[Any]]]:
    """Yields the values of each key of sorted blocks."""
    for key, group in groupby(chain.from_iterable(blocks), key_of):
        yield key, map(_value_of, group)


class _Counted:
    """Counts what passes."""

    def __init__(self, items: Iterable[Any]) -> None:
        self._items = iter(items)
        self.number = 0

    def __iter__(self) -> _Counted:
        return self

    def __next__(self) -> Any:
        item = next(self._items)
        self.number += 1
        return item
