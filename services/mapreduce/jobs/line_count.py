"""How often each line occurs: word count whose words are whole lines, whatever bytes they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from services.mapreduce.jobs.word_count import WordCount

if TYPE_CHECKING:
    from collections.abc import Iterator


class LineCount(WordCount):
    """How often each line occurs."""

    def map(self, key: int, value: str) -> Iterator[tuple[str, int]]:
        """Emits (line, 1)."""
        yield value, 1
