"""External merge sort (3.1 step 5): many sorted runs become one, within a bounded amount of memory.

What is little is read whole and sorted at once: Python's sort finds the runs and merges them, in C. Otherwise
one frame of each run is in memory, though more may fit, so that memory does not grow with the data: what is
no larger than the smallest of the last keys is cut off, sorted and given out, and frames that are used
up are replaced. When even one frame of each run is too much, groups of runs are first merged to larger ones
on disk.
"""

from __future__ import annotations

from bisect import bisect_right
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from services.mapreduce.tasks.segment import Run, RunWriter, data_of, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import BinaryIO

    from services.child import Storage
    from services.mapreduce.hints import Codec

WHOLE_BYTES = 32 << 20
"""About the memory that runs take which are read whole."""

MOST_RUNS = 512
"""Merged at once at most, however small their frames."""

key_of = itemgetter(0)


class Merge:
    """A merge of runs on one disk.

    Args:
        disk: where they are.
        codec: of their pairs.
        memory: bytes that decoded pairs may take, about.
        scratch: names of files for intermediate runs begin with this; they are removed.
        tick: called now and then.
    """

    def __init__(
        self,
        disk: Storage,
        codec: Codec,
        memory: int,
        scratch: str,
        tick: Callable[[], None] = lambda: None,
    ) -> None:
        self._disk = disk
        self._codec = codec
        self._memory = memory
        self._scratch = scratch
        self._tick = tick
        self._files: dict[str, BinaryIO] = {}
        self._made = 0

    def __enter__(self) -> Merge:
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            file.close()
        for number in range(self._made):
            if self._disk.exists(f"{self._scratch}-{number}"):
                self._disk.remove(f"{self._scratch}-{number}")

    def blocks(self, runs: Sequence[Run]) -> Iterator[list[Any]]:
        """Yields the pairs of all runs in the order of their keys, as non-empty lists."""
        left = list(runs)
        if sum(run.memory for run in left) <= min(self._memory, WHOLE_BYTES):
            pairs = [pair for run in left for block in self._read(run) for pair in block]
            if len(left) > 1:
                pairs.sort(key=key_of)
            if pairs:
                yield pairs
            return
        left.sort(key=lambda run: run.memory)
        while (many := self._at_once(left)) < len(left):
            # The smallest first, and no more than what brings them down to `many`: the rest is read once.
            some = left[: min(many, len(left) - many + 1)]
            left = [*left[len(some) :], self._merged(some)]
            left.sort(key=lambda run: run.memory)
        yield from self._merge(left)

    def _at_once(self, runs: Sequence[Run]) -> int:
        """Returns how many of the runs may be merged at once: frames of the largest ones count."""
        room = self._memory
        many = 0
        for run in sorted(runs, key=lambda run: -run.largest):
            room -= 2 * run.largest  # the frame, and its pairs on their way out
            if room < 0:
                break
            many += 1
        return max(2, min(many, MOST_RUNS))

    def _merged(self, runs: Sequence[Run]) -> Run:
        path = f"{self._scratch}-{self._made}"
        self._made += 1
        with self._disk.open(path, "wb") as file:
            run = RunWriter(file, path, self._codec).write(self._merge(runs))
        used = {run.path for run in runs} & {f"{self._scratch}-{number}" for number in range(self._made)}
        for old in sorted(used):
            self._files.pop(old).close()
            self._disk.remove(old)
        return run

    def _merge(self, runs: Sequence[Run]) -> Iterator[list[Any]]:
        heads: list[tuple[Iterator[list[Any]], list[Any]]] = [
            (source, block) for source in map(self._read, runs) if (block := next(source, None))
        ]
        while len(heads) > 1:
            self._tick()
            last = min([block[-1][0] for _, block in heads])
            taken: list[Any] = []
            left = []
            for source, block in heads:
                cut = bisect_right(block, last, key=key_of)
                if cut == len(block):
                    taken += block
                    following = next(source, None)
                    if following is not None:
                        left.append((source, following))
                elif cut:
                    taken += block[:cut]
                    left.append((source, block[cut:]))
                else:
                    left.append((source, block))
            heads = left
            taken.sort(key=key_of)
            yield taken
        for source, block in heads:
            yield block
            yield from source

    def data(self, run: Run) -> Iterator[bytes]:
        """Yields a run's bytes as they are."""
        return data_of(self._open(run), run)

    def _read(self, run: Run) -> Iterator[list[Any]]:
        return read(self._open(run), run, self._codec)

    def _open(self, run: Run) -> BinaryIO:
        file = self._files.get(run.path)
        if file is None:
            file = self._files[run.path] = self._disk.open(run.path, "rb")
        return file
