"""A run against the paper: numbers read off both curves in the same way, and the picture of both."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from msgspec import Struct

from scenarios.papers.hardware import MIB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from scenarios.papers.experiment import Outcome
    from scenarios.papers.figures import Curve
    from sim import World

SAMPLE_S = 10.0
"""The figures have a sample about every ten seconds, the mean since the one before."""

FIRST_S = 4.0
LITTLE = 150.0
"""MB/s: less than this is taken for nothing going on."""

REDUCES = 4_000
NAMES = ("input", "shuffle", "output")


class Curves(Struct):
    """Input, shuffle and output over time, and the end of the job, in seconds of the figure."""

    input: Curve
    shuffle: Curve
    output: Curve
    done: float

    def all(self) -> tuple[Curve, Curve, Curve]:
        """Returns the three curves."""
        return self.input, self.shuffle, self.output


def sampled(outcome: Outcome) -> Curves:
    """Returns the curves of a run, sampled as the figures are."""
    samples = np.array(outcome.samples)
    times = samples[:, 0] - outcome.origin
    done = float(times[-1])
    grid = np.append(np.arange(FIRST_S, done, SAMPLE_S), done)
    curves = []
    for column in (1, 2, 3):
        total = np.interp(np.concatenate([[grid[0] - SAMPLE_S], grid]), times, samples[:, column]) / MIB
        steps = np.diff(np.concatenate([[grid[0] - SAMPLE_S], grid]))
        rates = np.diff(total) / np.maximum(steps, 1e-9)
        curves.append([(float(time), float(rate)) for time, rate in zip(grid, rates, strict=True)])
    return Curves(curves[0], curves[1], curves[2], done)


def peak(curve: Curve, begin: float = 0.0, end: float = 1e9) -> tuple[float, float]:
    """Returns (rate, when) of the highest sample within a time."""
    rate, when = max((rate, -time) for time, rate in curve if begin <= time <= end)
    return rate, -when


def first_above(curve: Curve, begin: float = 0.0, least: float = LITTLE) -> float:
    """Returns when a curve is first above a rate, from a time on."""
    return next(time for time, rate in curve if time >= begin and rate > least)


def last_above(curve: Curve, end: float = 1e9, least: float = LITTLE) -> float:
    """Returns when a curve is last above a rate, up to a time."""
    return max(time for time, rate in curve if time <= end and rate > least)


def first_below(curve: Curve, begin: float, least: float = LITTLE) -> float:
    """Returns when a curve is first below a rate, from a time on."""
    return next(time for time, rate in curve if time >= begin and rate < least)


def share_time(curve: Curve, share: float) -> float:
    """Returns when a share of all bytes has been moved, taking lost work off."""
    times = np.array([time for time, _ in curve])
    total = np.cumsum(np.array([rate for _, rate in curve]) * np.diff(times, prepend=times[0] - SAMPLE_S))
    reached = int(np.argmax(total >= share * total[-1]))
    before = total[reached - 1] if reached else 0.0
    back = (total[reached] - share * total[-1]) / max(total[reached] - before, 1e-9)
    step = times[reached] - (times[reached - 1] if reached else times[0] - SAMPLE_S)
    return float(times[reached] - back * step)


def moved(curve: Curve, end: float = 1e9) -> float:
    """Returns how many MB have been moved by a time."""
    times = np.array([time for time, _ in curve])
    steps = np.array([rate for _, rate in curve]) * np.diff(times, prepend=times[0] - SAMPLE_S)
    return float(steps[times <= end].sum())


def sort_numbers(curves: Curves, kill_at: float | None) -> dict[str, tuple[float, str]]:
    """Returns what 1.B says in numbers of Figure 3: (value, unit) by name."""
    read, shuffle, output = curves.all()
    calm = min(kill_at or 1e9, 240.0)  # before any worker is killed
    rate, when = peak(read, end=calm)
    hump, hump_at = peak(shuffle, end=calm)
    gap = first_below(shuffle, hump_at)
    again = first_above(shuffle, gap + 30)
    second, second_at = peak(shuffle, begin=again)
    begins = first_above(output)
    out, out_at = peak(output, end=begins + 60)  # in (c) a later hump is higher
    numbers = {
        "input peak": (rate, "MB/s"),
        "input peak at": (when, "s"),
        "maps read until": (last_above(read, end=calm), "s"),
        "first-wave share of shuffle": (100 * moved(shuffle, (gap + again) / 2) / moved(shuffle), "%"),
        "shuffle, first hump": (hump, "MB/s"),
        "shuffle, first hump ends": (gap, "s"),
        "shuffle, second hump begins": (again, "s"),
        "shuffle, second hump": (second, "MB/s"),
        "shuffle, second hump peak at": (second_at, "s"),
        "shuffle ends": (last_above(shuffle), "s"),
        "output begins": (begins, "s"),
        "pause between first shuffle and first output": (begins - gap, "s"),
        "output of a reduce": (moved(output) / REDUCES, "MB"),
        "output, first hump": (out, "MB/s"),
        "output, first hump peak at": (out_at, "s"),
        "output ends": (last_above(output), "s"),
    }
    for name, curve in zip(NAMES, curves.all(), strict=True):
        for share in (0.5, 0.9):
            numbers[f"{share:.0%} of {name} at"] = (share_time(curve, share), "s")
    return numbers


def compare(world: World, ours: Curves, paper: Curves, kill_at: float | None) -> None:
    """Reports the numbers of Figure 3, read off both curves in the same way."""
    theirs = sort_numbers(paper, kill_at)
    for name, (value, unit) in sort_numbers(ours, kill_at).items():
        world.measure(name, round(value, 3), paper=round(theirs[name][0], 3), unit=unit)


def draw(
    world: World, title: str, says: Sequence[str], ours: Curves, paper: Curves, names: Sequence[str]
) -> None:
    """Notes the curves for the picture."""
    panels: list[dict[str, object]] = []
    for name, mine, theirs in zip(NAMES, ours.all(), paper.all(), strict=True):
        if name not in names:
            continue
        high = max(rate for _, rate in [*mine, *theirs])
        low = min(0.0, *(rate for _, rate in [*mine, *theirs]))
        panels.append(
            {
                "label": f"{name} (MB/s)",
                "low": 1.1 * low,
                "high": 1.08 * high,
                "names": not panels,
                "curves": [_line(theirs, paper=True), _line(mine, paper=False)],
            }
        )
    world.note(
        "overlay",
        title=title,
        says=list(says),
        axis="seconds of the figure",
        low=0.0,
        high=1.03 * max(ours.done, paper.done),
        panels=panels,
        marks=[
            {"name": "done", "x": round(ours.done, 2), "paper": False},
            {"name": "done", "x": round(paper.done, 2), "paper": True},
        ],
    )


def _line(curve: Curve, *, paper: bool) -> dict[str, object]:
    return {
        "name": "the paper" if paper else "this run",
        "paper": paper,
        "x": [round(time, 2) for time, _ in curve],
        "y": [round(rate, 1) for _, rate in curve],
    }
