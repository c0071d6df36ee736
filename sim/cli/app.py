"""All commands of `dsim`, put together."""

from __future__ import annotations

import typer

from sim.cli import check, cluster, mr, pictures, runs, spanner
from sim.explore import commands as exploring

app = typer.Typer(
    add_completion=False,
    pretty_exceptions_enable=False,  # a bug of ours shows as it is; unusable input never gets that far
    rich_markup_mode=None,  # plain help: it starts in half the time
)


@app.callback(
    invoke_without_command=True,
    help="A lab for distributed systems: one program, a deterministic simulation and a real local cluster.",
    epilog="Example: dsim run basics/ping",
)
def start(context: typer.Context) -> None:
    """Shows the help when no command is named."""
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(2)


runs.register(app)
exploring.register(app)
pictures.register(app)
cluster.register(app)
mr.register(app)
spanner.register(app)
check.register(app)


def unusable() -> tuple[type[Exception], ...]:
    """Returns the errors that mean: the arguments or the input cannot be used."""
    from services.real.folder import ClusterError
    from sim.check.operations import Unusable
    from sim.scenario.errors import InvalidInput
    from sim.trace.read import TraceError
    from sim.view import ViewError

    return (InvalidInput, TraceError, ViewError, ClusterError, Unusable)
