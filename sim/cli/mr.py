"""`dsim mr`: one MapReduce job, start to end."""

from __future__ import annotations

import os
import sys
from contextlib import redirect_stdout
from pathlib import Path  # noqa: TC003 (typer reads it)
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sim.cli.runs import JsonOption, SetOption  # noqa: TC001 (typer reads them)

if TYPE_CHECKING:
    from services.mapreduce.job import Result, Spec

MOST_WORKERS = 100
MOST_REDUCERS = 100_000
LOG_LINES = 20
MEMORY = 512 << 20
LEAST_MEMORY = 64 << 20  # with less, Python itself does not start
_OF_ENGINES = {
    "grpc": ("workers", "cluster", "status_port", "trace", "plot", "no_backups"),
    "local": ("only",),
    "dask": ("workers", "scheduler"),
}
"""Options that not every engine has."""


def register(app: typer.Typer) -> None:
    """Adds the command to the application."""
    example = "dsim mr --mapper 'grep -o \"[a-z]*\"' --reducer 'uniq -c' --input logs --output counts"
    app.command(epilog=f"Example: {example}")(mr)


def mr(
    job: Annotated[
        str | None,
        typer.Argument(metavar="[JOB.py[:NAME]]", help="A file with a job in it; or module:NAME."),
    ] = None,
    input_: Annotated[
        list[str],
        typer.Option("--input", metavar="PATH", help="A file, or a folder of files; may be repeated."),
    ] = [],  # noqa: B006 (typer copies it)
    output: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A folder that does not exist yet.")
    ] = None,
    mapper: Annotated[
        str | None, typer.Option(metavar="CMD", help="Streaming: reads lines, writes lines: key, tab, value.")
    ] = None,
    reducer: Annotated[
        str | None, typer.Option(metavar="CMD", help="Reads them sorted by key. [default: none, map only]")
    ] = None,
    combiner: Annotated[
        str | None, typer.Option(metavar="CMD", help="Merges lines before they leave the map's host.")
    ] = None,
    engine: Annotated[
        str,
        typer.Option(
            metavar="ENGINE", help="grpc: own worker processes; local: one process, for debuggers; dask."
        ),
    ] = "grpc",
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Worker processes. [default: one a core]")
    ] = None,
    reducers: Annotated[
        int | None,
        typer.Option(metavar="R", help="Reduce tasks, and parts of the output; 0: map only. [default: 1]"),
    ] = None,
    split_size: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Input of a map task. [default: 64M]")
    ] = None,
    memory: Annotated[
        str | None,
        typer.Option(metavar="SIZE", help="What a process that runs your code may use. [default: 512M]"),
    ] = None,
    set_: SetOption = [],  # noqa: B006 (typer copies it)
    max_attempts: Annotated[
        int | None, typer.Option(metavar="N", help="Failures of a task that end the job. [default: 4]")
    ] = None,
    task_timeout: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Without progress: then a task has failed. [default: 600]"),
    ] = None,
    skip_bad_records: Annotated[
        bool, typer.Option("--skip-bad-records", help="Leaves out a record after two failures on it.")
    ] = False,
    no_backups: Annotated[
        bool, typer.Option("--no-backups", help="Starts no second execution of slow tasks.")
    ] = False,
    only: Annotated[
        str | None, typer.Option(metavar="KIND:N", help="Runs one task alone (map:3); engine local.")
    ] = None,
    scheduler: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Of a dask cluster. [default: processes started for the job]"),
    ] = None,
    cluster: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A cluster that `dsim up mapreduce` has started.")
    ] = None,
    status_port: Annotated[
        int | None, typer.Option(metavar="PORT", help="Of the status page. [default: any that is free]")
    ] = None,
    trace: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Leaves a run folder there, for `dsim plot`.")
    ] = None,
    plot: Annotated[bool, typer.Option("--plot", help="Draws the run too, into that folder.")] = False,
    json: JsonOption = False,
) -> int:
    """Runs a MapReduce job, start to end.

    Your functions, or executables with the contract of Hadoop Streaming. The output is part-00000, ... and
    _SUCCESS in a new folder. Exit status: 0 done, 1 the job failed, 2 the arguments cannot be used.
    """
    from sim.cli import mr_checks as check
    from sim.cli.mr_told import progress_bar, told
    from sim.cli.runs import assignments
    from sim.scenario.errors import InvalidInput, near

    if engine not in _OF_ENGINES:
        raise InvalidInput(
            f"there is no engine {engine!r}{near(engine, _OF_ENGINES)} (there are: grpc, local, dask)"
        )
    options: dict[str, Any] = {
        "workers": workers,
        "cluster": cluster,
        "status_port": status_port,
        "trace": None if trace is None else check.trace(trace),
        "plot": plot or None,
        "no_backups": no_backups or None,
        "only": None if only is None else check.task(only),
        "scheduler": scheduler,
    }
    for name, value in options.items():
        if value is not None and name not in _OF_ENGINES[engine]:
            owners = " or ".join(one for one, names in _OF_ENGINES.items() if name in names)
            raise InvalidInput(f"--{name.replace('_', '-')} is for --engine {owners}, not {engine}")
    if plot and trace is None:
        raise InvalidInput("--plot draws into the folder of --trace DIR: name one")
    for option in ("workers", "status_port"):
        if cluster is not None and options[option] is not None:
            raise InvalidInput(
                f"--{option.replace('_', '-')} is for a cluster of the job's own, not --cluster"
            )
    if output is None:
        raise InvalidInput("name a new folder for the output: --output DIR")
    for option, number, least, most in (
        ("--workers", workers, 1, MOST_WORKERS),
        ("--reducers", reducers, 0, MOST_REDUCERS),
        ("--max-attempts", max_attempts, 1, 1000),
        ("--task-timeout", task_timeout, 0.1, 1_000_000),
        ("--status-port", status_port, 0, 65_535),
    ):
        if number is not None:
            check.within(option, number, least, most)
    if status_port is not None:
        check.port(status_port)
    common = {
        "inputs": check.inputs(input_) or None,
        "output": check.output(output),
        "reduces": reducers,
        "split_bytes": None if split_size is None else check.size("--split-size", split_size),
        "memory": None if memory is None else check.size("--memory", memory, LEAST_MEMORY),
        "settings": assignments(set_),
        "max_attempts": max_attempts,
        "task_timeout": task_timeout,
        "skip_bad_records": skip_bad_records or None,
        "backups": False if no_backups else None,
    }
    given = {name: value for name, value in common.items() if value is not None}
    spec = _spec(job, mapper, reducer, combiner, given, remote=scheduler is not None)
    with progress_bar() as show, redirect_stdout(sys.stderr if json else sys.stdout):
        result = _run(spec, engine, options, show)
    if isinstance(result, Failure):
        result.tell(json=json)
        return 1
    if json:
        import msgspec

        print(msgspec.json.encode({"engine": engine, **result.json()}).decode())
    else:
        print(told(result))
    return 0


