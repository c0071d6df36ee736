"""Many seeds of one scenario, in worker processes; what failed is kept and counted."""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from sim.explore.jobs import Job, Outcome
from sim.explore.pool import Pool
from sim.explore.shrink import shrinkable
from sim.scenario.discover import find
from sim.scenario.errors import InvalidInput
from sim.scenario.folder import default_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

FEW = 6  # seeds that the table shows of a check
MOST = 1_000_000_000  # seeds in a sweep: more than anybody runs, few enough to be counted


class Sweep(Struct, omit_defaults=False):
    """What came of a sweep.

    Attributes:
        seeds: first and last+1 of those asked for.
        run: how many ended, in whatever way.
        checks: for each check that was violated, the seeds in which it was.
        failures: the runs that did not pass, by seed.
        programs: seeds that passed although a program ended by raising, with its words.
        interrupted: ended by Ctrl-C.
    """

    scenario: str
    world: str
    params: dict[str, Any]
    seeds: tuple[int, int]
    run: int = 0
    passed: int = 0
    failed: int = 0
    errors: int = 0
    checks: dict[str, list[int]] = {}
    failures: list[Outcome] = []
    programs: dict[int, str] = {}
    virtual_s: float = 0.0
    wall_s: float = 0.0
    interrupted: bool = False

    def add(self, outcome: Outcome) -> None:
        """Counts a run."""
        self.run += 1
        self.virtual_s += outcome.virtual_s
        match outcome.verdict:
            case "pass":
                self.passed += 1
                if outcome.programs:
                    self.programs[outcome.seed] = outcome.programs[0]
                return
            case "fail":
                self.failed += 1
            case _:
                self.errors += 1
        self.failures.append(outcome)
        self.failures.sort(key=lambda failure: failure.seed)
        for check in outcome.failed if outcome.verdict == "fail" else ():
            seeds = self.checks.setdefault(check, [])
            seeds.append(outcome.seed)
            seeds.sort()

    @property
    def exit_status(self) -> int:
        """The status that `dsim sweep` ends with."""
        return 130 if self.interrupted else 1 if self.failed else 3 if self.errors else 0


def seeds(text: str) -> range:
    """Reads `A:B` (A, A+1, ..., B-1: half-open, as Python's ranges) or a single seed.

    Raises:
        InvalidInput: it is neither, or holds no seed.
    """
    first, colon, last = text.partition(":")
    try:
        found = range(int(first), int(last) if colon else int(first) + 1)
    except ValueError:
        raise InvalidInput(
            f"--seeds {text}: write A:B for the seeds from A up to, not including, B, or a single seed"
        ) from None
    if found and found[-1] - found[0] >= MOST:
        raise InvalidInput(f"--seeds {text}: at most {MOST:,} seeds at a time")
    if not found:
        raise InvalidInput(f"--seeds {text}: there is no seed from {first} up to, not including, {last}")
    return found


def sweep(
    scenario: str | Path,
    seeds: range,
    params: Mapping[str, Any] | None = None,
    *,
    world: str = "sim",
    jobs: int | None = None,
    fail_fast: bool = False,
    keep: bool = False,
    interleave: bool = False,
    limit_s: float | None = None,
    out: Path | None = None,
    progress: Callable[[Sweep], None] = lambda sweep: None,
) -> Sweep:
    """Runs a scenario with each of many seeds.

    Args:
        scenario: its name, or the path of its file.
        seeds: in this order.
        params: values of its parameters.
        world: "sim" or "grpc"; real clusters run one at a time.
        jobs: worker processes; None for one a processor.
        fail_fast: start no more runs after one that did not pass. The result is the same however
            many jobs there are: runs of smaller seeds are waited for, those of greater ones called off.
        keep: keep the run folders of passing runs too.
        interleave: the seed also decides which ready task runs first.
        limit_s: real seconds that a run may take.
        out: folder for the run folders that are kept; None for the usual place below `runs/`.
        progress: called after each run.

    Raises:
        InvalidInput: the arguments cannot be used.
    """
    found = find(scenario)
    arguments = found.arguments(params or {})
    if world not in ("sim", "grpc"):
        raise InvalidInput(f"there is no world {world!r} (there are: sim, grpc)")
    if interleave and world != "sim":
        raise InvalidInput("only the simulated world can permute ready tasks: --interleave needs --world sim")
    if jobs is None:
        jobs = os.cpu_count() or 1 if world == "sim" else 1
    if jobs < 1:
        raise InvalidInput(f"--jobs {jobs}: there must be at least one worker")
    if world == "grpc" and jobs != 1:
        raise InvalidInput("real clusters run one at a time, or they disturb one another: --jobs 1")
    if limit_s is not None and not limit_s > 0:
        raise InvalidInput(f"--limit {limit_s:g}: a run needs some time")
    result = Sweep(found.name, world, arguments, (seeds.start, seeds.stop))
    folders = _Folders(found.name, world, out)
    started: dict[int, Path] = {}
    stop_at: int | None = None
    early: dict[int, Outcome] = {}  # with fail_fast: those that ended before runs of smaller seeds

    def work() -> Iterator[Job]:
        for seed in seeds:
            if stop_at is not None:
                return
            started[seed] = folder = folders.of(seed)
            yield Job(found.locator, arguments, world, seed, None, interleave, str(folder), keep, limit_s)

    def in_order(outcome: Outcome) -> Iterator[Outcome]:
        early[outcome.seed] = outcome
        while (due := seeds.start + result.run) in early:
            yield early.pop(due)

    try:
        with Pool(min(jobs, len(seeds))) as pool:
            for outcome in pool.run(work()):
                if outcome.verdict == "invalid":
                    raise InvalidInput(outcome.error)
                if fail_fast and outcome.verdict != "pass":
                    stop_at = outcome.seed if stop_at is None else min(stop_at, outcome.seed)
                    pool.drop(after=stop_at)
                for next_one in in_order(outcome) if fail_fast else (outcome,):
                    if stop_at is None or next_one.seed <= stop_at:
                        result.add(next_one)
                        progress(result)
    except KeyboardInterrupt:
        result.interrupted = True
    finally:
        for seed, folder in started.items():
            if stop_at is not None and seed > stop_at:
                shutil.rmtree(folder, ignore_errors=True)  # it was called off, or ended too late to count
        folders.tidy()
    return result


