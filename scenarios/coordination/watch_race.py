"""A configuration of many znodes is changed while others read it: thanks to *ready*, nobody reads a mixture.

Section 2.3: a new master deletes the znode *ready*, changes many znodes, all on their way at once, and
creates *ready* again. Whoever sees *ready* sees all changes, for a client's requests take effect in their
order. But what if a reader sees *ready*, and the master begins before the reader is through? It watches
*ready*: the notification of its end comes before anything that was changed after it can be read, so the
reader knows, and begins anew. In the middle of it all a master gives up half-way; nobody reads its half,
and the next one makes a whole.

Readers who look at *ready* and do not watch it read mixtures, as those do who do not look at it at all:

    dsim run coordination/watch-race --set how=look
    dsim run coordination/watch-race --set how=trust
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Literal

from msgspec import Meta

from scenarios.coordination.clients import RecordedClient
from scenarios.coordination.cluster import TICK, Ensemble
from scenarios.coordination.promises import INVARIANTS, PROMISES, check_invariants
from sim import World, scenario
from sim.check.coordination.ready import ReadyPattern

CONFIG, READY = "/config", "/config/ready"
PAUSE = 0.01  # seconds between two reads: reading takes longer than changing


@scenario(
    checks=(*PROMISES, ReadyPattern(READY), "nobody reads a mixture", "all is read in the end", INVARIANTS),
    plots=("spacetime",),
    limit_s=600,
)
async def watch_race(
    world: World,
    *,
    servers: Annotated[int, Meta(ge=3, le=13)] = 3,
    readers: Annotated[int, Meta(ge=1, le=50)] = 3,
    how: Literal["watch", "look", "trust"] = "watch",
    znodes: Annotated[int, Meta(ge=2, le=200)] = 10,
    changes: Annotated[int, Meta(ge=2, le=200)] = 10,
    tick: Annotated[float, Meta(gt=0, le=10)] = TICK,
) -> None:
    """A configuration of ten znodes is changed while it is read: thanks to *ready* nobody reads a mixture."""
    ensemble = Ensemble(world, servers, tick=tick, digest_every=8)
    await ensemble.start()
    paths = [f"{CONFIG}/{number}" for number in range(znodes)]
    first, second = await ensemble.client("first"), await ensemble.client("second")
    await first.create(CONFIG)
    await asyncio.gather(*(first.create(path, f"0 {path}") for path in paths), first.create(READY))

    reading = [
        Reader(await ensemble.client(f"reader{number}"), paths, how) for number in range(1, readers + 1)
    ]
    over = asyncio.Event()
    work = [world.spawn(reader.work(over)) for reader in reading]
    one_by_one = all_at_once = 0.0
    for change in range(1, changes + 1):
        await asyncio.sleep(world.rng.uniform(0.5, 2.0) * PAUSE * znodes)
        master = first if change <= changes // 2 else second
        begun = world.now()
        whole = change != changes // 2  # the last one of the first master's is left half done
        await publish(master, change, paths if whole else paths[: znodes // 2], whole)
        if whole:
            all_at_once = max(all_at_once, world.now() - begun)
    deadline = world.now() + 5.0
    while any(reader.last != changes for reader in reading) and world.now() < deadline:
        await asyncio.sleep(PAUSE * znodes)
    over.set()
    await asyncio.gather(*work)

    for path in paths:
        begun = world.now()
        await second.set(path, f"{changes + 1} {path}")
        one_by_one += world.now() - begun
    world.measure("changes one by one", round(one_by_one / znodes * 1000, 2), unit="ms each")
    world.measure("all at once, ready included", round(all_at_once / (znodes + 2) * 1000, 2), unit="ms each")
    mixtures = [mixture for reader in reading for mixture in reader.mixtures]
    reads = sum(reader.reads for reader in reading)
    again = sum(reader.again for reader in reading)
    world.measure("readings begun anew", again)
    world.check(
        "nobody reads a mixture",
        not mixtures,
        mixtures[0] if mixtures else f"{reads} readings, {again} begun anew because *ready* went away",
    )
    last = [reader.last for reader in reading]
    world.check("all is read in the end", set(last) == {changes}, f"the last changes read are {last}")
    for client in (first, second, *(reader.client for reader in reading)):
        await client.close()
    for name in ensemble.names:
        await ensemble.dump(name)
    await ensemble.agree()
    check_invariants(world)


async def publish(master: RecordedClient, change: int, paths: list[str], whole: bool) -> None:
    """Changes the configuration, all requests on their way at once; *ready* last, if it is `whole`."""
    ready = [master.delete(READY)] if await master.exists(READY) else []
    changed = [master.set(path, f"{change} {path}") for path in paths]
    await asyncio.gather(*ready, *changed, *([master.create(READY)] if whole else []))


class Reader:
    """Reads the configuration again and again.

    Attributes:
        reads: how often it read a whole one.
        again: how often it began anew.
        mixtures: what it took for a configuration and was none.
        last: the change that it read last.
    """

    def __init__(
        self, client: RecordedClient, paths: list[str], how: Literal["watch", "look", "trust"]
    ) -> None:
        self.client = client
        self.reads = self.again = 0
        self.mixtures: list[str] = []
        self.last = -1
        self._paths = paths
        self._how = how

    async def work(self, over: asyncio.Event) -> None:
        """Reads until it is `over`."""
        while not over.is_set():
            await self._read()

    async def _read(self) -> None:
        changed = asyncio.Event()
        if self._how != "trust":
            watch = self.client.watch(lambda _: changed.set()) if self._how == "watch" else None
            if not await self.client.exists(READY, watch):
                await asyncio.sleep(PAUSE)
                return
        values = []
        for path in self._paths:
            data, _ = await self.client.get(path)
            values.append(int(data.split()[0]))
            if changed.is_set():  # what was read may be of two configurations
                self.again += 1
                return
            await asyncio.sleep(PAUSE)
        self.reads += 1
        self.last = values[-1]
        if len(set(values)) > 1:
            self.mixtures.append(f"{self.client.name} read {values}")


if __name__ == "__main__":
    watch_race.main()
