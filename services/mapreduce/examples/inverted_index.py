"""An inverted index (2.3): for each word, the documents that it occurs in.

A document is a line: its name, a tab, its text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from services.mapreduce.inputs import KeyValue
from services.mapreduce.job import Job


class InvertedIndex(Job):
    """Gives each word and the sorted names of its documents."""

    input = KeyValue()

    def map(self, name: str, text: str) -> Iterator[tuple[str, list[str]]]:
        """Gives each word of a document, once."""
        for word in sorted(set(re.findall(r"\w+", text.lower()))):
            yield word, [name]

    def combine(self, word: str, lists: Iterator[list[str]]) -> list[list[str]]:
        """Makes one list of several: a list that holds the one value."""
        return [self.merged(lists)]

    def reduce(self, word: str, lists: Iterator[list[str]]) -> Iterator[str]:
        """Gives the names in one line."""
        yield " ".join(self.merged(lists))

    @staticmethod
    def merged(lists: Iterator[list[str]]) -> list[str]:
        """Returns all names in order, each once."""
        return sorted({name for names in lists for name in names})
