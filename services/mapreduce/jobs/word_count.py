"""Word count (MapReduce 2.1, appendix A)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from services.mapreduce.job import Job

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

WORD = re.compile(r"\w+")


def tokens(text: str) -> list[str]:
    """Returns the words of a text, in lower case."""
    return WORD.findall(text.lower())


class WordCount(Job):
    """How often each word occurs."""

    def map(self, key: int, value: str) -> Iterator[tuple[str, int]]:
        """Emits (word, 1) for each word of a line."""
        for word in tokens(value):
            yield word, 1

    def reduce(self, key: str, values: Iterable[int]) -> Iterator[int]:
        """Adds the counts of a word."""
        yield sum(values)

    combine = reduce
