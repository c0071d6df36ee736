"""What `dsim mr --trace DIR` leaves: the trace of the job's cluster, and pictures of it."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def keep_trace(cluster: Path, folder: Path, *, live: bool = False) -> None:
    """Puts the traces of a cluster's nodes together in a run folder.

    A disk that takes no more ends the trace, not the job.

    Args:
        cluster: its folder.
        folder: for the run; it is made.
        live: the nodes still run; what they have seen of the job's end is waited for.
    """
    from services.real.tracing import FLUSH_EVERY
    from sim.trace.join import join_traces

    if live:
        time.sleep(2 * FLUSH_EVERY)
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
