"""Running a run again, and finding the first event that differs if one does."""

from __future__ import annotations

import hashlib
import tempfile
from itertools import zip_longest
from pathlib import Path

from msgspec import Struct

from sim.scenario.errors import InvalidInput
from sim.scenario.folder import SCHEDULE, SUMMARY, TRACE, load_schedule, read_summary
from sim.scenario.run import run


class Replay(Struct):
    """What came of running a run again.

    Attributes:
        identical: the traces are the same, byte for byte.
        line: where they first differ (the first line is 1; 0 when they do not).
        before, now: the two events there, as JSON ("" where a trace had ended).
    """

    identical: bool
    sha256_before: str
    sha256_now: str
    verdict_before: str
    verdict_now: str
    events: int
    line: int = 0
    before: str = ""
    now: str = ""

    def describe(self) -> str:
        """Returns it in words."""
        if self.identical:
            return (
                f"identical: {self.events:,} events, sha256 {self.sha256_now[:16]}; "
                f"verdict {self.verdict_now}"
            )
        lines = [
            f"NOT identical: sha256 {self.sha256_before[:16]} before, {self.sha256_now[:16]} now; "
            f"verdict {self.verdict_before} before, {self.verdict_now} now"
        ]
        if self.line:
            lines += [
                f"first difference in line {self.line:,} of {TRACE}:",
                f"  before: {self.before or '(the trace had ended)'}",
                f"  now:    {self.now or '(the trace has ended)'}",
            ]
        return "\n".join(lines)


def replay(folder: Path, *, limit_s: float | None = None) -> Replay:
    """Runs a run again, in a temporary folder, and compares the traces.

    Args:
        folder: of the run; its `schedule.json`, if there is one, is played.
        limit_s: real seconds that the run may take.

    Raises:
        InvalidInput: the folder is not a whole run of the simulated world.
    """
    before = read_summary(folder)
    if before.world != "sim":
        raise InvalidInput(
            f"{folder} is a run in the real world, which never repeats itself; run it anew: {before.replay}"
        )
    trace = folder / TRACE
    if not trace.is_file():
        raise InvalidInput(f"{folder} holds no {TRACE}: there is nothing to compare with")
    _undamaged(trace, before.trace_sha256)
    schedule = load_schedule(folder / SCHEDULE) if (folder / SCHEDULE).exists() else None
    with tempfile.TemporaryDirectory(prefix="dsim-replay-") as scratch:
        now = run(
            before.source or before.scenario,
            before.params,
            seed=before.seed,
            out=Path(scratch) / "run",
            schedule=schedule,
            interleave=before.interleave,
            limit_s=limit_s if limit_s is not None else before.limit_s,
        )
        result = Replay(
            identical=now.trace_sha256 == before.trace_sha256,
            sha256_before=before.trace_sha256,
            sha256_now=now.trace_sha256,
            verdict_before=before.verdict,
            verdict_now=now.verdict,
            events=now.events,
        )
        if not result.identical:
            _first_difference(trace, Path(scratch) / "run" / TRACE, result)
    return result


def _undamaged(trace: Path, sha256: str) -> None:
    """Refuses a trace that is not what was recorded: to be identical to its digest alone would mislead."""
    try:
        with trace.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as exc:
        raise InvalidInput(f"cannot read {trace}: {exc.strerror or exc}") from None
    if found != sha256:
        raise InvalidInput(
            f"{trace} is damaged: it is not the trace that {SUMMARY} tells of "
            f"(sha256 {found[:16]}, not {sha256[:16]})"
        )


def _first_difference(before: Path, now: Path, result: Replay) -> None:
    with before.open("rb") as old, now.open("rb") as new:
        for number, (one, other) in enumerate(zip_longest(old, new, fillvalue=b""), 1):
            if one != other:
                result.line = number
                result.before = one.decode(errors="replace").rstrip()
                result.now = other.decode(errors="replace").rstrip()
                return
