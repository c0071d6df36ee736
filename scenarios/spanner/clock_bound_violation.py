"""A clock that is outside its ε: of two transactions the second gets the smaller timestamp. Meant to fail.

All that Spanner promises about the order of transactions rests on TrueTime's promise, that absolute time
is within the interval (3.C 1). Here all time masters of zone 2 say that it is 20 ms earlier than it is.
They are three of the five that its spanserver asks, so no algorithm can tell that it is they who lie;
the server is sure of the time to a millisecond, and wrong. It leads a group. Who commits there, having
seen a commit in zone 1, gets a timestamp before that one's: the database then says, for ever, that the
effect came before its cause.

    dsim run spanner/clock-bound-violation
    dsim run spanner/clock-bound-violation --set liars=2

With two liars the others outvote them, and everything holds: that is `spanner/liar-outvoted`. The
picture shows the two transactions: the intervals in red do not contain the moment at which they were
asked for. On real processes the lie is ten times as large: a round trip of a busy machine and a commit there
take longer than 20 ms, and who waits that long anyway is not found out.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from scenarios.spanner.promises import INVARIANTS, PROMISES, TOTAL
from scenarios.spanner.relay import Relay, masters_of_zones
from sim import World, scenario

ZONE = "z2"
LIE = {"sim": -0.02, "grpc": -0.2}  # seconds


@scenario(checks=(*PROMISES, TOTAL, INVARIANTS), plots=("commit-wait", "epsilon"), limit_s=600)
async def clock_bound_violation(
    world: World,
    *,
    liars: Annotated[int, Meta(ge=0, le=3)] = 3,
    lie_s: Annotated[float, Meta(ge=-1, le=1)] | None = None,
    rounds: Annotated[int, Meta(ge=1, le=1000)] = 5,
) -> None:
    """A clock is outside its bound: a transaction that came after another gets the smaller timestamp."""
    universe = Relay(world, masters_of_zones())
    near = [one["name"] for one in universe.masters if one["zone"] == ZONE]
    universe.lies = dict.fromkeys(near[:liars], LIE[world.kind] if lie_s is None else lie_s)
    await universe.start()
    await universe.open()
    await universe.run(rounds)
    await universe.finish()


if __name__ == "__main__":
    clock_bound_violation.main()
