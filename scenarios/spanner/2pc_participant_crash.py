"""A transfer over two groups, and the participant's leader dies while it is committed.

What it has prepared is in its group's log, with the locks: the next leader takes them again before anybody
else does, and asks the coordinator (4.2.1). What it had not prepared went with it: the next leader refuses,
and the transfer is run again.
Look in the picture at what is hatched: prepared, in doubt.

    dsim run spanner/2pc-participant-crash --set step=decided
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from scenarios.spanner.two_phases import CHECKS, Step, play
from sim import World, scenario


@scenario(checks=CHECKS, plots=("groups",), limit_s=600)
async def participant_crash(
    world: World,
    *,
    step: Step = "prepared",
    clients: Annotated[int, Meta(ge=0, le=50)] = 2,
    lease: Annotated[float, Meta(ge=0.6, le=60)] = 1.0,
    seconds: Annotated[float, Meta(gt=0, le=600)] = 1.0,
) -> None:
    """A transfer over two groups, and the participant's leader dies while it is committed."""
    await play(world, "participant", step, clients, lease, seconds)


if __name__ == "__main__":
    participant_crash.main()
