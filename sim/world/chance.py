"""Chance: one seed, many streams, each named after its purpose.

A draw added in one place does not shift the draws of another. The names in use are `network`,
`disk/<host>`, `faults`, `scenario`, `interleave` and `host/<name>/<incarnation>`.
"""

from __future__ import annotations

import random


class Chance:
    """The streams of one seed."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._streams: dict[str, random.Random] = {}

    def stream(self, name: str) -> random.Random:
        """Returns the stream of that name, always the same object."""
        found = self._streams.get(name)
        if found is None:
            # A str seed is hashed with SHA-512: the same on every Python and platform.
            found = self._streams[name] = random.Random(f"{self.seed}/{name}")
        return found
