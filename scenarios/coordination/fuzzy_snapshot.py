"""A snapshot is taken while clients write: it shows a state that never was, and the replay makes it right.

Section 4.3 takes snapshots without a lock: depth first, each znode as it is when its turn comes. Its
example is repeated here until a snapshot has caught it: the stream of changes is

    (setData /foo f2), (setData /goo g2), (setData /foo f3), ...

and between the two znodes lie some megabytes of others, on a slow disk, so that the scan comes to /goo long
before it comes to /foo. The snapshot then has an old /goo and a /foo from after its next change, as at no
time they were. A server that is killed and begins with it replays the log from where the scan began:
changes that the snapshot has seen already are made once more, which does no harm, for they are idempotent
(4.1), and in the end it has what all others have. The server tells what it finds in its snapshot when it
starts (`looking.py`).

    dsim run coordination/fuzzy-snapshot --set megabytes=0      too fast to be fuzzy: the check fails
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

from msgspec import Meta

from protos.trace import Note
from scenarios.coordination.cluster import TICK, Ensemble
from scenarios.coordination.looking import look_and_serve
from scenarios.coordination.promises import INVARIANTS, PROMISES, check_invariants
from sim import World, scenario
from sim.faults import Crash, SlowDisk

if TYPE_CHECKING:
    from collections.abc import Sequence

    from protos.trace import TraceEvent

FOO, GOO, BETWEEN = "/foo", "/goo", "/between"
PIECE = 1 << 19  # bytes of each znode between


class NeverWas:
    """The snapshot that a server begins with shows /foo and /goo as they never were together."""

    name = "the snapshot shows a state that never was"

    def begin(self) -> NeverWas:
        """A run begins."""
        self._found: dict[str, Any] = {}
        return self

    def see(self, events: Sequence[TraceEvent]) -> None:
        """Takes the next events of the trace."""
        for event in events:
            if isinstance(event, Note) and event.name == "in the snapshot":
                self._found = event.fields

    def verdict(self) -> tuple[bool, str]:
        """Returns the verdict and what it rests on."""
        found = self._found.get("found", {})
        if FOO not in found or GOO not in found:
            return False, "no server began with a snapshot"
        (foo, of_foo), (goo, of_goo) = found[FOO], found[GOO]
        # With /goo at version n, /foo was at 2n - 2, 2n - 1 and 2n.
        fuzzy = of_foo > 2 * of_goo
        words = f"{FOO} is {foo}, version {of_foo}; {GOO} is {goo}, version {of_goo}"
        if not fuzzy:
            return False, f"{words}: so it was"
        return True, f"{words}; when {GOO} was {goo}, {FOO} was f{2 * of_goo} at most"


@scenario(
    checks=(*PROMISES, NeverWas(), "the replay makes it right", INVARIANTS),
    plots=("timeline",),
    limit_s=600,
)
async def fuzzy_snapshot(
    world: World,
    *,
    servers: Annotated[int, Meta(ge=3, le=13)] = 3,
    megabytes: Annotated[int, Meta(ge=0, le=64)] = 5,
    seconds: Annotated[float, Meta(ge=0.5, le=60)] = 1.0,
    factor: Annotated[float, Meta(ge=1, le=1000)] = 20.0,
    tick: Annotated[float, Meta(gt=0, le=10)] = TICK,
) -> None:
    """A snapshot taken while clients write shows a state that never was; with the log it is right again."""
    ensemble = Ensemble(world, servers, tick=tick, snap_count=100, digest_every=50, look_at=[FOO, GOO])
    ensemble.program = look_and_serve
    await ensemble.start()
    leader = await ensemble.leader()
    victim = world.rng.choice([name for name in ensemble.names if name != leader])
    writer = await ensemble.client("writer", [name for name in ensemble.names if name != victim])
    await writer.create(GOO, "g0")
    await writer.create(BETWEEN)
    filler = await ensemble.client("filler")  # not recorded: what it writes is large, and nobody reads it
    for number in range(megabytes * (1 << 20) // PIECE):
        await filler.session.create(f"{BETWEEN}/{number}", bytes(PIECE))
    await writer.create(FOO, "f0")
    await asyncio.gather(writer.set(GOO, "g1"), writer.set(FOO, "f1"))

    await world.inject(SlowDisk(host=victim, factor=factor))
    until = world.now() + seconds * (1 if world.kind == "sim" else 4)
    turn = 0
    while world.now() < until:
        turn += 1
        await asyncio.gather(
            writer.set(FOO, f"f{2 * turn}"),
            writer.set(GOO, f"g{turn + 1}"),
            writer.set(FOO, f"f{2 * turn + 1}"),
        )
    crash = await world.inject(Crash(host=victim))
    await asyncio.sleep(tick)
    await world.heal()
    await world.lift(crash)
    await ensemble.serving(victim)

    reader = await ensemble.client("reader", [victim])
    await reader.sync()
    foo, goo = await asyncio.gather(reader.get(FOO), reader.get(GOO))
    expected = ((f"f{2 * turn + 1}", 2 * turn + 1), (f"g{turn + 1}", turn + 1))
    world.check(
        "the replay makes it right",
        (foo, goo) == expected,
        f"{victim} has {FOO} {foo[0]} and {GOO} {goo[0]}; written were {expected[0][0]}, {expected[1][0]}",
    )
    world.measure("changes", 3 * turn)
    for number in range(megabytes * (1 << 20) // PIECE):  # so that the trees to compare are small
        await filler.session.delete(f"{BETWEEN}/{number}")
    for client in (reader, writer, filler):
        await client.close()
    for name in ensemble.names:
        await ensemble.dump(name)
    await ensemble.agree()
    check_invariants(world)


if __name__ == "__main__":
    fuzzy_snapshot.main()
