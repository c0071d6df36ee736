"""A universe under a swarm of faults: whatever happens, the order of transactions is that of real time.

Six spanservers in three zones, six groups, nine time masters; crystals that run as fast or slow as they may;
clients that do a little of everything over several groups, while directories move between them, and the
placement driver splits what is hot, merges what is cold, and replaces servers that are silent, and the
schema is changed; and a random choice of what can go wrong: crashes, partitions, slow and lossy links, lost
replies, pauses, full and failing disks, torn writes, clocks that jump, and a minority of the time masters
that lies. When all is healed, every group must go on, its replicas must have the same versions, and every
acknowledged write must be in them. Each seed is another story:

    dsim run spanner/swarm --seed 7 --interleave
    dsim sweep spanner/swarm --seeds 0:1000 --interleave

Without the commit wait a few seeds are enough to find what it is for:

    dsim sweep spanner/swarm --seeds 0:5 --set commit_wait=false

For ten minutes on real processes, with a cold start of all of them at the end:

    dsim run spanner/swarm --world grpc --set servers=5 --set seconds=600 --set moves=60 --set cold=true
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated

import msgspec
from msgspec import Meta

from scenarios.spanner.accounts import TABLE as ACCOUNTS
from scenarios.spanner.cluster import LOCATION, ZONES, Universe
from scenarios.spanner.convergence import EQUAL, KEPT, check_kept, check_replicas
from scenarios.spanner.promises import INVARIANTS, PROMISES, TOTAL, check_invariants, check_total
from scenarios.spanner.workload import LISTS, SCHEMA, Worker, cuts
from services.spanner.client import SpannerError
from services.spanner.keys import KeyRange
from services.spanner.schema import ColumnSpec, CreateTable
from sim import World, scenario
from sim.explore.reduce import SHRINKABLE
from sim.explore.swarm import swarm as faults_of
from sim.faults import Action, ClockDrift, Crash, LyingMaster, Slow

if TYPE_CHECKING:
    import random
    from collections.abc import Sequence

    from protos import spanner_pb2 as pb

RECOVERY_S = 30.0  # within which all must work again after everything is healed
PROGRESS = f"progress within {RECOVERY_S:g} s"
MOVED = "moves end"
CHANGED = "the schema is changed"
MOVING = 60.0  # seconds for a move, faults and all
DRIVER = {
    "hottest": 12.0,
    "coldest": 3.0,
    "largest": 100_000,
    "smallest": 50_000,
    "uneven": 10.0,
    "patience_s": 1.0,
    "silent_s": 2.0,
}
"""When the placement driver splits, merges and moves: often, at what a few clients ask for."""

STOPPING = (
    4.0  # seconds until the last step of a move that was under way is over, and it is known where all is
)
STALE = 0.5  # seconds that reads go back at most
DRIFT = 0.005  # seconds a second that a crystal may be off: with 2 s between polls ε is as in the paper
ROUND = 20.0  # seconds: longer stories have several swarms, one after the other, each with its own faults
SLOW = 14.0  # times slower, at most, in these
MOST = 0.95  # of that, which they are
LIARS = 2  # time masters that lie at the same time: a minority of those that a host asks, wherever it is
MASTERS = [
    {"name": f"{name}.{zone}", "zone": zone, "kind": kind}
    for zone in ZONES
    for name, kind in (("gps1", "gps"), ("gps2", "gps"), ("atomic1", "armageddon"))
]


@scenario(
    checks=(*PROMISES, TOTAL, MOVED, CHANGED, PROGRESS, EQUAL, KEPT, INVARIANTS),
    plots=("groups",),
    limit_s=1200,
    real_limit_s=1800,
)
async def swarm(
    world: World,
    *,
    servers: Annotated[int, Meta(ge=3, le=30)] = 6,
    groups: Annotated[int, Meta(ge=4, le=50)] = 6,
    clients: Annotated[int, Meta(ge=1, le=20), SHRINKABLE] = 4,
    accounts: Annotated[int, Meta(ge=2, le=100)] = 9,
    lists: Annotated[int, Meta(ge=1, le=100)] = 6,
    seconds: Annotated[float, Meta(gt=0, le=600)] = 8.0,
    intensity: Annotated[float, Meta(gt=0, le=100)] = 1.5,
    pause: Annotated[float, Meta(gt=0, le=10)] = 0.05,
    lease: Annotated[float, Meta(gt=0, le=10)] = 2.0,
    moves: Annotated[int, Meta(ge=0, le=1000)] = 4,
    commit_wait: bool = True,
    cold: bool = False,
) -> None:
    """A universe under every kind of fault: no promise is broken."""
    universe = Universe(
        world,
        SCHEMA,
        cuts(accounts, lists, groups),
        servers,
        masters=MASTERS,
        driver={"every": 1.0, "limits": {**DRIVER, "least": groups}} if moves else None,
        retry_s=0.5,
        truetime={"poll_s": 2.0, "drift": DRIFT},
        paxos={"lease": round(lease * 1e9), "renew": round(lease * 0.4e9), "advance": 500_000_000},
        transactions={
            "commit_wait": commit_wait,
            "prepare_s": 3.0,
            "undecided_s": 1.0,
            "idle_transaction_s": 3.0,
        },
    )
    await universe.start()
    names = [f"c{number}" for number in range(1, clients + 1)]
    people = [
        Worker(universe, name, accounts, lists=lists, zone=ZONES[place % len(ZONES)], timeout=8.0)
        for place, name in enumerate(names)
    ]
    await people[0].open_accounts()
    await people[0].open_lists()
    await asyncio.sleep(2 * STALE)  # until then, some time ago there was nothing
    over = asyncio.Event()
    working = [world.spawn(one.work(over, pause)) for one in people]
    auditor = Worker(universe, "auditor", accounts, lists=lists, zone=ZONES[1], timeout=8.0)
    auditing = world.spawn(_audit(world, auditor, over, accounts))
    moving = world.spawn(_move(world, universe, accounts, lists, moves, seconds / (moves + 1)))
    changing = world.spawn(_change(world, universe, max(1, round(seconds / ROUND)), seconds))
    await world.play(_faults(world, universe, names, seconds, intensity))
    await world.heal()
    healed = world.now()
    await asyncio.gather(moving, changing)
    over.set()
    await asyncio.gather(*working, auditing)
    await _progress(world, universe, people, healed)
    if cold:
        crashes = [await world.inject(Crash(host=name)) for name in universe.names]
        for crash in crashes:
            await world.lift(crash)
        await _progress(world, universe, people, world.now())
    check_total(world, await auditor.audit(), accounts)
    await auditor.look(range(lists))
    await world.stop(LOCATION)  # the driver would go on
    await asyncio.sleep(STOPPING)
    found = await check_replicas(world, universe, auditor.read_at, RECOVERY_S)
    check_kept(world, universe, found, (one for worker in people for one in worker.acknowledged))
    world.measure("committed", sum(one.committed for one in people))
    world.measure("aborted for good", sum(one.refused for one in people))
    world.measure("unknown", sum(one.unknown for one in people))
    await universe.close()
    check_invariants(world)


def _faults(
    world: World, universe: Universe, clients: Sequence[str], seconds: float, intensity: float
) -> list[Action]:
    """Returns what goes wrong, in the order of time."""
    rng = world.rng
    plan = [Action(0.0, ClockDrift(host=name, rate=_rate(rng))) for name in universe.names]
    rounds = max(1, round(seconds / ROUND))
    others: list[Action] = []
    for number in range(rounds):
        part = faults_of(
            rng,
            universe.names,
            clients=clients,
            seconds=seconds / rounds,
            intensity=intensity,
            without=("clock-drift",),
        )
        others += part if rounds == 1 else [_later(action, seconds / rounds * number) for action in part]
    if rng.random() < 0.5:
        driver = [LOCATION, *universe.locations]
        others += faults_of(
            rng, driver, seconds=seconds, intensity=0.4, kinds=("crash", "isolate", "pause"), max_down=3
        )
    masters = [one["name"] for one in MASTERS]
    if rng.random() < 0.5:
        kinds = ("crash", "isolate", "pause", "delay")
        others += faults_of(rng, masters, seconds=seconds, intensity=0.3, kinds=kinds)
    if rng.random() < 0.5:
        for liar in rng.sample(masters, LIARS):
            begin = rng.uniform(0, seconds / 2)
            lie = float(f"{rng.choice((1, -1)) * 10 ** rng.uniform(-3, 1):.3g}")
            lasts = round(rng.uniform(0.5, seconds / 2), 4)
            others.append(Action(round(begin, 4), LyingMaster(host=liar, seconds=lie), lasts=lasts))
    return plan + sorted(others, key=lambda action: action.at)


async def _change(world: World, universe: Universe, times: int, seconds: float) -> None:
    """Has tables made, so that everybody's schema is old, at times that chance decides; asks again as for
    moves."""
    chance = world.stream("schema")
    for number in range(times):
        await asyncio.sleep(seconds / times * chance.random())
        columns = (ColumnSpec("Id", "INT64"), ColumnSpec("Text", "STRING(MAX)"))
        table = CreateTable(f"Other{number}", columns, primary_key=("Id",))
        end = world.now() + MOVING
        while True:
            try:
                await universe.change_schema(table)
            except SpannerError as exc:
                if exc.code == "ALREADY_EXISTS":
                    break
                if world.now() > end:
                    world.check(CHANGED, False, f"{exc.code}: {exc.detail}")
                    return
                await asyncio.sleep(0.2)
            else:
                break
        world.check(CHANGED, True, f"{number + 1} times")


async def _move(
    world: World, universe: Universe, accounts: int, lists: int, moves: int, every: float
) -> None:
    """Has directories moved to other groups, one after the other, with pauses of up to so many
    seconds."""
    if not moves:
        world.check(MOVED, True, "none was asked for")
        return
    chance = world.stream("moves")
    groups = list(universe.groups)
    for _ in range(moves):
        await asyncio.sleep(every * chance.random())
        table, rows = chance.choice(((ACCOUNTS, accounts), (LISTS, lists)))
        start = chance.randrange(rows)
        end = chance.randint(start + 1, rows)
        keys = SCHEMA.table(table)
        await _moved(world, universe, KeyRange(keys.key([start]), keys.key([end])), chance.choice(groups))


async def _moved(world: World, universe: Universe, range_: KeyRange, to: int) -> None:
    """Has a range moved; asks again until somebody does it."""
    end = world.now() + MOVING
    while True:
        try:
            await universe.move(range_, to)
        except SpannerError as exc:
            if exc.code == "NOT_FOUND":
                world.check(MOVED, True, f"group {to} has gone")
                return
            if world.now() > end:
                world.check(MOVED, False, f"{exc.code}: {exc.detail}")
                return
            await asyncio.sleep(0.2)
        else:
            world.check(MOVED, True)
            return


def _later(action: Action, by: float) -> Action:
    """Returns what goes wrong, in a round of a long story that begins later."""
    fault = action.fault
    if isinstance(fault, Slow):  # one may be lifted late, and what both make must be possible on real hosts
        fault = msgspec.structs.replace(fault, cpu=min(fault.cpu, SLOW))
    return msgspec.structs.replace(action, at=round(action.at + by, 4), fault=fault)


def _rate(rng: random.Random) -> float:
    """Returns by how much a crystal is off: most are as bad as they may be."""
    return float(f"{rng.choice((-1, 1)) * rng.choice((MOST, MOST, rng.random())) * DRIFT:.3g}")


async def _audit(world: World, auditor: Worker, over: asyncio.Event, accounts: int) -> None:
    """Adds up all accounts, again and again."""
    while not over.is_set():
        check_total(world, await auditor.audit(), accounts)
        await asyncio.sleep(0.3)
        check_total(world, await auditor.audit(exact_staleness=round(STALE * 1e9)), accounts)
        await asyncio.sleep(0.3)


async def _progress(world: World, universe: Universe, people: Sequence[Worker], since: float) -> None:
    """Has each client write to all groups, and reports whether it could in time."""
    waiting = list(people)
    while waiting:
        if world.now() > since + RECOVERY_S:
            names = ", ".join(worker.name for worker in waiting)
            said = {name: _said(one) for name, one in (await universe.statuses()).items()}
            world.check(PROGRESS, False, f"{names} cannot write to all groups; {msgspec.json.encode(said)!r}")
            return
        done = await asyncio.gather(*(worker.everywhere() for worker in waiting))
        waiting = [worker for worker, wrote in zip(waiting, done, strict=True) if not wrote]
        await asyncio.sleep(0.1)
    world.check(PROGRESS, True, f"all groups are written to, {world.now() - since:.1f} s after")


def _said(status: pb.SpanserverStatus) -> list[int]:
    """Returns what a server leads."""
    return [group.group for group in status.groups if group.term]


if __name__ == "__main__":
    swarm.main()
