"""What is known of the groups of a Spanner universe: who led each of them and until when, what they
committed, and what their clients saw of it.

Leaders write to the trace when their lease begins and how far it goes (`services.spanner.replica`), and a
span for their part of each transaction; the universe master writes what it moves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from msgspec import Struct, field

from protos.trace import ClockSample, HostEvent, Note, Span
from sim.check.operations import Call, Unusable, calls
from sim.view.committed import TOLD, began

if TYPE_CHECKING:
    from sim.view.run import Run

GONE = ("crash", "exit", "stop")  # of a process
LASTING = 100  # a stretch in doubt that is longer than this part of the window is drawn


class Reign(Struct):
    """A leader's time; in ns of the run.

    Attributes:
        start: when it knew that it had a lease.
        stopped: when it used the lease no more; -1: it may until the lease ends.
        end: of the lease, as far as that is known.
    """

    host: str
    start: int
    end: int
    stopped: int = -1


class Led(Struct):
    """What happened in the groups.

    Attributes:
        reigns: by group.
        commits, wounds: when, by group.
        doubts: by group, from when until when a participant did not know the outcome, where that was long.
        moves: what was moved, from when until when, and from which group to which.
        marks: what else the universe master did, and when.
        asked: operations of clients, as the history has them.
        began: what TrueTime was at the start of the run.
    """

    reigns: dict[int, list[Reign]] = field(default_factory=dict)
    commits: dict[int, list[int]] = field(default_factory=dict)
    wounds: dict[int, list[int]] = field(default_factory=dict)
    doubts: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    moves: list[tuple[int, int, str]] = field(default_factory=list)
    marks: list[tuple[int, str]] = field(default_factory=list)
    asked: list[Call] = field(default_factory=list)
    began: int = 0


def led(run: Run) -> Led:
    """Reads a run."""
    found = Led()
    leases: dict[tuple[int, int, str, int], Reign] = {}
    ends: list[tuple[Reign, int]] = []  # what TrueTime will be then
    told: list[tuple[str, int, int]] = []
    samples: dict[str, list[ClockSample]] = {}
    moving: dict[tuple[str, str], int] = {}  # by who moves, and the name of the move
    least = (run.end - run.start) // LASTING
    for event in run.events:
        match event:
            case Note(name="lease" | "lease-end", fields=fields):
                key = (fields["group"], fields["term"], event.host, fields["start"])
                reign = leases.get(key)
                if reign is None:
                    if event.name == "lease-end":
                        continue
                    reign = leases[key] = Reign(event.host, event.time, event.time)
                    found.reigns.setdefault(fields["group"], []).append(reign)
                if event.name == "lease-end":
                    reign.stopped = event.time
                ends.append((reign, fields["end"]))
            case Note(name="wounded", fields=fields):
                found.wounds.setdefault(fields["group"], []).append(event.time)
            case Note(name="move begins", fields=fields):
                moving[event.host, fields["move"]] = event.time
            case Note(name="move ends", fields=fields) if (event.host, fields["move"]) in moving:
                since = moving.pop((event.host, fields["move"]))
                found.moves.append((since, event.time, _from_to(fields["move"])))
            case Note(name="group made", fields=fields):
                found.marks.append((event.time, f"group {fields['group']} is made"))
            case Note(name="schema changed", fields=fields):
                found.marks.append((event.time, f"schema {fields['version']}"))
            case Note(name="placement", fields=fields) if fields["what"] != "Move":
                found.marks.append((event.time, fields["why"]))
            case Span(name="transaction", fields=fields):
                _transaction(found, event, least)
                if fields["arrived"] and len(told) < TOLD:
                    told.append((event.host, event.start, sum(fields["arrived"]) // 2))
            case ClockSample() if event.bound >= 0:
                samples.setdefault(event.host, []).append(event)
            case HostEvent() if event.name in GONE:
                for reign in leases.values():
                    if reign.host == event.host and reign.stopped < 0:
                        reign.stopped = event.time
                for host, move in list(moving):
                    if host == event.host:
                        found.moves.append((moving.pop((host, move)), event.time, _from_to(move)))
    found.began = began(told, samples)
    for reign, end in ends:
        reign.end = end - found.began  # the last one holds: renewed, or given away before its time
    for reign in leases.values():
        reign.end = max(reign.end, reign.start)
    found.moves += [(start, run.end, _from_to(name)) for (_, name), start in moving.items()]
    found.moves.sort()
    try:
        found.asked = calls(run.history)
    except Unusable:
        found.asked = []
    return found


def _transaction(found: Led, span: Span, least: int) -> None:
    """Takes a leader's part of a transaction."""
    group, fields = span.fields["group"], span.fields
    if fields["role"] == "participant":
        prepared = span.start + fields["prepared"] if "prepared" in fields else span.time
        told = span.start + fields["told"] if "told" in fields else span.time
        if told - prepared > least:
            found.doubts.setdefault(group, []).append((prepared, told))
    if fields.get("outcome") == "committed":
        found.commits.setdefault(group, []).append(span.time)


def _from_to(move: str) -> str:
    """Returns the groups in the name of a move ("2-to-3-...")."""
    source, _, rest = move.partition("-to-")
    return f"{source} → {rest.partition('-')[0]}"
