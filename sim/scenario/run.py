"""Running a scenario: from its name to its verdict, in either world."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from sim.scenario.errors import InvalidInput
from sim.scenario.failure import describe, reason
from sim.scenario.folder import HISTORY, TRACE, RunFolder, Unwritable
from sim.scenario.plan import make_plan, replay_command
from sim.scenario.records import Records
from sim.scenario.summary import CheckResult, Summary, Verdict
from sim.view import ViewError
from sim.view.studio import Studio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import TypeAlias

    from protos.history import Operation
    from sim.faults import Action
    from sim.scenario.base import BaseWorld
    from sim.scenario.definition import Scenario
    from sim.scenario.plan import Plan

    Progress: TypeAlias = Callable[[float, int], None]

_PROGRESS_EVERY_S = 0.25


def run(
    scenario: Scenario | str | Path,
    params: Mapping[str, Any] | None = None,
    *,
    world: str = "sim",
    seed: int = 0,
    out: Path | str | None = None,
    schedule: Sequence[Action] | None = None,
    interleave: bool = False,
    plots: bool | Studio = False,
    limit_s: float | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Runs a scenario once.

    Args:
        scenario: a scenario, its name, or the path of its file.
        params: values of its parameters; the others keep their defaults.
        world: "sim", the simulated world, or "grpc", real processes on this machine.
        seed: decides everything in the simulated world.
        out: the run folder, new or empty; None keeps nothing.
        schedule: replaces the schedule of faults that the scenario plays.
        interleave: the seed also decides which ready task runs first (simulated world only).
        plots: draws the scenario's pictures into the run folder; a `Studio` that is open already
            saves the time of opening one.
        limit_s: real seconds that the run may take.
        progress: called a few times a second, from another thread, with the seconds that have passed in
            the world and the events so far.

    Returns:
        The summary. A scenario that fails or raises is a verdict, not an exception.

    Raises:
        InvalidInput: the arguments cannot be used.
        RuntimeError: an event loop runs in this thread already, as in a notebook or an async test.
    """
    if asyncio._get_running_loop() is not None:
        raise RuntimeError(
            "sim.run() cannot be called while an event loop runs in this thread: "
            "call it from ordinary code, or in a thread: await asyncio.to_thread(run, ...)"
        )
    with contextlib.ExitStack() as stack:
        if plots is True and out is not None:  # first of all: it loads its libraries meanwhile
            plots = stack.enter_context(Studio())
        studio = plots if isinstance(plots, Studio) else None
        plan = make_plan(scenario, params, world, seed, schedule, interleave, limit_s)
        return _kept(plan, RunFolder(Path(out)) if out is not None else None, studio, progress)


def _kept(plan: Plan, folder: RunFolder | None, studio: Studio | None, progress: Progress | None) -> Summary:
    """Runs, and sees to it that the folder tells what became of the run."""
    try:
        return _run(plan, folder, studio, progress)
    except KeyboardInterrupt:
        if folder is not None:
            folder.mark("interrupted by Ctrl-C")
        raise
    except Unwritable as exc:
        if folder is not None:
            folder.mark(str(exc))
        raise
    except InvalidInput:
        if folder is not None:
            folder.discard()
        raise


def _run(plan: Plan, folder: RunFolder | None, studio: Studio | None, progress: Progress | None) -> Summary:
    if folder is None:
        return _told(plan, None, progress)
    summary = _told(plan, folder.path, progress)
    summary.words = words(summary, folder.path)
    if studio is not None and plan.scenario.plots:
        folder.write(summary)  # the pictures bear its name
        try:
            pictures = studio.draw(folder.path, plan.scenario.plots)
        except ViewError as exc:
            raise Unwritable(str(exc)) from None
        summary.pictures = [path.name for path in pictures]
    folder.finish(summary)
    summary.folder = str(folder.path)
    return summary


