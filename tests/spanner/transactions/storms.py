"""Random transactions on groups whose leaders crash and change, and what must hold in the end."""

from __future__ import annotations

import asyncio
from typing import Any

from services.spanner.entries import Abort, Commit, Outcome, Prepare, decode
from sim import simulate
from tests.spanner.transactions.clients import Client, History
from tests.spanner.transactions.groups import WIDTH, World


def storm(
    seed: int, *, clients: int = 5, transactions: int = 6, keys: int = 2, faults: int = 4, **world: Any
) -> tuple[list[str], World, History]:
    """Runs clients against groups, and returns what is wrong."""

    async def main() -> tuple[list[str], World, History]:
        groups = World(seed, **{"groups": 3, "loss": 0.01, **world})
        rng = groups.rng
        history = History()

        async def live(name: str) -> None:
            client = Client(groups, name, history)
            for number in range(transactions):
                await groups.pause(0.02)
                some = [group * WIDTH + rng.randrange(keys) for group in range(groups.groups)]
                rng.shuffle(some)
                some = some[: rng.choice([1, 1, 2, 3])]
                if rng.random() < 0.25:
                    await client.snapshot(some)
                else:
                    mark = int(name[1:]) * 1000 + number
                    appends = {key: mark for key in some if rng.random() < 0.6}
                    await client.transaction([key for key in some if key not in appends], appends)

        async def harm() -> None:
            for _ in range(faults):
                await groups.pause(0.2)
                rng.choice(groups.cores).depose(crash=rng.random() < 0.6)

        async with asyncio.timeout(300):
            await asyncio.gather(*(live(f"c{number}") for number in range(clients)), harm())
        wrong = history.wrong() + await settled(groups)
        return wrong, groups, history

    return simulate(main, seed=seed, interleave=True)


async def settled(world: World, within: float = 15.0) -> list[str]:
    """Waits until nothing is under way, and returns what is not as it must be then."""
    deadline = asyncio.get_running_loop().time() + within
    wrong = ["?"]
    while wrong and asyncio.get_running_loop().time() < deadline:
        await asyncio.sleep(0.1)
        wrong = _state(world)
    # The world goes on as it is: who comes now finds no lock held.
    world.lose = lambda number, label: False
    client = Client(world, "z")
    keys = [group * WIDTH + each for group in range(world.groups) for each in range(2)]
    if not wrong and not await client.transaction([], {key: 99_000_000 + key for key in keys}, tries=5):
        wrong.append("a transaction on all keys did not commit afterwards")
    return wrong


def _state(world: World) -> list[str]:
    wrong = []
    outcomes: dict[str, int | None] = {}
    for core in world.cores:
        if core.leader is None:
            return ["no leader"]
        tablet = core.leader.tablet
        wrong += [f"{one} is in doubt in group {core.number}" for one in tablet.prepared]
        for one in core.replicas:
            if one.applied < len(core.log):
                wrong.append(f"{one.name} is behind")
            elif one.tablet.digest() != tablet.digest():
                wrong.append(f"{one.name} differs from its leader")
        reign = core.leader.transactions._reign
        assert reign is not None
        if reign.transactions or reign.tallies:
            wrong.append(
                f"group {core.number} has open transactions: {[*reign.transactions, *reign.tallies]}"
            )
        elif list(reign.table.places()):
            wrong.append(f"group {core.number} has locks that nobody holds")
        last = 0
        for timestamp, entry in core.log:
            if timestamp <= last:
                wrong.append(f"timestamp {timestamp} after {last} in group {core.number}")
            last = timestamp
            what = decode(entry)
            if isinstance(what, Commit) and what.transaction != "genesis":
                outcome: int | None = what.timestamp
            elif isinstance(what, Outcome):
                outcome = what.commit
            elif isinstance(what, Abort):
                outcome = None
            else:
                assert (
                    isinstance(what, Prepare)
                    or not hasattr(what, "transaction")
                    or what.transaction == "genesis"
                )
                continue
            if outcomes.setdefault(what.transaction, outcome) != outcome:
                wrong.append(f"{what.transaction}: {outcomes[what.transaction]} and {outcome}")
    return wrong
