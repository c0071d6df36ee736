"""A commit of two groups on the whole stack, and a crash at one of its steps: all of them, in turn.

Steps are every operation on the disk of every server, and every message that leaves or reaches one, from when
the client begins until its transaction is over everywhere. At a step one server dies (before what it does on
its disk; after it sent; while what is sent to it is under way), and comes back a second later, with what its
disk kept. Then both groups have the transaction or neither has, as its client was told, and nothing stays
undecided.

    python -m tests.spanner.every_step

takes every step; the suite takes some.
"""

from __future__ import annotations

import asyncio
import time
from typing import Annotated, Any, Literal

from msgspec import Meta

from scenarios.spanner.accounts import COLUMNS, SCHEMA, TABLE, Banker, cuts
from scenarios.spanner.cluster import Universe
from scenarios.spanner.promises import INVARIANTS, PROMISES, TOTAL, check_invariants, check_total
from services.spanner.client import ALL
from sim import Summary, World, run, scenario
from sim.faults import Crash
from sim.world.network.connection import Endpoint

ATOMIC, TOLD, DECIDED, GOES_ON = (
    "both groups or neither",
    "as the client was told",
    "nothing stays undecided",
    "goes on",
)
SERVERS = ("s1", "s2", "s3")
KINDS = ("disk", "sender", "receiver")
DOWNTIME = 1.0  # seconds
AFTER = 0.3  # seconds after the client has its answer that are looked at: participants hear of it
SETTLED = 15.0  # seconds until nothing may be under way any more


class Steps:
    """Counts steps, and says when the one has come at which a server dies.

    Args:
        world: the simulated one.
        kind: which steps.
        at: which of them; 0: none.

    Attributes:
        count: how many there were.
        victim: who dies.
    """

    def __init__(self, world: Any, kind: str, at: int) -> None:
        self.count = 0
        self.victim: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._at = at
        self._on = True
        if kind == "disk":
            for name in SERVERS:
                self._watch(world.simulation.machines[name].disk, name)
        else:
            self._transmit = Endpoint.transmit
            steps = self

            def transmit(endpoint: Endpoint, *args: Any) -> None:
                steps._transmit(endpoint, *args)
                path = endpoint._path
                host = path.source if kind == "sender" else path.target
                if host in SERVERS and path.source != path.target:
                    steps.step(host)

            Endpoint.transmit = transmit  # type: ignore[method-assign, assignment]

    def _watch(self, disk: Any, name: str) -> None:
        pay, request = disk._pay, disk._request

        async def step(how: Any, *args: Any, **options: Any) -> None:
            if self.step(name):
                await asyncio.sleep(1e6)  # it never returns
            await how(*args, **options)

        disk._pay = lambda cost: step(pay, cost)
        disk._request = lambda size, **options: step(request, size, **options)

    def step(self, host: str) -> bool:
        """Counts a step of a host; says whether it is the one."""
        if not self._on:
            return False
        self.count += 1
        if self.count != self._at:
            return False
        self.victim.set_result(host)
        return True

    def stop(self) -> None:
        """Counts no more."""
        self._on = False
        if hasattr(self, "_transmit"):
            Endpoint.transmit = self._transmit  # type: ignore[method-assign]


@scenario(checks=(*PROMISES, TOTAL, ATOMIC, TOLD, DECIDED, GOES_ON, INVARIANTS), limit_s=120)
async def every_step(
    world: World,
    *,
    kind: Literal["disk", "sender", "receiver"] = "disk",
    at: Annotated[int, Meta(ge=0)] = 0,
) -> None:
    """A server dies at one step of a commit of two groups."""
    universe = Universe(
        world,
        SCHEMA,
        cuts(2, 2),
        paxos={"lease": 1_000_000_000, "renew": 400_000_000, "advance": 300_000_000},
        transactions={"undecided_s": 0.5, "ask_again_s": 0.5, "prepare_s": 2.0, "idle_transaction_s": 2.0},
    )
    await universe.start()
    banker = Banker(universe, "c1", 2, timeout=10.0)
    await banker.open_accounts()
    await asyncio.sleep(0.5)
    steps = Steps(world, kind, at)
    try:
        dying = world.spawn(_die(world, steps))
        await banker.transfer()
        told = banker.committed - 1, banker.unknown
        await asyncio.sleep(AFTER)
    finally:
        steps.stop()
    if steps.victim.done():
        await dying
    else:
        dying.cancel()
    world.measure("steps", steps.count)

    end = world.now() + SETTLED
    under_way = 1
    while under_way and world.now() < end:
        await asyncio.sleep(0.1)
        statuses = await universe.statuses()
        under_way = sum(group.prepared for one in statuses.values() for group in one.groups)
        under_way += len(SERVERS) - len(statuses)
    world.check(DECIDED, not under_way, f"{under_way} prepared, or servers that do not answer")
    rows = await universe.database("reader").snapshot(strong=True).read(TABLE, COLUMNS, ALL)
    tags = [tag for _, _, tag in rows]
    world.check(ATOMIC, len(set(tags)) == 1, f"{tags}")
    done = tags[0] != "c1-1"
    committed, unknown = told
    world.check(TOLD, bool(unknown) or done == bool(committed), f"{told}, and it is {done}")
    auditor = Banker(universe, "auditor", 2)
    check_total(world, await auditor.audit(), 2)
    before = auditor.committed
    await auditor.transfer()
    world.check(GOES_ON, auditor.committed == before + 1, "a later transaction of both groups")
    check_total(world, await auditor.audit(), 2)
    await universe.close()
    check_invariants(world)


async def _die(world: World, steps: Steps) -> None:
    crash = await world.inject(Crash(host=await steps.victim))
    await asyncio.sleep(DOWNTIME)
    await world.lift(crash)


def tell(kind: str, at: int, seed: int = 0) -> Summary:
    """Tells it once."""
    return run(every_step, {"kind": kind, "at": at}, seed=seed)


def count(kind: str) -> int:
    """Returns how many steps of a kind there are."""
    summary = tell(kind, 0)
    assert summary.verdict == "pass", (summary.error, summary.checks)
    return round(next(one.value for one in summary.measures if one.name == "steps"))


def main() -> None:
    """Takes every step of every kind."""
    for kind in KINDS:
        began = time.monotonic()
        steps = count(kind)
        wrong = [at for at in range(1, steps + 1) if tell(kind, at).verdict != "pass"]
        print(
            f"{kind}: {steps} steps, wrong: {wrong or 'none'} ({time.monotonic() - began:.0f} s)", flush=True
        )
        if wrong:
            summary = tell(kind, wrong[0])
            print(summary.error, *(one for one in summary.checks if not one.ok), sep="\n")


if __name__ == "__main__":
    main()
