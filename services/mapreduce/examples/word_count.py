"""Counts words (the paper's appendix A)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from services.mapreduce.counters import Task
from services.mapreduce.inputs import TextBlocks
from services.mapreduce.job import Job


class WordCount(Job):
    """Gives each word and how often it occurs."""

    def map(self, offset: int, line: str) -> Iterable[tuple[str, int]]:
        """Gives each word of a line, once."""
        for word in line.split():
            yield word, 1

    def reduce(self, word: str, counts: Iterator[int]) -> int:
        """Adds up."""
        return sum(counts)

    combine = reduce


class FastWordCount(WordCount):
    """The same, by what Python has in C: blocks of lines into one Counter, given when the task ends.

    It holds the words of a split, once each; where these are too many for the memory, `WordCount` is the way.
    """

    input = TextBlocks(256 << 10)  # what fits the processor's cache

    def setup(self, task: Task) -> None:
        """Begins with nothing."""
        self.counts = Counter[str]()

    def map(self, offset: int, lines: str) -> Iterable[tuple[str, int]]:
        """Counts the words of a block, and gives nothing yet."""
        self.counts.update(lines.split())
        return ()

    def teardown(self) -> Counter[str]:
        """Gives each word of the split, and how often it occurs there."""
        return self.counts
