"""A simulated host (work in progress)."""

from __future__ import annotations


class SimHost:
    """A host."""
