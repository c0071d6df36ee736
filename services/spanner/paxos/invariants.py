"""Paxos's and the lease's invariants."""

from __future__ import annotations


class InvariantBroken(AssertionError):
    """A rule that must hold does not: the server must not go on."""
