"""Running a scenario: from its name to its verdict, in either world."""

from __future__ import annotations

import contextlib
import shlex
import threading
import time
from contextvars import Context
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from services.recorder import Recorder
from sim.faults import Action, write_schedule
from sim.scenario.definition import Scenario
from sim.scenario.discover import find
from sim.scenario.errors import InvalidInput, near
from sim.scenario.failure import describe
from sim.scenario.folder import HISTORY, SCHEDULE, TRACE, RunFolder, Unwritable, unwritable
from sim.scenario.summary import CheckResult, Summary, Verdict
from sim.view import ViewError
from sim.view.studio import Studio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import TypeAlias

    from protos.history import Operation
    from sim.scenario.base import BaseWorld

    Progress: TypeAlias = Callable[[float, int], None]

WORLDS = ("sim", "grpc")
_PROGRESS_EVERY_S = 0.25


class Plan(msgspec.Struct):
    """All that decides a run.

    Attributes:
        scenario: the story and what it declares.
        arguments: all its parameters.
        world: "sim" or "grpc".
        seed: decides everything in the simulated world, and the story's own choices in the real one.
        schedule: replaces the schedule of faults that the story plays.
        interleave: the seed also decides which ready task runs first.
        limit_s: real seconds that the run may take; None for the usual limit.
    """

    scenario: Scenario
    arguments: dict[str, Any]
    world: Literal["sim", "grpc"]
    seed: int
    schedule: list[Action] | None = None
    interleave: bool = False
    limit_s: float | None = None


class Records:
    """What a run writes while it goes on.

    Args:
        folder: where to; None keeps nothing but digests and counts.

    Attributes:
        trace, history: the two streams.
        failed: the first refusal of the disk; the run is then aborted.
        operations: the history in memory, kept only where `keep_history`.
    """

    def __init__(self, folder: Path | None, *, keep_history: bool) -> None:
        self.folder = folder
        self.failed: OSError | None = None
        self.abort: Callable[[], None] = lambda: None
        self.operations: list[Operation] = []
        self.has_played = False
        keep = self.operations.extend if keep_history else None
        self.trace = _GuardedRecorder(self, folder / TRACE if folder else None)
        self.history = _GuardedRecorder(self, folder / HISTORY if folder else None, keep)

    def played(self, schedule: list[Action]) -> None:
        """Keeps the schedule that is played."""
        self.has_played = True
        if self.folder is not None:
            try:  # in a context of its own: this is not the simulated host that writes
                Context().run((self.folder / SCHEDULE).write_bytes, write_schedule(schedule))
            except OSError as exc:
                self.refused(exc)

    def refused(self, exc: OSError) -> None:
        """Notes that the disk takes no more, and aborts the run."""
        if self.failed is None:
            self.failed = exc
            self.abort()

    def close(self) -> None:
        """Closes both streams.

        Raises:
            InvalidInput: the disk did not take what was recorded.
        """
        for recorder in (self.trace, self.history):
            recorder.close()
        if self.failed is not None:
            assert self.folder is not None
            raise unwritable(self.folder, self.failed)


