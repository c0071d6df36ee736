"""The seam to the leaders of other groups: what a participant asks the coordinator of a transaction."""

from __future__ import annotations

from typing import Protocol

from services.spanner.errors import SpannerError


class NoSuchGroup(SpannerError):
    """The system tables, read after it was asked, have no group of that number: it has decided nothing.

    A group goes only when nobody is left that may ask it for an outcome (`placement/groups.py`).
    """

    def __init__(self, group: int) -> None:
        super().__init__("FAILED_PRECONDITION", f"there is no group {group} to decide a transaction")


class Coordinators(Protocol):
    """Finds a group's leader, and asks it. `spanserver/` implements it over gRPC.

    Each call is one attempt: it may fail, or hang for ever; who calls has a time-out and tries again.
    """

    async def find(self, coordinator: int) -> None:
        """Returns once it is known where a group is: at once mostly, since that is remembered.

        Raises:
            NoSuchGroup: there is none of that number.
            SpannerError: nobody says.
        """
        ...

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
            NoSuchGroup: there is no such group (any more): it has not decided, and never will.
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
