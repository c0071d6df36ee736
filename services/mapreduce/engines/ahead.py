"""What takes long to start, before the engine itself is imported: half of a small job's time is imports."""

from __future__ import annotations

from services.real.launch import template


def begin() -> None:
    """Starts the process from which a cluster's nodes are forked; it imports gRPC while this one does."""
    template()
