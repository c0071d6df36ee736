"""The log of `basics/primary-backup` with one mistake, which hides until a fault comes at the wrong moment.

The primary acknowledges a record when it has synced it itself, and only then sends it to its
backup: faster by a round trip, and right in every test without faults. But when the primary is cut
off or dies with such a record, the backup takes over without it. Let a sweep find a seed, and
have the schedule of faults shrunk to what matters:

    dsim sweep basics/lost-write --seeds 0:200 --fail-fast
    dsim shrink runs/...

and see that `--set early=false` mends it. In `services/primary_backup/replica.py` the mistake is the
line that says so.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from scenarios.basics.primary_backup import CHECKS, story
from sim import World, scenario
from sim.explore.reduce import SHRINKABLE
from sim.explore.swarm import swarm


@scenario(checks=CHECKS, plots=("spacetime",), limit_s=600)
async def lost_write(
    world: World,
    *,
    clients: Annotated[int, Meta(ge=1, le=20), SHRINKABLE] = 3,
    seconds: Annotated[float, Meta(gt=0, le=600)] = 8.0,
    pause: Annotated[float, Meta(gt=0, le=10)] = 0.1,
    intensity: Annotated[float, Meta(gt=0, le=100)] = 1.0,
    early: bool = True,
) -> None:
    """A replicated log that acknowledges too early: crashes and partitions make it lose a record."""
    faults = swarm(
        world.rng,
        ["a", "b", "witness"],
        kinds=("crash", "partition"),
        seconds=seconds,
        intensity=intensity,
    )
    await story(world, faults, clients, pause, early)


if __name__ == "__main__":
    lost_write.main()