class _Folders:
    """Where runs are kept; what stays empty goes again."""

    def __init__(self, scenario: str, world: str, out: Path | None) -> None:
        self._scenario = scenario
        self._world = world
        self._out = out
        self._made: list[Path] = []
        top = out if out is not None else default_folder(scenario, world, 0).parent
        if out is not None and out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InvalidInput(
                f"output folder {out} is not an empty folder: choose a new one with --out, or empty it"
            )
        while not top.exists():
            self._made.append(top)
            top = top.parent

    def of(self, seed: int) -> Path:
        if self._out is not None:
            return self._out / f"{self._world}-seed{seed}"
        return default_folder(self._scenario, self._world, seed)

    def tidy(self) -> None:
        for folder in self._made:
            with contextlib.suppress(OSError):  # not empty: something was kept
                folder.rmdir()


def table(result: Sweep) -> str:
    """Returns the result in words: counts, failures by check, and how to go on from the first failure."""
    first, end = result.seeds
    lines = [
        f"{result.scenario} ({'simulated' if result.world == 'sim' else 'real processes'}), "
        f"seeds {first}:{end}: {result.run} run, {result.passed} passed, {result.failed} failed, "
        f"{result.errors} error{'' if result.errors == 1 else 's'}; {result.virtual_s:,.0f} s of the "
        f"world's time in {result.wall_s:,.1f} s"
    ]
    if result.interrupted:
        lines.append(f"interrupted: {end - first - result.run} seeds were not run")
    rows = [(check, len(bad), _few(bad)) for check, bad in result.checks.items()]
    rows.sort(key=lambda row: -row[1])
    errors = [failure.seed for failure in result.failures if failure.verdict != "fail"]
    if errors:
        rows.append(("(error)", len(errors), _few(errors)))
    if rows:
        width = max(len("check"), *(len(row[0]) for row in rows))
        lines += ["", f"{'check':{width}}  runs  seeds"]
        lines += [f"{check:{width}}  {count:4}  {few}" for check, count, few in rows]
    if result.programs:
        seed, words = next(iter(sorted(result.programs.items())))
        lines += [
            "",
            f"in {len(result.programs)} passing runs a program ended by raising; seed {seed}: {words}",
        ]
    if result.failures:
        lines += ["", *_first(result.failures[0])]
    return "\n".join(lines)


def _few(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds[:FEW])) + (", ..." if len(seeds) > FEW else "")


def first_kept(result: Sweep) -> Path | None:
    """Returns the run folder of the first failure, if it was kept."""
    return next((Path(failure.folder) for failure in result.failures[:1] if failure.folder), None)


def _first(failure: Outcome) -> list[str]:
    lines = [f"first: seed {failure.seed}"]
    lines += [f"  {check}: {detail}" for check, detail in failure.failed.items()]
    lines += [f"  {line}" for line in failure.error.splitlines()]
    if failure.folder:
        pictures = ", ".join(sorted(picture.name for picture in Path(failure.folder).glob("*.png")))
        lines.append(f"kept:   {failure.folder}{f' ({pictures})' if pictures else ''}")
    if failure.replay:
        lines.append(f"again:  {failure.replay}")
    if failure.folder and failure.verdict == "fail" and shrinkable(Path(failure.folder)):
        lines.append(f"shrink: dsim shrink {failure.folder}")
    return lines
