"""What `dsim mr --trace DIR` leaves: the trace of the job's cluster, and pictures of it."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def keep_trace(cluster: Path, folder: Path) -> None:
    """Puts the traces of a cluster's nodes together in a run folder.

    A disk that takes no more ends the trace, not the job.
    """
    from sim.trace.join import join_traces

    try:
        folder.mkdir(parents=True, exist_ok=True)
        join_traces(cluster, folder / "trace.jsonl")
    except OSError as exc:
        print(f"dsim: no trace: {exc.filename or folder}: {exc.strerror}", file=sys.stderr)


def draw_trace(folder: Path) -> None:
    """Draws what the trace has data for, and says where."""
    from sim.view import draw

    for picture in draw(folder):
        print(f"picture: {picture}", file=sys.stderr)
