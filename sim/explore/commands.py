"""`dsim sweep` and `dsim shrink`."""

from __future__ import annotations

import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sim.cli.runs import (  # noqa: TC001 (typer reads them)
    InterleaveOption,
    JsonOption,
    LimitOption,
    RunArgument,
    ScenarioArgument,
    SetOption,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sim.explore.sweep import Sweep


def register(app: typer.Typer) -> None:
    """Adds the commands to the application."""
    app.command("sweep", epilog="Example: dsim sweep basics/lost-write --seeds 0:200 --jobs 2")(sweep)
    app.command("shrink", epilog="Example: dsim shrink runs/basics/lost-write/sim-seed3")(shrink)


def sweep(
    scenario: ScenarioArgument,
    seeds: Annotated[
        str, typer.Option(metavar="A:B", help="From A up to, not including, B; or a single seed.")
    ] = "0:100",
    jobs: Annotated[
        int | None, typer.Option(metavar="N", help="Worker processes. [default: one a processor]")
    ] = None,
    world: Annotated[
        str, typer.Option(help="sim: the simulated world; grpc: real processes, one cluster at a time.")
    ] = "sim",
    set_: SetOption = [],  # noqa: B006 (typer copies it)
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stops at the first failure.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keeps the folders of passing runs too.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where failing runs are kept, new or empty. [default: below runs/]"),
    ] = None,
    json: JsonOption = False,
    interleave: InterleaveOption = False,
    limit: LimitOption = None,
) -> int:
    """Runs a scenario with many seeds and says which of them fail, and how.

    Each run that does not pass leaves its folder. Exit status: 0 all passed, 1 a check was
    violated, 2 the arguments cannot be used, 3 a scenario failed itself.
    """
    import time

    from sim.cli.runs import assignments
    from sim.explore import sweep as sweeping

    wanted = sweeping.seeds(seeds)
    started = time.monotonic()
    with _progress(len(wanted)) as progress:
        result = sweeping.sweep(
            scenario,
            wanted,
            assignments(set_),
            world=world,
            jobs=jobs,
            fail_fast=fail_fast,
            keep=keep,
            interleave=interleave,
            limit_s=limit,
            out=out,
            progress=progress,
        )
    result.wall_s = round(time.monotonic() - started, 3)
    _draw(sweeping.first_kept(result))
    if json:
        import msgspec

        print(msgspec.json.encode(result).decode())
    else:
        print(sweeping.table(result))
    return result.exit_status


def shrink(
    run_dir: RunArgument,
    check: Annotated[
        str, typer.Option(metavar="NAME", help="The check that must go on failing. [default: the first]")
    ] = "",
    runs: Annotated[int, typer.Option(metavar="N", help="The most runs to try.")] = 400,
    seconds: Annotated[float, typer.Option(metavar="S", help="The most real time to take.")] = 600.0,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The new run folder. [default: RUN_DIR-shrunk]")
    ] = None,
    json: JsonOption = False,
) -> int:
    """Finds the smallest schedule of faults with which a failed run still fails.

    Exit status: 0 when there is a smallest one, 2 when the folder cannot be used.
    """
    from sim.explore import shrink as shrinking

    with _status() as status:
        result = shrinking.shrink(run_dir, check=check, runs=runs, seconds=seconds, out=out, progress=status)
        _draw(Path(result.folder))
    if json:
        import msgspec

        print(msgspec.json.encode(result).decode())
    else:
        print(result.describe())
    return 0


def _draw(folder: Path | None) -> None:
    """Draws the pictures of a failed run; one that left too little behind has none."""
    from sim.view import ViewError, draw

    with suppress(ViewError):
        if folder is not None:
            draw(folder)


@contextmanager
def _progress(total: int) -> Iterator[Callable[[Sweep], None]]:
    """Shows a progress bar on a terminal, and nothing in a pipe."""
    if not sys.stderr.isatty():
        yield lambda result: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task("seeds", total=total)

        def show(result: Sweep) -> None:
            bad = result.failed + result.errors
            bar.update(task, completed=result.run, description=f"seeds, {bad} failed" if bad else "seeds")

        yield show


@contextmanager
def _status() -> Iterator[Callable[[str], None]]:
    """Shows a line that changes on a terminal, and nothing in a pipe."""
    if not sys.stderr.isatty():
        yield lambda words: None
        return
    from rich.console import Console

    with Console(stderr=True).status("") as status:
        yield status.update
