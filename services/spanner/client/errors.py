"""What a client raises: the database's refusals, and the one thing that nobody can refuse: not to know."""

from __future__ import annotations

from services.spanner.errors import SpannerError


class OutcomeUnknown(SpannerError):
    """A commit was asked for, and no answer came in time: it may have taken effect, or may do so yet.

    Attributes:
        transaction: its id.
    """

    def __init__(self, transaction: str, why: SpannerError) -> None:
        super().__init__(
            "DEADLINE_EXCEEDED" if why.code == "DEADLINE_EXCEEDED" else "UNAVAILABLE",
            f"nobody knows whether transaction {transaction} has committed: {why.detail}",
        )
        self.transaction = transaction


def over(what: str) -> SpannerError:
    """Returns the refusal of what cannot be used any more."""
    return SpannerError("FAILED_PRECONDITION", what)


def final(error: SpannerError) -> bool:
    """Says whether a commit that was refused so certainly has no effect."""
    return error.code not in ("UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "CANCELLED")