def _spec(
    job: str | None,
    mapper: str | None,
    reducer: str | None,
    combiner: str | None,
    given: dict[str, Any],
    *,
    remote: bool,
) -> Spec:
    """Returns what to run. Commands that run elsewhere (`remote`) are not looked for here."""
    from sim.cli import mr_checks as check
    from sim.scenario.errors import InvalidInput

    if job is not None and (mapper or reducer or combiner):
        raise InvalidInput("either a job, or commands (--mapper, --reducer, --combiner), not both")
    if job is None and mapper is None:
        raise InvalidInput("name a job (JOB.py), or commands: --mapper CMD --reducer CMD")
    from services.mapreduce.job import SpecError

    try:
        if job is not None:
            from sim.cli.mr_jobs import find_spec

            spec = find_spec(job)
            given["settings"] = {**spec.settings, **given["settings"]}
            if "split_bytes" in given:
                spec.maps = None
            for name, value in given.items():
                setattr(spec, name, value)
            spec.memory = spec.memory or MEMORY
            spec.title = spec.title or job
            check.has_input(spec)
            spec.check()
            return spec
        from services.mapreduce.tasks import streaming

        if "inputs" not in given:
            raise InvalidInput(check.NO_INPUT)
        if reducer == "NONE":  # as Hadoop has it
            reducer = None
        for option, text in (("--mapper", mapper), ("--reducer", reducer), ("--combiner", combiner)):
            if text is not None and not remote:
                check.command(option, text)
        return streaming.spec(
            mapper or "", reducer or "", combiner or "", title=mapper or "", **{"memory": MEMORY, **given}
        )
    except SpecError as exc:
        raise InvalidInput(str(exc)) from None


class Failure:
    """A job that ended without a result."""

    def __init__(self, what: str, log: list[str]) -> None:
        self.what = what
        self.log = log

    def tell(self, *, json: bool) -> None:
        """Says what went wrong, with the end of the failing task's log."""
        if json:
            import msgspec

            print(msgspec.json.encode({"error": self.what, "log": self.log}).decode())
        for line in self.log:
            print(f"  | {line}", file=sys.stderr)
        print(f"dsim: {self.what}", file=sys.stderr)


def _run(spec: Spec, engine: str, options: dict[str, Any], show: Any) -> Result | Failure:
    import asyncio

    from services.mapreduce.job import JobFailed, SpecError, run_async
    from sim.cli.mr_trace import draw_trace, keep_trace
    from sim.scenario.errors import InvalidInput

    wanted = {name: value for name, value in options.items() if value is not None and name != "no_backups"}
    if "workers" in _OF_ENGINES[engine] and "cluster" not in wanted:
        wanted.setdefault("workers", os.cpu_count() or 1)
    folder, plot = wanted.pop("trace", None), wanted.pop("plot", False)
    if folder is not None and "cluster" not in wanted:
        wanted["after_down"] = lambda cluster: keep_trace(cluster, folder)
    try:
        return asyncio.run(run_async(spec, engine, progress=show, **wanted))
    except SpecError as exc:
        raise InvalidInput(str(exc)) from None
    except JobFailed as exc:
        return Failure(str(exc), list(exc.log)[-LOG_LINES:])
    except Exception as exc:
        if engine != "local":  # there, what user code raises comes out as it was raised
            raise
        return Failure(*own_traceback(exc))
    finally:
        if folder is not None:
            if "cluster" in wanted:
                keep_trace(wanted["cluster"], folder, live=True)
            if plot:
                draw_trace(folder)


def own_traceback(exc: Exception) -> tuple[str, list[str]]:
    """Returns what user code raised, in one line, and its traceback, from that code on."""
    import traceback

    import services.mapreduce as ours

    frames = traceback.extract_tb(exc.__traceback__)
    within = [n for n, frame in enumerate(frames) if frame.filename.startswith(str(ours.__path__[0]))]
    lines = "".join(traceback.format_list(frames[within[-1] + 1 if within else 0 :])).splitlines()
    notes = " ".join(getattr(exc, "__notes__", ()))
    return f"{type(exc).__name__}: {exc}{' ' + notes if notes else ''}", lines
