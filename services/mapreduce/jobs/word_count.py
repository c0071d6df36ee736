"""Word count (MapReduce 2.1, appendix A)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

WORD = re.compile(r"\w+")


def tokens(text: str) -> list[str]:
    """Returns the words of a text, in lower case."""
    return WORD.findall(text.lower())


def count_words(key: str, value: str) -> Iterator[tuple[str, int]]:
    """Map: emits (word, 1) for each word of a line."""
    for word in tokens(value):
        yield word, 1


def add(key: str, values: Iterable[int]) -> Iterator[int]:
    """Reduce, and combine: adds the counts of a word."""
    yield sum(values)
