"""Executions of tasks in a trace, for the pictures of MapReduce jobs.

A worker writes a span "map" or "reduce" for each execution, with `job`, `number`, `attempt` and `outcome`;
the master notes "assigned" when it gives one out (with `backup`), and how it ended. A worker that is killed
writes no span: then the master's notes say from when to when it may have been busy. Traces of simulated and
of real runs have both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct

from protos.trace import Note, Span

if TYPE_CHECKING:
    from protos.trace import TraceEvent
    from sim.view.run import Run

KINDS = ("map", "reduce")
ENDS = ("completed", "failed", "died", "withdrawn")


class Execution(Struct):
    """An execution of a task.

    Attributes:
        job: whose task it is; numbers of tasks are each job's own.
        kind: "map" or "reduce".
        start, end: ns.
        outcome: "completed", "failed", "died" (with its worker), "withdrawn" (another was first), or "" when
            the trace ends before it.
        backup: it was a backup task (3.6).
    """

    job: str
    host: str
    kind: str
    number: int
    start: int
    end: int
    outcome: str = ""
    backup: bool = False
    worked: bool = False  # a span says so


def concerns_task(event: TraceEvent) -> bool:
    """Says whether this is about an execution."""
    if isinstance(event, Span):
        return event.name in KINDS and "attempt" in event.fields
    return isinstance(event, Note) and event.name == "assigned" and "attempt" in event.fields


def is_progress(event: TraceEvent) -> bool:
    """Says whether this is a report of a job's progress: bytes so far."""
    return isinstance(event, Note) and event.name == "progress" and "shuffled_bytes" in event.fields


def executions(run: Run) -> list[Execution]:
    """Returns all executions that fall into the window, in the order of their starts."""
    found: dict[tuple[str, str, int], Execution] = {}
    for event in run.events:
        if isinstance(event, Span) and concerns_task(event):
            one = _of(found, event, event.host, event.name)
            one.start, one.end, one.worked = event.start, event.time, True
            if not one.outcome:
                one.outcome = "died" if not event.ok else _outcome(str(event.fields.get("outcome", "")))
        elif isinstance(event, Note) and "attempt" in event.fields and "worker" in event.fields:
            if event.name not in ("assigned", "adopted", *ENDS):
                continue
            one = _of(found, event, event.fields["worker"], event.fields.get("kind", ""))
            one.backup |= bool(event.fields.get("backup"))
            if event.name in ENDS:
                one.outcome = event.name
                if not one.worked:
                    one.end = event.time
    seen = [one for one in found.values() if one.kind in KINDS]
    for one in seen:
        if not one.outcome and not one.worked:
            one.end = run.end
    seen = [one for one in seen if one.start <= run.end and one.end >= run.start]
    return sorted(seen, key=lambda one: (one.start, one.end, one.host))


def _of(found: dict[tuple[str, str, int], Execution], event: Span | Note, host: str, kind: str) -> Execution:
    job = str(event.fields.get("job", ""))
    key = (job, kind, int(event.fields["attempt"]))
    if key not in found:
        number = int(event.fields.get("number", -1))
        found[key] = Execution(job, host, kind, number, event.time, event.time)
    return found[key]


def _outcome(said: str) -> str:
    return {"": "completed", "done": "completed"}.get(said, said)
