"""A time master lies, and is sure of it: no host believes it, for the others outvote it.

A host asks the masters of its zone and fewer of others, and takes for true what all of them but a minority
agree on (a variant of Marzullo's algorithm, section 3). A liar that has nothing in common with the others is
named, in the note of each poll. Of the five masters that a host asks here two may lie.

Meanwhile clients move money in a database on such hosts, some each after having seen another's commit: the
order of their timestamps is that of real time, before, during and after the lie. Its twin, where a majority
lies, is `spanner/clock-bound-violation`.

With a third liar the lie has a majority in zone 1 here, too. The host there does not believe at once that
true time has jumped by more than its crystal can be off, and for three polls says nothing about the time;
then it believes the lie, and its intervals no longer contain true time, which the world sees:

    dsim run spanner/liar-outvoted --set liars=3
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from protos.trace import Note
from scenarios.spanner.accounts import Banker
from scenarios.spanner.promises import INVARIANTS, PROMISES, TOTAL
from scenarios.spanner.relay import Relay, masters_of_zones
from sim import World, scenario
from sim.check.spanner.containment import POLL
from sim.faults import LyingMaster

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protos.trace import TraceEvent


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
    checks=(*PROMISES, LiarsNamed(), TOTAL, INVARIANTS),
    plots=("epsilon", "commit-wait"),
    limit_s=3600,
)
async def liar_outvoted(
    world: World,
    *,
    masters: Annotated[int, Meta(ge=1, le=9)] = 3,
    liars: Annotated[int, Meta(ge=0, le=9)] = 1,
    lie_s: Annotated[float, Meta(ge=-1e6, le=1e6)] = 0.05,
    poll_s: Annotated[float, Meta(gt=0, le=600)] = 3.0,
    drift: Annotated[float, Meta(ge=0, le=0.01)] = 0.002,
    polls: Annotated[int, Meta(ge=2, le=1000)] = 6,
    clients: Annotated[int, Meta(ge=0, le=50)] = 2,
) -> None:
    """A time master misstates the time by 50 ms, and is outvoted: commits stay in the order of real time."""
    universe = Relay(world, masters_of_zones(masters), truetime={"poll_s": poll_s, "drift": drift})
    await universe.start()
    await universe.open()
    over = asyncio.Event()
    others = [Banker(universe, f"d{number}", universe.accounts) for number in range(1, clients + 1)]
    pause = poll_s / 10
    working = [world.spawn(one.work(over, pause)) for one in others]
    working.append(world.spawn(universe.run_until(over, pause)))
    await asyncio.sleep(2.5 * poll_s)
    lying = [one["name"] for one in universe.masters][:liars]
    world.note("lying", masters=lying)
    faults = [await world.inject(LyingMaster(host=name, seconds=lie_s)) for name in lying]
    await asyncio.sleep(polls * poll_s)
    for fault in faults:
        await world.lift(fault)
    await asyncio.sleep(1.5 * poll_s)
    over.set()
    await asyncio.gather(*working)
    await universe.finish()


if __name__ == "__main__":
    liar_outvoted.main()
