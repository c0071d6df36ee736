"""`dsim list`, `run` and `replay`."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sim.scenario.summary import Summary
    from sim.view.studio import Studio

ScenarioArgument = Annotated[
    str, typer.Argument(metavar="SCENARIO", help="A name as in `dsim list`, or the path of a .py file.")
]
RunArgument = Annotated[Path, typer.Argument(metavar="RUN_DIR", help="The folder that a run left.")]
SetOption = Annotated[
    list[str], typer.Option("--set", metavar="KEY=VALUE", help="Sets a parameter; may be repeated.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Prints JSON for programs instead of words.")]
InterleaveOption = Annotated[
    bool, typer.Option("--interleave", help="The seed also decides which ready task runs first.")
]
LimitOption = Annotated[
    float | None,
    typer.Option(
        "--limit", metavar="SECONDS", help="Real seconds that the run, or a single step of it, may take."
    ),
]


def register(app: typer.Typer) -> None:
    """Adds the commands to the application."""
    app.command("list", epilog="Example: dsim list --json")(list_)
    app.command("run", epilog="Example: dsim run basics/ping --seed 7 --set pings=10")(run)
    app.command("replay", epilog="Example: dsim replay runs/basics/ping/sim-seed0")(replay)


def list_(json: JsonOption = False) -> None:
    """Lists the scenarios, one line each."""
    from sim.scenario import discover
    from sim.scenario.errors import InvalidInput

    rows: list[dict[str, Any]] = []
    for name in discover.names():
        try:
            found = discover.find(name)
        except InvalidInput as exc:
            print(f"dsim: {exc}", file=sys.stderr)
            continue
        parameters = {p.name: p.default for p in found.parameters.values()}
        rows.append(
            {
                "name": name,
                "description": found.description,
                "parameters": parameters,
                "checks": list(found.checks),
            }
        )
    if json:
        import msgspec

        print(msgspec.json.format(msgspec.json.encode(rows)).decode())
        return
    width = max((len(row["name"]) for row in rows), default=0)
    for row in rows:
        print(f"{row['name']:{width}}  {row['description']}")


def run(
    scenario: ScenarioArgument,
    world: Annotated[
        str, typer.Option(metavar="WORLD", help="sim: the simulated one; grpc: real processes, here.")
    ] = "sim",
    seed: Annotated[int, typer.Option(metavar="N", help="Decides everything in the simulated world.")] = 0,
    set_: SetOption = [],  # noqa: B006 (typer copies it)
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The run folder, new or empty. [default: below runs/]")
    ] = None,
    json: JsonOption = False,
    interleave: InterleaveOption = False,
    schedule: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Plays these faults in the place of the scenario's own schedule."),
    ] = None,
    no_plots: Annotated[bool, typer.Option("--no-plots", help="Draws no pictures.")] = False,
    limit: LimitOption = None,
) -> int:
    """Runs a scenario once, checks it and draws it.

    Exit status: 0 all checks held, 1 one was violated, 2 the arguments cannot be used, 3 the
    scenario itself failed.
    """
    import gc
    from contextlib import ExitStack

    gc.disable()  # loading takes a sixth less without it
    with ExitStack() as stack:
        studio = False if no_plots else stack.enter_context(_studio())
        from sim.scenario.discover import find
        from sim.scenario.folder import default_folder, load_schedule
        from sim.scenario.run import run as run_scenario

        found = find(scenario)
        actions = load_schedule(schedule) if schedule is not None else None
        if world == "sim":
            from sim.scenario import sim_world  # noqa: F401
        gc.freeze()
        gc.enable()
        summary = run_scenario(
            found,
            assignments(set_),
            world=world,
            seed=seed,
            out=out if out is not None else default_folder(found.name, world, seed),
            schedule=actions,
            interleave=interleave,
            plots=studio,
            limit_s=limit,
            progress=stack.enter_context(_status()),
        )
    show(summary, json=json)
    return summary.exit_status


def _studio() -> Studio:
    """Starts the process that will draw: it loads its libraries while this one loads its own."""
    from sim.view.studio import Studio

    return Studio()


@contextmanager
def _status() -> Iterator[Callable[[float, int], None] | None]:
    """Shows how far the run has come on a terminal, and nothing in a pipe."""
    if not sys.stderr.isatty():
        yield None
        return

    def show(seconds: float, events: int) -> None:
        print(f"\r\033[K{seconds:,.1f} s, {events:,} events", end="", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        print("\r\033[K", end="", file=sys.stderr, flush=True)


def replay(run_dir: RunArgument, json: JsonOption = False, limit: LimitOption = None) -> int:
    """Runs a run again and says whether the trace is identical, byte for byte.

    A schedule.json in the folder that was edited since is played as it is now. Exit status: 0
    identical, 1 not, 2 the folder cannot be used.
    """
    from sim.scenario.replay import replay as replay_run

    result = replay_run(run_dir, limit_s=limit)
    if json:
        import msgspec

        print(msgspec.json.encode(result).decode())
    else:
        print(result.describe())
    return 0 if result.identical else 1


def assignments(given: list[str]) -> dict[str, str]:
    """Reads `--set KEY=VALUE` options.

    Raises:
        InvalidInput: one has no "=".
    """
    from sim.scenario.errors import InvalidInput

    found = {}
    for text in given:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise InvalidInput(f"--set {text}: write it as KEY=VALUE")
        found[key] = value
    return found


def show(summary: Summary, *, json: bool) -> None:
    """Prints what came of a run."""
    if json:
        import msgspec

        print(msgspec.json.encode(summary).decode())
        return
    from sim.scenario.told import tell

    print(tell(summary))
