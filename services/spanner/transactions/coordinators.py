"""The seam to the leaders of other groups: what a participant asks the coordinator of a transaction."""

from __future__ import annotations

from typing import Protocol


class Coordinators(Protocol):
    """Finds a group's leader, and asks it. `spanserver/` implements it over gRPC.

    Each call is one attempt: it may fail, or hang for ever; who calls has a time-out and tries again.
    """

    async def decide(self, coordinator: int, participant: int, transaction: str, prepared: int) -> int:
        """Says that a participant has prepared (`Spanserver.Decide`), and returns the outcome.

        Args:
            coordinator: the group that decides.
            participant: the group that asks.
            transaction: which.
            prepared: its prepare timestamp; 0: it cannot prepare.

        Returns:
            The commit timestamp, which has passed; 0: aborted.

        Raises:
            SpannerError: nothing is known yet.
        """
        ...

    async def finished(self, coordinator: int, participant: int, transaction: str) -> None:
        """Says that a participant has logged a commit, and will not ask for it again (`Decide`, `finished`).

        Raises:
            SpannerError: it was perhaps not heard.
        """
        ...

    async def wound(self, coordinator: int, transaction: str) -> None:
        """Says that an older transaction waits for this one, which is prepared (`Spanserver.Wound`).

        Raises:
            SpannerError: it was perhaps not heard.
        """
        ...
