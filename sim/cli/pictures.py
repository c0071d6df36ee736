"""`dsim plot` and `export`: what can be made of a run folder."""

from __future__ import annotations

from typing import Annotated

import typer

from sim.cli.runs import RunArgument  # noqa: TC001 (typer reads it)


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
    """Draws pictures of a run into its folder."""
    from sim.scenario.draw import draw, open_pictures

    pictures = draw(run_dir, kind, start=start, end=end, svg=svg)
    for picture in pictures:
        print(picture)
    if show:
        open_pictures(pictures)


def export(
    run_dir: RunArgument,
    to: Annotated[str, typer.Option("--to", metavar="FORMAT", help="perfetto or shiviz.")],
) -> None:
    """Writes the trace of a run in the format of another viewer."""
    from sim.scenario.folder import read_summary
    from sim.trace.export import export as export_trace

    read_summary(run_dir)  # says what is wrong with the folder, if anything
    print(export_trace(run_dir, to))
