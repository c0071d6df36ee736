"""What it means to hold something that a session stands for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.coordination.client import Client


class Holding:
    """Something that is this client's from its grant until its release, unless the session ends before.

    Attributes:
        lost: set as soon as it may be somebody else's. It stays set until the next grant.
        fence: the zxid that made the grant: greater than that of every earlier grant of the same thing.
        wakeups: how often waiting for it was interrupted to look again (the herd, in numbers).
    """

    def __init__(self, client: Client) -> None:
        self.lost = asyncio.Event()
        self.fence = 0
        self.wakeups = 0
        self._client = client
        self._granted = False
        self._call_off: Callable[[], None] | None = None

    @property
    def held(self) -> bool:
        """Whether it was granted, not released, and certainly not lost."""
        self._look()
        return self._granted and not self.lost.is_set()

    def _grant(self, fence: int) -> None:
        """It is this client's."""
        assert not self._granted
        assert fence > self.fence, f"granted with {fence} after {self.fence}"
        self.lost.clear()
        self.fence = fence
        self._granted = True
        self._call_off = self._client.on_doubt(self.lost.set)
        self._look()

    def _drop(self) -> None:
        """It is not this client's any more, or will not be in a moment."""
        self._granted = False
        if self._call_off is not None:
            self._call_off()
            self._call_off = None

    def _look(self) -> None:
        """A process that stood still may be here before its timers are."""
        if self._granted and asyncio.get_running_loop().time() >= self._client.sure_until:
            self.lost.set()
