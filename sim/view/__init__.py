"""Pictures of runs: `draw` makes those that a run has data for.

matplotlib is loaded when the first picture is drawn, not before: loading it takes longer than a
small simulation.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from sim.trace.read import TraceError, read_history, read_trace
from sim.view.run import SECOND, Run, ViewError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from matplotlib.figure import Figure

__all__ = ["KINDS", "Kind", "Run", "ViewError", "draw", "kinds"]

FORMATS = ("png", "svg")
FARTHEST_S = 1e10  # times count from the start of the run, or in a single node's trace from the Unix epoch


class Kind(Struct, frozen=True):
    """A kind of picture.

    Attributes:
        shows: what one sees on it, for lists.
        needs: the counts of `Run` that it is made of; one that is not zero will do.
        without: what is said when there is none of it.
    """

    name: str
    shows: str
    needs: tuple[str, ...]
    without: str

    def figure(self, run: Run) -> Figure:
        """Draws the picture."""
        import matplotlib as mpl

        from sim.view import paper

        with mpl.rc_context(paper.STYLE):
            if not run.has(self.needs):
                return paper.blank(run, self.shows, "The trace is empty." if run.empty else self.without)
            name = self.name.replace("-", "_")
            figure: Figure = getattr(importlib.import_module(f"sim.view.{name}"), name)(run)
            return figure


KINDS = {
    kind.name: kind
    for kind in (
        Kind("spacetime", "messages between hosts", ("messages", "lost"), "No message was sent."),
        Kind(
            "timeline",
            "spans of work",
            ("spans",),
            "No span was recorded: programs write them with host.span(...).",
        ),
        Kind(
            "rates",
            "rates and latencies",
            ("messages", "lost", "operations"),
            "No message was sent and no operation recorded.",
        ),
        Kind("topology", "traffic between hosts", ("messages", "lost"), "No message was sent."),
        Kind(
            "overlay",
            "curves over a paper's",
            ("overlays",),
            'No curve was noted: a scenario writes them with world.note("overlay", ...).',
        ),
        Kind(
            "tasks",
            "tasks of a MapReduce job by worker",
            ("executions",),
            "No task was executed: MapReduce's master and workers write that.",
        ),
        Kind(
            "throughput",
            "rates of a MapReduce job's input, shuffle and output",
            ("progress",),
            "No job has reported its progress: MapReduce's master writes that.",
        ),
        Kind("moved", "data moved between hosts", ("messages",), "No message was sent."),
        Kind("clocks", "wall clocks against true time", ("clocks",), "No clock was sampled."),
        Kind(
            "epsilon",
            "uncertainty of TrueTime",
            ("claims",),
            "No host said how sure it is of the time: TrueTime's timeslaves do at each poll.",
        ),
        Kind(
            "commit-wait",
            "a transaction's locks, Paxos rounds and commit wait in absolute time",
            ("transactions",),
            "No transaction was committed: Spanner's leaders write that.",
        ),
        Kind(
            "groups",
            "who leads each Paxos group, its commits, and what clients saw of it",
            ("leases",),
            "No group had a leader: Spanner's leaders write their leases.",
        ),
    )
}
"""Every kind of picture by its name."""


def kinds() -> dict[str, str]:
    """Returns the kinds of pictures and what each shows."""
    return {kind.name: kind.shows for kind in KINDS.values()}


def draw(
    run_dir: Path,
    kinds: Sequence[str] | None = None,
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    formats: Sequence[str] = ("png",),
) -> list[Path]:
    """Draws pictures of a run into its folder, as `<kind>.png`; of a window, as `<kind>-2s-5s.png`.

    Args:
        run_dir: the folder of a run.
        kinds: which; None for those that the scenario names (`plots` in `summary.json`), or else all
            that the run has data for.
        start_s, end_s: the window to draw, in seconds since the start of the run.
        formats: "png", "svg".

    Returns:
        The files written.

    Raises:
        ViewError: an unknown kind or format, an empty window, a missing or damaged run, a file that
            cannot be written.
    """
    for kind in kinds or ():
        if kind not in KINDS:
            raise ViewError(f"no kind of picture {kind!r}; there are: {', '.join(KINDS)}")
    for suffix in formats:
        if suffix not in FORMATS:
            raise ViewError(f"no picture format {suffix!r}; there are: {', '.join(FORMATS)}")
    try:
        run, plots = _open(run_dir, start_s, end_s)
        if kinds is None:
            kinds = [name for name in plots or KINDS if name in KINDS and run.has(KINDS[name].needs)]
            kinds = kinds or ["spacetime"]
        written = []
        window = _window(start_s, end_s)
        for name in kinds:
            figure = KINDS[name].figure(run)
            written += [_save(figure, run_dir / f"{name}{window}.{suffix}") for suffix in formats]
    except TraceError as error:
        raise ViewError(str(error)) from None
    return written


def _open(run_dir: Path, start_s: float | None, end_s: float | None) -> tuple[Run, list[str]]:
    if not run_dir.is_dir():
        raise ViewError(f"{run_dir}: no such run folder")
    if not (run_dir / "trace.jsonl").exists():
        raise ViewError(f"{run_dir}: not a run folder (it has no trace.jsonl)")
    summary: dict[str, Any] = {}
    try:
        summary = msgspec.json.decode((run_dir / "summary.json").read_bytes(), type=dict[str, Any])
    except FileNotFoundError:
        pass  # an interrupted run can be looked at all the same
    except (OSError, msgspec.DecodeError) as error:
        raise ViewError(f"{run_dir / 'summary.json'}: {error}") from None
    history = run_dir / "history.jsonl"
    name = str(summary.get("scenario", run_dir.resolve().name))
    if "seed" in summary:
        name += f", seed {summary['seed']}"
    run = Run(
        read_trace(run_dir / "trace.jsonl"),
        read_history(history) if history.exists() else (),
        name=name,
        start=None if start_s is None else _ns("--from", start_s),
        end=None if end_s is None else _ns("--to", end_s),
    )
    plots = summary.get("plots") or []
    return run, [str(plot) for plot in plots]


def _window(start_s: float | None, end_s: float | None) -> str:
    """Returns what the name of a picture says of its window: nothing when it shows all."""
    if start_s is None and end_s is None:
        return ""
    start = "start" if start_s is None else f"{start_s:.12g}s"
    end = "end" if end_s is None else f"{end_s:.12g}s"
    return f"-{start}-{end}"


def _ns(option: str, seconds: float) -> int:
    if not abs(seconds) <= FARTHEST_S:  # nan is refused as well
        raise ViewError(f"{option} {seconds:g} is no time within a run: give seconds since its start")
    return round(seconds * SECOND)


def _save(figure: Figure, path: Path) -> Path:
    import matplotlib as mpl

    from sim.view import paper

    try:
        with mpl.rc_context(paper.STYLE):
            paper.save(figure, path)
    except OSError as error:
        raise ViewError(f"{path}: {error.strerror or error}") from None
    return path
