"""Chance: one seed, many streams, each named after its purpose.

A draw added in one place does not shift the draws of another. The names in use are `network`,
`disk/<host>`, `faults`, `scenario`, `interleave` and `host/<name>/<incarnation>`.
"""

from __future__ import annotations

import random
from typing import Any, cast


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

    def later(self, name: str) -> random.Random:
        """Returns the same stream, seeded when it is first drawn from: a generator takes 2.5 KB, and a
        thousand disks may never draw.
        """
        return cast("random.Random", _Later(self, name))


class _Later:
    __slots__ = ("_chance", "_name")

    def __init__(self, chance: Chance, name: str) -> None:
        self._chance = chance
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._chance.stream(self._name), name)
