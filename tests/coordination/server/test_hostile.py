"""Hostile messages at the gRPC door: a few of `hunt.py`'s."""

from __future__ import annotations

import asyncio

from tests.coordination.server.hunt import hunt


def test_random_messages_and_mutated_sessions() -> None:
    ended = asyncio.run(hunt(7, 600))
    assert min(ended[how] for how in ("INVALID_ARGUMENT", "UNAVAILABLE", "ended", "went")) > 10
