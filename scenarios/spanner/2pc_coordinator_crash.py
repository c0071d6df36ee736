"""A transfer over two groups, and the coordinator's leader dies while it is committed.

The participant is in doubt: it has prepared, keeps its locks, and asks the coordinator's group until somebody
there says what became of it (4.2.1). What the dead leader had decided is in the group's log: the next one
tells it. What it had not, the next one aborts, and writes that down before it says so.
Look in the picture at what is hatched: prepared, in doubt.

    dsim run spanner/2pc-coordinator-crash --set step=decided
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from scenarios.spanner.two_phases import CHECKS, Step, play
from sim import World, scenario


@scenario(checks=CHECKS, plots=("groups",), limit_s=600)
async def coordinator_crash(
    world: World,
    *,
    step: Step = "prepared",
    clients: Annotated[int, Meta(ge=0, le=50)] = 2,
    lease: Annotated[float, Meta(ge=0.6, le=60)] = 1.0,
    seconds: Annotated[float, Meta(gt=0, le=600)] = 1.0,
) -> None:
    """A transfer over two groups, and the coordinator's leader dies while it is committed."""
    await play(world, "coordinator", step, clients, lease, seconds)


if __name__ == "__main__":
    coordinator_crash.main()
