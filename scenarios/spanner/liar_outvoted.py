"""A time master lies, and is sure of it: no host believes it, for the others outvote it.

A host asks the masters of its zone and fewer of others, and takes for true what all of them but a minority
agree on (a variant of Marzullo's algorithm, section 3). A liar that has nothing in common with the others is
named, in the note of each poll. Of the five masters that a host asks here two may lie. With a third, the lie
has a majority in zone 1. Its host does not believe at once that true time has jumped by more than its crystal
can be off, and for three polls says nothing about the time; then it believes the lie, and its intervals no
longer contain true time, which the world sees:

    dsim run spanner/liar-outvoted --set liars=3
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from protos.trace import Note
from scenarios.spanner.timekeepers import Timekeepers, check_programs
from sim import World, scenario
from sim.check.spanner.containment import POLL, Containment
from sim.faults import LyingMaster

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protos.trace import TraceEvent

NOTHING_BREAKS = "nothing breaks"


class LiarsNamed:
    """The hosts that asked a liar said so."""

    name = "the liars are named"

    def begin(self) -> LiarsNamed:
        """A run begins."""
        self._lying: tuple[str, ...] = ()
        self._named: dict[str, int] = {}
        return self

    def see(self, events: Sequence[TraceEvent]) -> None:
        """Takes the next events of the trace."""
        for event in events:
            if not isinstance(event, Note):
                continue
            if event.name == "lying":
                self._lying = tuple(event.fields["masters"])
            if event.name == POLL:
                for name in event.fields["liars"]:
                    self._named[name] = self._named.get(name, 0) + 1

    def verdict(self) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        wrong = [name for name in self._named if name not in self._lying]
        if wrong:
            return False, f"{wrong[0]} was taken for a liar, and is none"
        missing = [name for name in self._lying if name not in self._named]
        if missing:
            return False, f"{missing[0]} lied, and nobody said so"
        return True, ", ".join(f"{name} in {count} polls" for name, count in self._named.items())


@scenario(
    checks=(Containment(), LiarsNamed(), NOTHING_BREAKS),
    plots=("epsilon",),
    limit_s=3600,
)
async def liar_outvoted(
    world: World,
    *,
    zones: Annotated[int, Meta(ge=1, le=9)] = 3,
    liars: Annotated[int, Meta(ge=0, le=27)] = 1,
    lie_s: Annotated[float, Meta(ge=-1e6, le=1e6)] = 0.05,
    poll_s: Annotated[float, Meta(gt=0, le=600)] = 3.0,
    drift: Annotated[float, Meta(ge=0, le=0.01)] = 0.002,
    polls: Annotated[int, Meta(ge=2, le=1000)] = 6,
) -> None:
    """A time master misstates the time by 50 ms, and is outvoted: every host stays right about it."""
    keepers = Timekeepers(world, zones, settings={"poll_s": poll_s, "drift": drift}, compare_s=poll_s / 3)
    await keepers.start()
    await asyncio.sleep(2.5 * poll_s)
    lying = [one["name"] for one in keepers.masters][:liars]
    world.note("lying", masters=lying)
    faults = [await world.inject(LyingMaster(host=name, seconds=lie_s)) for name in lying]
    await asyncio.sleep(polls * poll_s)
    for fault in faults:
        await world.lift(fault)
    await asyncio.sleep(1.5 * poll_s)
    check_programs(world, NOTHING_BREAKS)


if __name__ == "__main__":
    liar_outvoted.main()
