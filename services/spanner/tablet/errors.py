"""What must never stand in a log."""

from __future__ import annotations


class Contradiction(AssertionError):
    """An entry that cannot follow those before it: its writer broke an invariant, and the replica stops."""


def demand(holds: bool, broken: str) -> None:
    """Raises `Contradiction` unless it holds."""
    if not holds:
        raise Contradiction(broken)
