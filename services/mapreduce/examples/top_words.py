"""Two jobs, the second on the output of the first: the most frequent words."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

from services.mapreduce.examples.word_count import WordCount
from services.mapreduce.inputs import KeyValue
from services.mapreduce.job import Job, Spec, run


class ByFrequency(Job):
    """Sorts what `WordCount` wrote: the most frequent words first, equals by the alphabet."""

    input = KeyValue()

    def map(self, word: str, times: str) -> Iterator[tuple[tuple[int, str], None]]:
        """Makes the count the first part of the key."""
        yield (-int(times), word), None

    def reduce(self, key: tuple[int, str], values: Iterator[None]) -> str:
        """Gives the key alone."""
        return ""


def top(inputs: list[str], folder: str, many: int = 10, **options: Any) -> list[tuple[str, int]]:
    """Returns the most frequent words of some files, with how often they occur.

    Args:
        inputs: files and folders.
        folder: a new one, for what both jobs write.
        many: how many words.
        options: of `run`: engine, workers and others.
    """
    counts = f"{folder}/counts"
    run(Spec(WordCount, inputs=inputs, output=counts, reduces=4), **options)
    ranked = run(Spec(ByFrequency, inputs=counts, output=f"{folder}/ranked", reduces=1), **options)
    return [(key[1], -key[0]) for (key, _), _ in zip(ranked, range(many), strict=False)]


if __name__ == "__main__":
    lines = [f"{times:8,}  {word}\n" for word, times in top(sys.argv[2:], sys.argv[1])]
    sys.stdout.write("".join(lines))  # at once: a reader may leave early
