"""A run told in words, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sim.scenario.summary import Measure, Summary


def tell(summary: Summary) -> str:
    """Returns what came of a run: verdict, checks, what happened, where to look, how to run it again."""
    lines = [f"{summary.scenario}, {_where(summary)}: {summary.verdict.upper()}"]
    lines += [
        f"  {'ok ' if check.ok else 'NOT'} {check.name}{f': {check.detail}' if check.detail else ''}"
        for check in summary.checks
    ]
    lines += [f"  !   the program on {failure}" for failure in summary.failures]
    if summary.measures:
        lines += ["", *table(summary.measures)]
    if summary.error:
        lines += ["", summary.error.rstrip()]
    if summary.words:
        lines += ["", summary.words]
    if summary.folder:
        names = ", ".join(summary.pictures)
        lines += ["", f"run:    {summary.folder}{f' ({names})' if names else ''}"]
    lines.append(f"again:  {summary.replay}")
    return "\n".join(lines)


def table(measures: Sequence[Measure]) -> list[str]:
    """Returns the lines of a table of numbers: ours, and the paper's where there are any."""
    compared = any(measure.paper is not None for measure in measures)
    rows = [["", "here", "paper", "error"] if compared else ["", "here"]]
    for measure in measures:
        row = [f"{measure.name}{f', {measure.unit}' if measure.unit else ''}", _number(measure.value)]
        if compared:
            row += [
                "" if measure.paper is None else _number(measure.paper),
                "" if measure.error is None else f"{measure.error:+.1%}",
            ]
        rows.append(row)
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return [
        "  " + "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in rows
    ]


def _number(value: float) -> str:
    """Returns a number with four digits, or all before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 or value == round(value) else f"{value:.4g}"


def _where(summary: Summary) -> str:
    world = "simulated" if summary.world == "sim" else "real processes"
    return f"{world}, seed {summary.seed}"
