"""All commands of `dsim`, put together."""

from __future__ import annotations

import typer

from sim.cli import cluster, pictures, runs
from sim.explore import commands as exploring

app = typer.Typer(
    help="A lab for distributed systems: one program, a deterministic simulation and a real local cluster.",
    epilog="Start with: dsim run basics/ping",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,  # a bug of ours shows as it is; unusable input never gets that far
    rich_markup_mode=None,  # plain help: it starts in half the time
)
runs.register(app)
exploring.register(app)
pictures.register(app)
cluster.register(app)


def unusable() -> tuple[type[Exception], ...]:
    """Returns the errors that mean: the arguments or the input cannot be used."""
    from services.real.folder import ClusterError
    from sim.scenario.errors import InvalidInput
    from sim.trace.read import TraceError
    from sim.view import ViewError

    return (InvalidInput, TraceError, ViewError, ClusterError)
