"""The sort of MapReduce 5.3 to 5.5 at the paper's size, and its curves over those of Figure 3.

10^10 records of 100 bytes, M = 15,000, R = 4,000, 1,746 machines: the master and the workers of
`services/mapreduce`, and data that is only charged for. The hardware was calibrated on Figure 2, the grep,
alone; what happens here is a prediction. `--set backup=false` is Figure 3 (b), `--set kill=200` is (c). See
README.md.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from scenarios.papers import experiment, invariants, overlay
from scenarios.papers.experiment import Job
from scenarios.papers.figures import curve
from scenarios.papers.hardware import INTERMEDIATE, OUTPUT
from sim import World, scenario

MACHINES, MAPS, REDUCES = 1746, 15_000, 4_000
SORT = Job(INTERMEDIATE, OUTPUT, copies=2)
TOTALS = {"a": 891.0, "b": 1283.0, "c": 933.0}
TITLES = {
    "a": "sort, normal execution, over Figure 3 (a)",
    "b": "sort without backup tasks, over Figure 3 (b)",
    "c": "sort with workers killed, over Figure 3 (c)",
}
LAST_REDUCES = 5  # "After 960 seconds, all except 5 of the reduce tasks are completed" (5.4)
KILL_AT_S = 260.0  # the first drop in Figure 3 (c) lies between 256 and 266 s


def _figure(letter: str) -> overlay.Curves:
    curves = [curve(f"mr_fig3{letter}_sort_{name}") for name in overlay.NAMES]
    return overlay.Curves(curves[0], curves[1], curves[2], done=max(times[-1][0] for times in curves))


FIGURES = {letter: _figure(letter) for letter in TOTALS}


@scenario(checks=invariants.CHECKS, plots=("overlay",), hardware=experiment.hardware, real_limit_s=3600)
async def mapreduce_sort(
    world: World,
    *,
    backup: bool = True,
    kill: Annotated[int, Meta(ge=0)] = 0,
    machines: Annotated[int, Meta(ge=4, le=30_000)] = MACHINES,
    maps: Annotated[int, Meta(ge=15, le=50_000)] = MAPS,
    reduces: Annotated[int, Meta(ge=1, le=20_000)] = REDUCES,
) -> None:
    """MapReduce's sort on 1,746 machines, over Figure 3 (a); backup=false: (b); kill=200: (c)."""
    outcome = await experiment.perform(
        world,
        SORT,
        machines=machines,
        maps=maps,
        reduces=reduces,
        backup=backup,
        kill=kill,
        kill_at=KILL_AT_S,
    )
    invariants.check(world, outcome, backup=backup)
    letter = "c" if kill else "a" if backup else "b"
    ours, paper = overlay.sampled(outcome), FIGURES[letter]
    full = (machines, maps, reduces) == (MACHINES, MAPS, REDUCES)
    world.measure(
        "total, start-up included",
        round(outcome.total_s, 2),
        paper=TOTALS[letter] if full else None,
        unit="s",
    )
    if not full:
        return  # another experiment than the paper's: nothing to be compared with
    overlay.compare(world, ours, paper, KILL_AT_S if kill else None)
    world.measure(
        "maps completed by the end", round(outcome.watch.last_map / 1e9 - outcome.origin, 1), unit="s"
    )
    if letter == "b":
        alone = outcome.watch.reduced[-1 - LAST_REDUCES] / 1e9
        world.measure(
            "all but five reduces completed, start-up included", round(alone, 1), paper=960, unit="s"
        )
        world.measure("the last five, after that", round(outcome.total_s - alone, 1), paper=323, unit="s")
    world.measure("backup tasks", sum(outcome.watch.backups.values()))
    world.measure("messages", outcome.watch.messages)
    overlay.draw(
        world,
        TITLES[letter],
        [
            f"{machines:,} machines, M = {maps:,}, R = {reduces:,}. Total {outcome.total_s:.0f} s, "
            f"in the paper {TOTALS[letter]:.0f} s. MB = 2^20 bytes."
        ],
        ours,
        paper,
        overlay.NAMES,
    )


if __name__ == "__main__":
    mapreduce_sort.main()
