"""What is known of a run when it has ended: `summary.json`, and what `run` returns."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

if TYPE_CHECKING:
    from pathlib import Path

Verdict: TypeAlias = Literal["pass", "fail", "error"]

EXIT_STATUS: dict[str, int] = {"pass": 0, "fail": 1, "error": 3}
"""The exit status of `dsim` by verdict; 2 is for input that cannot be used."""


class CheckResult(Struct):
    """The verdict of one check, with what it rests on."""

    name: str
    ok: bool
    detail: str = ""


class Measure(Struct, omit_defaults=True):
    """A number that a run has found, beside the paper's where there is one.

    Attributes:
        name: what it is.
        value: ours.
        unit: "s", "MB/s"; "" for a plain number.
        paper: the paper's.
        error: (value - paper) / |paper|.
    """

    name: str
    value: float
    unit: str = ""
    paper: float | None = None
    error: float | None = None


class Summary(Struct, kw_only=True):
    """A run in numbers.

    Attributes:
        verdict: "pass"; "fail" (a check was violated); "error" (the scenario itself failed).
        reason: with the verdict "error": why, in one line.
        error: the same at length: the traceback, from the scenario's file on, or the report of
            who waits where.
        measures: numbers that the run has found.
        events: lines of the trace.
        operations: of the history, counted once each.
        faults: that were injected.
        trace_sha256: of the trace's bytes; equal digests are equal runs.
        virtual_s: seconds that passed in the world (in the real world: wall seconds).
        wall_s: seconds that the run took.
        failures: programs that ended by raising, one line each; that need not be wrong (a service may
            give up when its disk fails), but it is always told.
        words: what happened, in one paragraph.
        plots: the kinds of pictures that the scenario names.
        pictures: those that were drawn, as file names in the run folder.
        replay: the command that runs it again.
        source: where the scenario is found: its name, or its file and function.
        interleave: the seed also decided which ready task ran first.
        complete: the run came to its end, its pictures included.
        folder: the run folder, "" when nothing was kept; not part of the file.
    """

    scenario: str
    world: Literal["sim", "grpc"]
    seed: int
    params: dict[str, Any]
    verdict: Verdict
    checks: list[CheckResult]
    events: int
    operations: int
    faults: int
    trace_sha256: str
    virtual_s: float
    wall_s: float
    version: str
    replay: str
    source: str = ""
    interleave: bool = False
    limit_s: float | None = None
    reason: str = ""
    error: str = ""
    measures: list[Measure] = []
    failures: list[str] = []
    words: str = ""
    plots: list[str] = []
    pictures: list[str] = []
    complete: bool = True
    folder: str = ""

    @property
    def passed(self) -> bool:
        """Says whether every check held."""
        return self.verdict == "pass"

    @property
    def exit_status(self) -> int:
        """The status that `dsim run` ends with."""
        return EXIT_STATUS[self.verdict]

    def failed(self) -> list[str]:
        """Returns the names of the checks that were violated."""
        return [check.name for check in self.checks if not check.ok]

    def __repr__(self) -> str:
        lines = [f"{self.scenario} ({self.world}, seed {self.seed}): {self.verdict}"]
        if self.error:
            lines.append(self.error.rstrip())
        lines += [f"  {check.name}: {check.detail or 'violated'}" for check in self.checks if not check.ok]
        if not self.passed:
            lines.append(f"  replay: {self.replay}")
        if self.folder:
            lines.append(f"  folder: {self.folder}")
        return "\n".join(lines)


def encode(summary: Summary) -> bytes:
    """Returns the bytes of `summary.json`."""
    fields = msgspec.to_builtins(summary)
    del fields["folder"]  # a folder may be moved
    return msgspec.json.format(msgspec.json.encode(fields)) + b"\n"


def decode(data: bytes, folder: Path) -> Summary:
    """Reads the bytes of a `summary.json`.

    Raises:
        msgspec.DecodeError: they are not one.
    """
    summary = msgspec.json.decode(data, type=Summary)
    summary.folder = str(folder)
    return summary
