"""The grep of MapReduce 5.2 at the paper's size, and its curve over Figure 2.

10^10 records of 100 bytes, M = 15,000, R = 1, 1,764 machines. This is the one experiment that the hardware
was calibrated on: that it fits is no merit of the model; where it does not, it says where the model is too
simple.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from scenarios.papers import experiment, invariants, overlay
from scenarios.papers.calibration import TOTAL_S, WORKERS
from scenarios.papers.experiment import Job
from scenarios.papers.figures import curve
from sim import World, scenario

MAPS = 15_000
FOUND = 92_337 / 10**10  # records that match (5.2)
GREP = Job(FOUND * 1.1272, FOUND, copies=1)
NOTHING = [(0.0, 0.0), (1.0, 0.0)]
_FIGURE = curve("mr_fig2_grep")
FIGURE = overlay.Curves(_FIGURE, NOTHING, NOTHING, done=_FIGURE[-1][0])


@scenario(checks=invariants.CHECKS, plots=("overlay",), hardware=experiment.hardware, real_limit_s=3600)
async def mapreduce_grep(
    world: World,
    *,
    machines: Annotated[int, Meta(ge=4, le=30_000)] = WORKERS,
    maps: Annotated[int, Meta(ge=15, le=50_000)] = MAPS,
) -> None:
    """MapReduce's grep over a terabyte on 1,764 machines, over Figure 2."""
    outcome = await experiment.perform(world, GREP, machines=machines, maps=maps, reduces=1)
    invariants.check(world, outcome, backup=True)
    ours = overlay.sampled(outcome)
    full = (machines, maps) == (WORKERS, MAPS)
    world.measure(
        "total, start-up included", round(outcome.total_s, 2), paper=TOTAL_S if full else None, unit="s"
    )
    if not full:
        return
    for name, value, paper in zip(
        ("input peak", "input peak at"), overlay.peak(ours.input), overlay.peak(FIGURE.input), strict=True
    ):
        world.measure(
            name, round(value, 2), paper=round(paper, 2), unit="s" if name.endswith("at") else "MB/s"
        )
    for share in (0.05, 0.5, 0.9, 0.99):
        world.measure(
            f"{share:.0%} of input at",
            round(overlay.share_time(ours.input, share), 2),
            paper=round(overlay.share_time(FIGURE.input, share), 2),
            unit="s",
        )
    world.measure("backup tasks", sum(outcome.watch.backups.values()))
    overlay.draw(
        world,
        "grep, over Figure 2",
        [
            f"{machines:,} machines, M = {maps:,}, R = 1. Total {outcome.total_s:.0f} s, "
            f"in the paper {TOTAL_S:.0f} s. MB = 2^20 bytes."
        ],
        ours,
        FIGURE,
        ("input",),
    )


if __name__ == "__main__":
    mapreduce_grep.main()
