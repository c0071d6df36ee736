"""A timeslave and what masters say to it, poll by poll, by hand."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from services.spanner.truetime import Master, Timeslave, Unsynchronized
from services.spanner.truetime.polling import Heard
from sim.faults import ClockSkew
from sim.world.clock import EPOCH
from sim.world.simulation import Simulation
from tests.spanner.truetime.rig import MS, SECOND, Rig

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine


class Told:
    """One master, who says what a test says: absolute time lies so many ns around what it is."""

    names = ("m",)

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self.low = self.high = 0

    async def poll(self) -> list[Heard]:
        """Returns the answer."""
        now = self._simulation.now()
        return [Heard("m", "gps", now, EPOCH + now + self.low, EPOCH + now + self.high)]


def by_hand(story: Callable[[Timeslave, Callable[..., Any]], Coroutine[Any, Any, None]]) -> None:
    """Runs a story with a timeslave, and what lets it poll its master once."""
    simulation = Simulation()

    async def main() -> None:
        timeslave = Timeslave(simulation.machines["main"].host, [Master("m")])
        told = Told(simulation)
        timeslave._masters = told  # type: ignore[assignment]

        async def poll(low: int, high: int) -> None:
            told.low, told.high = low, high
            assert await timeslave.poll()

        await story(timeslave, poll)

    simulation.run(main())


def test_earliest_does_not_go_back_where_a_poll_gives_more_room() -> None:
    async def story(timeslave: Timeslave, poll: Callable[..., Any]) -> None:
        await poll(0, MS)
        await asyncio.sleep(10)
        before = timeslave.now()
        assert timeslave.after(before.earliest - 1)
        await poll(-2_100_000, 0)
        after = timeslave.now()
        assert after.latest < before.latest, "it was taken"
        assert after.earliest == before.earliest, "and would have begun 0.1 ms earlier"
        assert timeslave.after(before.earliest - 1)

    by_hand(story)


def test_what_is_known_is_kept_where_a_poll_knows_less() -> None:
    async def story(timeslave: Timeslave, poll: Callable[..., Any]) -> None:
        await poll(-MS, MS)
        await asyncio.sleep(10)
        before = timeslave.now()
        await poll(-100 * MS, 100 * MS)
        assert timeslave.now() == before
        await poll(-2 * MS, 2 * MS)
        assert timeslave.now().epsilon == pytest.approx(2 * MS, abs=10)

    by_hand(story)


def test_a_host_that_took_for_passed_what_has_not_is_evicted() -> None:
    """Many polls that knew less lie between: none of those it remembers excludes what the last one says."""

    async def story(timeslave: Timeslave, poll: Callable[..., Any]) -> None:
        await poll(-MS, MS)
        for _ in range(11):
            await asyncio.sleep(1)
            await poll(-SECOND, SECOND)
        timeslave.now()
        await poll(-200 * MS, -199 * MS)
        with pytest.raises(Unsynchronized, match="what it took for passed has not"):
            timeslave.now()
        for _ in range(3):
            await asyncio.sleep(1)
            await poll(-200 * MS, -199 * MS)
        assert timeslave.now().epsilon < MS, "it is back after three polls that fit each other"

    by_hand(story)


def test_a_master_that_counts_itself_out_is_not_heard() -> None:
    rig = Rig()

    async def main() -> None:
        await asyncio.sleep(5)
        rig.inject(ClockSkew(host="m1", seconds=0.5))
        await asyncio.sleep(60)

    rig.run(main())
    last = rig.polls()[-1].fields
    assert (last["heard"], last["silent"], last["liars"]) == (["m2", "m3"], ["m1"], [])
