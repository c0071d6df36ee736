"""Ballots: which reign (or attempt at one) a promise, a vote or an entry belongs to.

A ballot is (round, proposer) as one number, so that comparing is one comparison: the proposer is the place of
its name among the sorted names of the group's members. 0 is none. A reign is known by its ballot: it is the
`term` of `services.spanner.group`.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from msgspec import Meta

Ballot: TypeAlias = Annotated[int, Meta(ge=0, le=(1 << 53) - 1)]
"""What is read as one is checked to be in these bounds: more rounds than ever will be."""

NONE: Ballot = 0
PLACES = 1 << 10
"""More members than a group has."""


def ballot_of(round: int, proposer: int) -> Ballot:
    """Returns the ballot of a round (from 1 on) by the proposer at that place."""
    return round * PLACES + proposer


def round_of(ballot: Ballot) -> int:
    """Returns its round."""
    return ballot // PLACES


def proposer_of(ballot: Ballot) -> int:
    """Returns the place of who made it."""
    return ballot % PLACES


def text(ballot: Ballot) -> str:
    """Returns it for people: round.proposer."""
    return f"{round_of(ballot)}.{proposer_of(ballot)}"
