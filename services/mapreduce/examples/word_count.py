"""Counts words (the paper's appendix A)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from services.mapreduce.inputs import TextBlocks
from services.mapreduce.job import Job


class WordCount(Job):
    """Gives each word and how often it occurs."""

    def map(self, offset: int, line: str) -> Iterator[tuple[str, int]]:
        """Gives each word of a line, once."""
        for word in line.split():
            yield word, 1

    def reduce(self, word: str, counts: Iterator[int]) -> int:
        """Adds up."""
        return sum(counts)

    combine = reduce


class FastWordCount(WordCount):
    """The same, by what Python has in C: a map call gets a block of many lines, and counts it as a whole."""

    input = TextBlocks(8 << 20)

    def map(self, offset: int, lines: str) -> Iterator[tuple[str, int]]:
        """Gives each word of a block, and how often it occurs there."""
        return iter(Counter(lines.split()).items())
