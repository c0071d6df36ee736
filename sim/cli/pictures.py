"""`dsim plot` and `export`: what can be made of a run folder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from sim.cli.runs import RunArgument  # noqa: TC001 (typer reads it)

if TYPE_CHECKING:
    from pathlib import Path


def register(app: typer.Typer) -> None:
    """Adds the commands to the application."""
    app.command(epilog="Example: dsim plot runs/basics/ping/sim-seed0 --from 1 --to 2")(plot)
    app.command(epilog="Example: dsim export runs/basics/ping/sim-seed0 --to perfetto")(export)


def plot(
    run_dir: RunArgument,
    kind: Annotated[
        list[str],
        typer.Option(metavar="KIND", help="Which pictures; may be repeated. [default: the scenario's]"),
    ] = [],  # noqa: B006 (typer copies it)
    start: Annotated[
        float | None, typer.Option("--from", metavar="SECONDS", help="Where the picture begins.")
    ] = None,
    end: Annotated[float | None, typer.Option("--to", metavar="SECONDS", help="Where it ends.")] = None,
    svg: Annotated[bool, typer.Option("--svg", help="Writes SVG as well as PNG.")] = False,
    show: Annotated[bool, typer.Option("--show", help="Opens the pictures.")] = False,
) -> None:
    """Draws pictures of a run into its folder.

    A picture of a part of the run (--from, --to) bears that in its name, and leaves the whole one alone.
    """
    from sim.view import draw

    formats = ("png", "svg") if svg else ("png",)
    pictures = draw(run_dir, kind or None, start_s=start, end_s=end, formats=formats)
    for picture in pictures:
        print(picture)
    _tell_of_the_end(run_dir)
    if show:
        _open(pictures)


def _tell_of_the_end(run_dir: Path) -> None:
    """Says so when the run was killed while it wrote."""
    import sys

    from sim.trace.read import is_cut_off

    for file in ("trace.jsonl", "history.jsonl"):
        if is_cut_off(run_dir / file):
            print(f"dsim: {run_dir / file}: ends in the middle of a line, which is left out", file=sys.stderr)


def _open(pictures: list[Path]) -> None:
    import subprocess
    import sys

    from sim.scenario.errors import InvalidInput

    opener = "open" if sys.platform == "darwin" else "xdg-open"
    try:
        for picture in pictures:
            subprocess.run([opener, str(picture)], check=False)
    except FileNotFoundError:
        raise InvalidInput(
            f"--show needs {opener}, which is not installed: open the files yourself"
        ) from None


def export(
    run_dir: RunArgument,
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help="perfetto or shiviz.")],
) -> None:
    """Writes the trace of a run in the format of another viewer."""
    from sim.scenario.folder import read_summary
    from sim.trace.export import export as export_trace

    read_summary(run_dir)  # says what is wrong with the folder, if anything
    print(export_trace(run_dir, to))
    _tell_of_the_end(run_dir)
