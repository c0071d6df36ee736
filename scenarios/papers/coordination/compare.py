"""A run against its paper: numbers beside the paper's, median errors, curves for the picture."""

from __future__ import annotations

from itertools import pairwise
from statistics import median
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sim import World

Curve = list[tuple[float, float]]


class Table:
    """Numbers of one table or figure.

    Args:
        world: where they are reported.
        name: of the table.
        unit: of its numbers.
    """

    def __init__(self, world: World, name: str, unit: str = "ops/s") -> None:
        self._world = world
        self._name = name
        self._unit = unit
        self._errors: list[float] = []
        self._calibrated = 0

    def add(
        self, name: str, value: float, paper: float | None, *, calibrated: bool = False, unit: str = ""
    ) -> None:
        """Reports a number; one that the machines were calibrated on is no prediction, and said to be so."""
        said = f"{self._name}, {name}" + (" (calibrated)" if calibrated else "")
        digits = 1 if abs(value) >= 100 else 3
        self._world.measure(said, round(value, digits), paper=paper, unit=unit or self._unit)
        if paper is not None and not calibrated:
            self._errors.append(abs(value / paper - 1))
        self._calibrated += calibrated

    @property
    def error(self) -> float:
        """The median of the errors of all predictions, in percent; 0 when there are none."""
        return 100 * median(self._errors) if self._errors else 0.0

    def finish(self) -> str:
        """Reports the median error; returns it in words."""
        self._world.measure(f"{self._name}, median error", round(self.error, 2), unit="%")
        return f"{self._name}: median error {self.error:.1f} % of {len(self._errors)} predictions"


def panel(
    label: str, ours: Mapping[float, float], paper: Sequence[tuple[float, float]], *, apart: bool = False
) -> dict[str, object]:
    """Returns a panel of the picture: our points and the paper's.

    Args:
        label: of the vertical axis.
        ours, paper: the points.
        apart: nothing lies between them: they are bars.
    """
    high = max([*ours.values(), *(y for _, y in paper)])
    return {
        "label": label,
        "low": 0.0,
        "high": (1.2 if apart else 1.1) * high,
        "points": True,
        "apart": apart,
        "curves": [
            {"name": "the paper", "paper": True, "x": [x for x, _ in paper], "y": [y for _, y in paper]},
            {
                "name": "this run",
                "paper": False,
                "x": sorted(ours),
                "y": [round(ours[x], 3) for x in sorted(ours)],
            },
        ],
    }


def draw(
    world: World,
    title: str,
    says: Sequence[str],
    panels: Sequence[dict[str, object]],
    axis: str,
    span: tuple[float, float],
    ticks: Sequence[tuple[float, str]] = (),
) -> None:
    """Notes the curves for the picture."""
    world.note(
        "overlay",
        title=title,
        says=list(says),
        axis=axis,
        low=span[0],
        high=span[1],
        panels=list(panels),
        ticks=[list(tick) for tick in ticks],
    )


def falls(values: Sequence[float], slack: float = 0.02) -> bool:
    """Whether each is less than the one before, or hardly more."""
    return all(later <= (1 + slack) * earlier for earlier, later in pairwise(values))
