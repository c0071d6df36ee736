"""How often each line occurs: word count whose words are whole lines, whatever bytes they hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator


def count_lines(key: str, value: str) -> Iterator[tuple[str, int]]:
    """Map: emits (line, 1)."""
    yield value, 1
