"""The smallest schedule of faults with which a failed run still fails, and what it is in words.

The search of `sim.explore.reduce`, with real runs to answer its question: does the *same check*
fail with this schedule too? Another check, or an error of the scenario, is another failure.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin

import msgspec
from msgspec import Struct

from sim.explore.jobs import Job, Outcome
from sim.explore.pool import Pool
from sim.explore.reduce import SHRINKABLE, SIMPLE, ddmin, simplify
from sim.explore.words import describe
from sim.faults import Action
from sim.scenario.discover import find
from sim.scenario.errors import InvalidInput, near
from sim.scenario.folder import SCHEDULE, load_schedule, read_summary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sim.scenario.definition import Parameter
    from sim.scenario.summary import Summary


class Shrunk(Struct):
    """What came of shrinking.

    Attributes:
        check: the check that fails.
        detail: what its verdict rests on in the smallest run.
        before: how many actions the schedule had.
        schedule: what is left of it.
        words: the same in words.
        params: those of the scenario's parameters that were made smaller.
        runs: how many were made.
        finished: the search came to its end; otherwise its budget did.
        folder: the smallest run.
        replay: the command that runs it again.
    """

    scenario: str
    seed: int
    check: str
    detail: str
    before: int
    schedule: list[Action]
    words: list[str]
    params: dict[str, Any]
    runs: int
    finished: bool
    folder: str
    replay: str

    def describe(self) -> str:
        """Returns it in words."""
        count = len(self.schedule)
        left = f" with {count} action{'' if count == 1 else 's'} of {self.before}" if self.before else ""
        pictures = ", ".join(sorted(picture.name for picture in Path(self.folder).glob("*.png")))
        lines = [
            f"{self.scenario}, seed {self.seed}: {self.check!r} still fails{left} "
            f"(after {self.runs} runs{'' if self.finished else '; the budget ended the search'}):",
            "",
            *([f"  {line}" for line in self.words] or ["  without any fault"] * bool(self.before)),
            *(f"  with {name}={value}" for name, value in self.params.items()),
            "",
            f"  {self.check}: {self.detail}",
            "",
            f"run:    {self.folder}{f' ({pictures})' if pictures else ''}",
            f"again:  {self.replay}",
        ]
        return "\n".join(lines)


def shrink(
    folder: Path,
    *,
    check: str = "",
    runs: int = 400,
    seconds: float = 600.0,
    out: Path | None = None,
    progress: Callable[[str], None] = lambda words: None,
) -> Shrunk:
    """Makes the schedule of a failed run as small and simple as can be, and leaves it in a new run folder.

    The same folder and number of runs give the same result, unless `seconds` end the search.

    Args:
        folder: a run folder with the verdict "fail".
        check: the name of the check that must go on failing; "" for the first that failed.
        runs: the most runs to try.
        seconds: the most real time to take.
        out: the new run folder; None for `<folder>-shrunk`.
        progress: called with a few words before each run.

    Raises:
        InvalidInput: it is not the folder of such a run, or the failure does not come back.
    """
    summary = read_summary(folder)
    check = _check(folder, summary, check)
    if runs < 1 or seconds <= 0:
        raise InvalidInput("shrinking needs at least one run and some time")
    if not shrinkable(folder):
        raise InvalidInput(
            f"{folder} holds no {SCHEDULE}: its scenario plays no faults that could be left out"
        )
    plays = (folder / SCHEDULE).exists()
    schedule = load_schedule(folder / SCHEDULE) if plays else []
    target = out if out is not None else _beside(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InvalidInput(f"output folder {target} is not empty: choose a new one with --out, or empty it")
    with Pool(1) as pool:
        trial = _Trial(pool, summary, check, runs, time.monotonic() + seconds, progress, plays=plays)
        if not trial(schedule, summary.params):
            raise InvalidInput(
                f"{folder}: {check!r} does not fail again with the same seed and faults: {_ended(trial.last)}"
            )
        finished = _search(trial)
        return _keep(trial, target, len(schedule), finished)


def shrinkable(folder: Path) -> bool:
    """Says whether there is anything to make smaller in a run: a schedule of faults, or a parameter."""
    if (folder / SCHEDULE).exists():
        return True
    summary = read_summary(folder)
    parameters = find(summary.source or summary.scenario).parameters.values()
    return any(SHRINKABLE in get_args(one.type) for one in parameters)


def _check(folder: Path, summary: Summary, check: str) -> str:
    failed = summary.failed()
    if summary.verdict != "fail":
        raise InvalidInput(
            f"{folder} is a run with the verdict {summary.verdict!r}: only a failed one shrinks"
        )
    if not check:
        return failed[0]
    if check not in failed:
        raise InvalidInput(
            f"check {check!r} did not fail in {folder}{near(check, failed)} ({', '.join(failed)} did)"
        )
    return check


def _beside(folder: Path) -> Path:
    folder = Path(str(folder).rstrip("/"))
    first = target = folder.with_name(f"{folder.name}-shrunk")
    number = 1
    while target.exists():
        number += 1
        target = first.with_name(f"{first.name}-{number}")
    return target


class _Exhausted(Exception):
    """The budget is."""


class _Trial:
    """Says whether a schedule still fails, and remembers the simplest that does.

    Where the scenario plays none (`plays`), only its parameters are tried.

    Attributes:
        schedule, params: the last that failed.
        runs: made so far.
        last: what came of the last run.
    """

    def __init__(
        self,
        pool: Pool,
        summary: Summary,
        check: str,
        most_runs: int,
        deadline: float,
        progress: Callable[[str], None],
        *,
        plays: bool,
    ) -> None:
        self.summary = summary
        self.check = check
        self.runs = 0
        self.schedule: list[Action] = []
        self.params: dict[str, Any] = {}
        self.last = Outcome(summary.seed, "")
        self.pool = pool
        self._most_runs = most_runs
        self._deadline = deadline
        self._progress = progress
        self._plays = plays
        self._known: dict[bytes, bool] = {}

    def __call__(self, schedule: list[Action], params: Mapping[str, Any]) -> bool:
        schedule = sorted(schedule, key=lambda action: action.at)
        key = msgspec.json.encode([schedule, params])
        if key not in self._known:
            if self.runs >= self._most_runs or time.monotonic() >= self._deadline:
                raise _Exhausted
            self.runs += 1
            self._progress(f"run {self.runs} of at most {self._most_runs}, {len(schedule)} actions")
            self.last = self.pool.one(self.job(schedule, params))
            self._known[key] = self.last.verdict == "fail" and self.check in self.last.failed
        if self._known[key]:
            self.schedule, self.params = schedule, dict(params)
        return self._known[key]

    def job(self, schedule: list[Action], params: Mapping[str, Any], out: str = "") -> Job:
        summary = self.summary
        return Job(
            summary.source or summary.scenario,
            dict(params),
            summary.world,
            summary.seed,
            schedule if self._plays else None,
            summary.interleave,
            out,
            limit_s=summary.limit_s,
        )

    def fails(self, schedule: list[Action]) -> bool:
        """The question for `reduce`, with the parameters as they are by now."""
        return self(schedule, self.params)


def _search(trial: _Trial) -> bool:
    """Searches until nothing more helps; returns False when the budget ended it."""
    parameters = find(trial.summary.source or trial.summary.scenario).parameters
    try:
        while True:
            before = (trial.schedule, trial.params)
            ddmin(trial.schedule, trial.fails)
            for name, parameter in parameters.items():
                for value in smaller_values(parameter, trial.params.get(name)):
                    if trial(trial.schedule, {**trial.params, name: value}):
                        break
            simplify(trial.schedule, trial.fails)
            if (trial.schedule, trial.params) == before:
                return True
    except _Exhausted:
        return False


def smaller_values(parameter: Parameter, value: Any) -> Iterator[Any]:
    """Yields smaller values of a parameter, the smallest first, if it is declared `SHRINKABLE`."""
    if get_origin(parameter.type) is not Annotated or SHRINKABLE not in get_args(parameter.type):
        return
    if isinstance(value, bool) or not isinstance(value, int | float):
        return
    for candidate in sorted({0, *SIMPLE, *map(round, (value / 4, value / 2, value - 1))}):
        if candidate >= value or (isinstance(value, int) and candidate != round(candidate)):
            continue
        try:
            yield parameter.convert(type(value)(candidate))
        except InvalidInput:
            continue  # out of its range


def _keep(trial: _Trial, target: Path, before: int, finished: bool) -> Shrunk:
    """Makes the smallest run once more, into its folder."""
    outcome = trial.pool.one(trial.job(trial.schedule, trial.params, str(target)))
    if trial.check not in outcome.failed:
        raise InvalidInput(f"the smallest run fails only sometimes; this time: {_ended(outcome)}")
    changed = {name: value for name, value in trial.params.items() if value != trial.summary.params.get(name)}
    again = f"dsim replay {target}" if trial.summary.world == "sim" else outcome.replay
    return Shrunk(
        scenario=trial.summary.scenario,
        seed=trial.summary.seed,
        check=trial.check,
        detail=outcome.failed[trial.check],
        before=before,
        schedule=trial.schedule,
        words=describe(trial.schedule),
        params=changed,
        runs=trial.runs,
        finished=finished,
        folder=str(target),
        replay=again,
    )


def _ended(outcome: Outcome) -> str:
    return outcome.error.splitlines()[-1] if outcome.error else f"verdict {outcome.verdict}"
