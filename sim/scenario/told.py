"""A run told in words, for a terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sim.scenario.summary import Summary


def tell(summary: Summary) -> str:
    """Returns what came of a run: verdict, checks, what happened, where to look, how to run it again."""
    lines = [f"{summary.scenario}, {_where(summary)}: {summary.verdict.upper()}"]
    lines += [
        f"  {'ok ' if check.ok else 'NOT'} {check.name}{f': {check.detail}' if check.detail else ''}"
        for check in summary.checks
    ]
    lines += [f"  !   the program on {failure}" for failure in summary.failures]
    if summary.error:
        lines += ["", summary.error.rstrip()]
    if summary.words:
        lines += ["", summary.words]
    if summary.folder:
        names = ", ".join(summary.pictures)
        lines += ["", f"run:    {summary.folder}{f' ({names})' if names else ''}"]
    lines.append(f"again:  {summary.replay}")
    return "\n".join(lines)


def _where(summary: Summary) -> str:
    world = "simulated" if summary.world == "sim" else "real processes"
    return f"{world}, seed {summary.seed}"
