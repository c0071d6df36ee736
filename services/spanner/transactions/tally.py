"""The votes of a transaction's participants, as its coordinator counts them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from services.spanner.errors import SpannerError


class Tally:
    """What a coordinator knows of a transaction of several groups that it has not decided.

    It exists from the first word of it: the client's commit, or a participant that was faster.

    Attributes:
        votes: prepare timestamps of the groups that have prepared.
        refused: it must be aborted.
        decider: what comes of deciding; None: the client's commit has not come.
        settled: the outcome is in the log, and may be known: the commit timestamp, 0 for aborted, and to whom
            it is told.
    """

    __slots__ = ("_changed", "decider", "refused", "settled", "votes")

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.votes: dict[int, int] = {}
        self.refused = False
        self.decider: asyncio.Future[Any] | None = None
        self.settled: asyncio.Future[tuple[int, tuple[int, ...]]] = loop.create_future()
        self._changed: asyncio.Future[None] = loop.create_future()

    def vote(self, participant: int, prepared: int) -> None:
        """Counts a participant that has prepared."""
        self.votes[participant] = prepared
        self._wake()

    def refuse(self) -> None:
        """Has it aborted."""
        self.refused = True
        self._wake()

    def settle(self, commit: int, participants: tuple[int, ...] = ()) -> None:
        """Tells the outcome to those who wait for it."""
        if not self.settled.done():
            self.settled.set_result((commit, participants))

    def give_up(self, why: SpannerError) -> None:
        """Ends with the reign: nobody here will know the outcome."""
        if not self.settled.done():
            self.settled.set_exception(why)
            self.settled.exception()  # perhaps nobody waits for it
        self.refuse()

    async def all_of(self, participants: tuple[int, ...]) -> bool:
        """Waits until all have voted, or one has refused, and says whether all have prepared."""
        while not self.refused and any(group not in self.votes for group in participants):
            await self._changed
            self._changed = asyncio.get_running_loop().create_future()
        return not self.refused

    def _wake(self) -> None:
        if not self._changed.done():
            self._changed.set_result(None)