def _told(plan: Plan, folder: Path | None, progress: Progress | None) -> Summary:
    """Tells the story in its world, and judges it."""
    watchers = _Watchers(plan.scenario)
    records = Records(
        folder,
        keep_history=bool(plan.scenario.history_checks),
        watch_trace=watchers.see if watchers.watchers else None,
    )
    world = _world(plan, records)
    records.abort = world.abort
    why = error = ""
    started = time.monotonic()
    try:
        with _watched(world, records, progress):
            world.perform()
    except (InvalidInput, KeyboardInterrupt):
        raise
    except BaseException as exc:  # whatever a scenario raises is its verdict
        if records.failed is None:
            why, error = reason(exc), describe(exc, plan.scenario.file)
    finally:
        wall_s = time.monotonic() - started
        world.history.close()
        records.close()
    if records.unfit and not error:
        why = error = f"what was recorded is no JSON: {records.unfit}"
    if plan.schedule is not None and not records.has_played and not error:
        raise InvalidInput(f"{plan.scenario.name} plays no schedule of faults: none can be put in its place")
    if error:
        error += "".join(
            f"\n\nThe program on {failure.host} had failed: {failure.error}\n{failure.detail}"
            for failure in world.failures()
        )
    checks, failed = _judge(plan.scenario, world, records.operations, watchers)
    if failed is not None and not error:
        why, error = reason(failed), describe(failed, plan.scenario.file)
    verdict: Verdict = "error" if error else "pass" if all(check.ok for check in checks) else "fail"
    return Summary(
        scenario=plan.scenario.name,
        source=plan.scenario.source,
        world=plan.world,
        seed=plan.seed,
        params=plan.arguments,
        verdict=verdict,
        checks=checks,
        events=records.trace.count,
        operations=world.history.invoked,
        faults=world.faults,
        trace_sha256=records.trace.sha256,
        virtual_s=world.now(),
        wall_s=round(wall_s, 6),
        version=_version(),
        plots=list(plan.scenario.plots),
        replay=replay_command(plan, folder),
        interleave=plan.interleave,
        limit_s=plan.limit_s,
        reason=why,
        error=error,
        measures=list(world.measures.values()),
        failures=[f"{failure.host}: {failure.error}" for failure in world.failures()],
    )


@contextlib.contextmanager
def _watched(world: BaseWorld, records: Records, progress: Progress | None) -> Iterator[None]:
    """Reports how far the world has come, from a thread, until the block ends."""
    if progress is None:
        yield
        return
    over = threading.Event()

    def watch() -> None:
        while not over.wait(_PROGRESS_EVERY_S):
            progress(world.now(), records.trace.count)

    thread = threading.Thread(target=watch, name="dsim-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _world(plan: Plan, records: Records) -> BaseWorld:
    if plan.world == "sim":
        from sim.scenario.sim_world import SimWorld

        return SimWorld(plan, records)
    from sim.scenario.grpc_world import GrpcWorld

    return GrpcWorld(plan, records)


class _Watchers:
    """The checks that watch a run's trace."""

    def __init__(self, scenario: Scenario) -> None:
        self.watchers = {check.name: check.begin() for check in scenario.trace_checks}
        self.failed: Exception | None = None

    def see(self, events: list[Any]) -> None:
        """Takes the next events. What a check raises must not surface in whoever wrote the event."""
        try:
            for watcher in self.watchers.values():
                watcher.see(events)
        except Exception as exc:
            self.failed = self.failed or exc


def _judge(
    scenario: Scenario, world: BaseWorld, history: list[Operation], watchers: _Watchers
) -> tuple[list[CheckResult], Exception | None]:
    """Returns the verdict of every check, in order of declaration, and what a check raised."""
    results: dict[str, CheckResult | None] = dict(world.results)
    failed = watchers.failed
    verdicts: dict[str, Callable[[], tuple[bool, str]]] = {
        check.name: partial(check, history) for check in scenario.history_checks
    }
    verdicts |= {name: watcher.verdict for name, watcher in watchers.watchers.items()}
    for name, verdict in verdicts.items():
        try:
            ok, detail = verdict()
        except Exception as exc:
            failed = failed or exc
        else:
            results[name] = CheckResult(name, bool(ok), detail)
    return [result or CheckResult(name, False, "never reached") for name, result in results.items()], failed


def words(summary: Summary, folder: Path) -> str:
    """Returns what happened in a run, in one paragraph."""
    from sim.trace.read import read_history, read_trace
    from sim.trace.words import paragraph

    told = {**msgspec.to_builtins(summary), "error": summary.reason}
    return paragraph(read_trace(folder / TRACE), read_history(folder / HISTORY), told)


def _version() -> str:
    from importlib.metadata import version

    return version("dsim")