class _GuardedRecorder(Recorder):
    """A recorder whose disk may fail without the failure surfacing in the midst of a service."""

    def __init__(
        self, records: Records, path: Path | None, keep: Callable[[list[Any]], None] | None = None
    ) -> None:
        self._records = records
        super().__init__(path, keep)

    def flush(self) -> None:
        try:
            super().flush()
        except OSError as exc:
            self._batch.clear()
            self._records.refused(exc)

    def close(self) -> None:
        try:
            super().close()
        except OSError as exc:
            self._records.refused(exc)


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
    """
    with contextlib.ExitStack() as stack:
        if plots is True and out is not None:  # first of all: it loads its libraries meanwhile
            plots = stack.enter_context(Studio())
        studio = plots if isinstance(plots, Studio) else None
        plan = _plan(scenario, params, world, seed, schedule, interleave, limit_s)
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


def _plan(
    scenario: Scenario | str | Path,
    params: Mapping[str, Any] | None,
    world: str,
    seed: int,
    schedule: Sequence[Action] | None,
    interleave: bool,
    limit_s: float | None,
) -> Plan:
    found = scenario if isinstance(scenario, Scenario) else find(scenario)
    arguments = found.arguments(params or {})
    if world not in WORLDS:
        raise InvalidInput(
            f"there is no world {world!r}{near(world, WORLDS)} (there are: {', '.join(WORLDS)})"
        )
    if interleave and world != "sim":
        raise InvalidInput("only the simulated world can permute ready tasks: --interleave needs --world sim")
    if limit_s is not None and limit_s <= 0:
        raise InvalidInput(f"the limit must be more than 0 s of real time, not {limit_s:g}")
    return Plan(
        found,
        arguments,
        "sim" if world == "sim" else "grpc",
        seed,
        None if schedule is None else list(schedule),
        interleave,
        limit_s,
    )


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
        summary.plots = [path.name for path in pictures]
    folder.finish(summary)
    summary.folder = str(folder.path)
    return summary


def _told(plan: Plan, folder: Path | None, progress: Progress | None) -> Summary:
    """Tells the story in its world, and judges it."""
    records = Records(folder, keep_history=bool(plan.scenario.history_checks))
    world = _world(plan, records)
    records.abort = world.abort
    error = ""
    started = time.monotonic()
    try:
        with _watched(world, records, progress):
            world.perform()
    except (InvalidInput, KeyboardInterrupt):
        raise
    except BaseException as exc:  # whatever a scenario raises is its verdict
        if records.failed is None:
            error = describe(exc, plan.scenario.file)
    finally:
        wall_s = time.monotonic() - started
        world.history.close()
        records.close()
    if plan.schedule is not None and not records.has_played and not error:
        raise InvalidInput(f"{plan.scenario.name} plays no schedule of faults: none can be put in its place")
    if error:
        error += "".join(
            f"\n\nThe program on {failure.host} had failed: {failure.error}\n{failure.detail}"
            for failure in world.failures()
        )
    checks, error = _judge(plan.scenario, world, records.operations, error)
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
        replay=replay_command(plan, folder),
        interleave=plan.interleave,
        limit_s=plan.limit_s,
        error=error,
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


def _judge(
    scenario: Scenario, world: BaseWorld, history: list[Operation], error: str
) -> tuple[list[CheckResult], str]:
    """Returns the verdict of every check, in order of declaration."""
    results = dict(world.results)
    for check in scenario.history_checks:
        try:
            ok, detail = check(history)
        except Exception as exc:
            error = error or describe(exc, scenario.file)
        else:
            results[check.name] = CheckResult(check.name, bool(ok), detail)
    return [result or CheckResult(name, False, "never reached") for name, result in results.items()], error


def words(summary: Summary, folder: Path) -> str:
    """Returns what happened in a run, in one paragraph."""
    from sim.trace.read import read_history, read_trace
    from sim.trace.words import paragraph

    return paragraph(read_trace(folder / TRACE), read_history(folder / HISTORY), msgspec.to_builtins(summary))


def replay_command(plan: Plan, folder: Path | None) -> str:
    """Returns the command that runs the same again."""
    words = ["dsim", "run", plan.scenario.locator, "--seed", str(plan.seed)]
    if plan.world != "sim":
        words += ["--world", plan.world]
    if plan.interleave:
        words.append("--interleave")
    for name, value in plan.arguments.items():
        if value != plan.scenario.parameters[name].default:
            text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            words += ["--set", f"{name}={text}"]
    if plan.schedule is not None and folder is not None:
        words += ["--schedule", str(folder / SCHEDULE)]
    return shlex.join(words)


def _version() -> str:
    from importlib.metadata import version

    return version("dsim")
