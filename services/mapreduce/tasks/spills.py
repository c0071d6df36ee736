"""The map side's buffer (3.1 step 4): pairs up to a limit, then partitioned, sorted, combined and spilled.

At the end the spills are merged into one file of R regions, each a sorted run.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import chain, groupby, pairwise
from operator import itemgetter
from typing import TYPE_CHECKING, Any
from zlib import crc32

from services.mapreduce.counters import COMBINE_IN, COMBINE_OUT
from services.mapreduce.hints import Codec, key_bytes
from services.mapreduce.partition import TotalOrder, by_hash
from services.mapreduce.tasks.execution import BadPair, Execution, not_a_pair
from services.mapreduce.tasks.grouping import outputs_of
from services.mapreduce.tasks.merge import Merge, key_of
from services.mapreduce.tasks.order import UserError
from services.mapreduce.tasks.segment import PAIR_BYTES, Run, RunWriter

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_TOGETHER = 4096
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
        fresh = self.pairs[self._checked :] if self._checked else self.pairs
        many = len(fresh)
        try:
            self._memory += check_pairs(fresh, self._codec) + PAIR_BYTES * many
        except BadPair as bad:
            bad.index += self._checked
            raise
        self._checked += many
        if self._memory > self._execution.memory:
            self._spill(f"{self._path}.spill-{len(self._spills)}")
        return many

    def finish(self) -> tuple[str, list[int]]:
        """Writes the file of R regions, and returns its path and the R + 1 offsets."""
        temporary = f"{self._path}.new"
        reduces = self._execution.order.reduces
        if not self._spills:
            self._spill(temporary)
            regions = self._spills.pop()
        else:
            if self.pairs:
                self._spill(f"{self._path}.spill-{len(self._spills)}")
            regions = self._merge(temporary)
        self._disk.rename(temporary, self._path)
        offsets = [0]
        for region in range(reduces):
            offsets.append(regions[region].end if region in regions else offsets[-1])
        return self._path, offsets

    def abandon(self) -> None:
        """Removes what was written."""
        for name in (*(f"{self._path}.spill-{n}" for n in range(len(self._spills) + 1)), f"{self._path}.new"):
            if self._disk.exists(name):
                self._disk.remove(name)

    def _spill(self, path: str) -> None:
        pairs = self.pairs
        try:
            groups = self._grouped(pairs) if self._execution.program.combiner else None
            if groups is None:
                pairs.sort(key=key_of)
        except TypeError as exc:
            raise UserError(f"keys cannot be put in order: {exc}") from exc
        if groups is not None:
            blocks: Iterable[list[Any]] = self._combined(groups)
        elif self._execution.program.combiner:
            blocks = self._combined(_groups((pairs,)))
        else:
            blocks = (pairs,)
        regions = self._partitioned(blocks)
        self.pairs.clear()
        with self._disk.open(path, "wb") as file:
            writer = RunWriter(file, path, self._codec)
            self._spills.append(
                {number: self._write(writer, (regions.pop(number),)) for number in sorted(regions)}
            )
        self._checked = self._memory = 0

    def _grouped(self, pairs: list[Any]) -> Iterator[tuple[Any, Iterable[Any]]] | None:
        """Returns the values of each key, keys in order; None if keys cannot be hashed.

        With many values a key, as there are where a combiner makes sense, that is faster than to sort all
        pairs.
        """
        groups: dict[Any, list[Any]] = {}
        get = groups.get
        try:
            for key, value in pairs:
                values = get(key)
                if values is None:
                    groups[key] = [value]
                else:
                    values.append(value)
        except TypeError:
            return None
        return ((key, groups[key]) for key in sorted(groups))

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

    def _merge(self, path: str) -> dict[int, Run]:
        execution = self._execution
        regions: dict[int, Run] = {}
        names = [f"{self._path}.spill-{n}" for n in range(len(self._spills))]
        with (
            Merge(self._disk, self._codec, execution.memory, f"{self._path}.merge", execution.tick) as merge,
            self._disk.open(path, "wb") as file,
        ):
            writer = RunWriter(file, path, self._codec)
            for number in sorted(set().union(*self._spills)):
                runs = [spill[number] for spill in self._spills if number in spill]
                blocks: Iterable[list[Any]] = merge.blocks(runs)
                if execution.program.combiner and len(runs) > 1:
                    blocks = self._combined(_groups(blocks))
                regions[number] = self._write(writer, blocks)
        for name in names:
            self._disk.remove(name)
        return regions

    def _combined(self, groups: Iterable[tuple[Any, Iterable[Any]]]) -> Iterator[list[Any]]:
        """Yields what the combiner makes of the values of each key."""
        execution = self._execution
        execution.inside.mark(-1)  # what goes wrong here is no record's fault
        combine = execution.job.combine
        counters = execution.task.counters
        taken = given = 0
        combined: list[Any] = []
        for key, values in groups:
            counted = None if type(values) is list else _Counted(values)
            try:
                some = combine(key, iter(values) if counted is None else counted)
                if type(some) is int or type(some) is str:  # the common case, at once
                    combined.append((key, some))
                else:
                    combined += [(key, value) for value in outputs_of(some)]
            except Exception as exc:
                raise execution.failed("combine", exc, where=repr(key)[:200]) from exc
            taken += len(values) if counted is None else counted.number  # type: ignore[arg-type]
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


def check_pairs(pairs: Sequence[Any], codec: Codec) -> int:
    """Returns how many bytes some pairs take when serialized.

    Raises:
        BadPair: one is no tuple of two, or cannot be serialized.
    """
    if not ({*map(type, pairs)} <= _TUPLE and {*map(len, pairs)} <= _TWO):
        for index, pair in enumerate(pairs):
            if not isinstance(pair, tuple) or len(pair) != 2:
                raise BadPair(index, not_a_pair(pair))
    if not pairs:
        return 0
    try:
        return len(codec.encode(pairs)[0])
    except Exception as exc:
        for index, pair in enumerate(pairs):
            for name, item in zip(("key", "value"), pair, strict=True):
                try:
                    codec.encode([(item, None)])
                except Exception as why:
                    raise BadPair(
                        index, f"gave a {name} of type {type(item).__name__} that cannot be serialized: {why}"
                    ) from None
        raise BadPair(0, f"gave what cannot be serialized: {exc}") from None


_TUPLE = {tuple}
_TWO = {2}
