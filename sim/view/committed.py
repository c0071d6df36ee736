"""Which transactions the diagram of commit waits shows, and when each of their steps was, in absolute time.

Spanner's leaders write a span for their part of each transaction (`services.spanner.transactions.story`).
Its timestamps count from the Unix epoch, as TrueTime does, and the trace from the start of the run. How far
these are apart is not said in the trace; but the world says how far off the middle of each host's intervals
was at each poll of the time masters, and with that any interval tells.
"""

from __future__ import annotations

from bisect import bisect_right
from statistics import median_low
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from protos.trace import ClockSample, Span
from sim.check.operations import Unusable, calls
from sim.check.transactions.history import SNAPSHOT, TRANSACTION, Transaction, transactions
from sim.check.transactions.timestamps import real_time

if TYPE_CHECKING:
    from sim.view.run import Run

TOLD = 2000  # intervals from which the beginning of the trace in TrueTime is taken


class Part(Struct):
    """A group's part of a transaction; times in ns, as in the trace.

    Attributes:
        host: the group's leader.
        role: "coordinator", "participant", "alone".
        timestamp: the commit timestamp, or a participant's prepare timestamp.
        intervals: what TT.now() was when (name, moment, earliest, latest).
        fields: of the span.
    """

    host: str
    group: int
    role: str
    start: int
    end: int
    timestamp: int
    intervals: list[tuple[str, int, int, int]]
    fields: dict[str, Any]

    def at(self, step: str) -> int | None:
        """Returns when a step was done."""
        since = self.fields.get(step)
        return None if since is None else self.start + since

    @property
    def waited(self) -> int:
        """Commit wait after Paxos, in ns."""
        return int(self.fields.get("waited", 0))


class Committed(Struct):
    """A transaction that was committed.

    Attributes:
        name: what checks of the history call it: "T7"; "T" where no history tells.
        timestamp: s, in ns as in the trace.
        parts: the coordinator's (or the only one) first; none of a transaction that only read.
        client: who asked for it; "" where no history tells.
        called, returned: when it began and ended there; as the first and last step of the parts where no
            history tells.
    """

    name: str
    timestamp: int
    parts: list[Part] = field(default_factory=list)
    client: str = ""
    called: int = 0
    returned: int = 0


def conflict(run: Run) -> tuple[Transaction, Transaction] | None:
    """Returns the first two transactions whose timestamps are not in the order of real time, if any."""
    kinds = (TRANSACTION, SNAPSHOT)
    try:
        found = calls(event for event in run.history if event.f in kinds)
        wrong, _ = real_time(transactions(found, own_writes=True, any_value=True, known=kinds))
    except Unusable:
        return None
    if wrong is None:
        return None
    first, second, *_ = wrong.transactions
    return first, second


def shown(run: Run) -> list[Committed]:
    """Returns what to draw: two that external consistency should have put in the other order, or else the
    one over the most telling groups.

    That is the one of two groups or more whose commit wait was longest. Where none had to wait: one of a
    single group that did, for more than half of its time, or else one of two groups of middling length.
    """
    pair = conflict(run)
    stamps = [one.timestamp for one in pair or () if one.timestamp is not None]
    ids: dict[str, int] = {}
    candidates: list[tuple[int, int, str]] = []
    alone: list[tuple[int, int, str]] = []
    told: list[tuple[str, int, int]] = []
    samples: dict[str, list[ClockSample]] = {}
    for event in run.events:
        if isinstance(event, ClockSample) and event.bound >= 0:
            samples.setdefault(event.host, []).append(event)
        elif isinstance(event, Span) and event.name == "transaction":
            fields = event.fields
            if fields["arrived"] and len(told) < TOLD:
                told.append((event.host, event.start, sum(fields["arrived"]) // 2))
            if fields["outcome"] != "committed" or fields["role"] == "participant":
                continue
            if fields["timestamp"] in stamps:
                ids[fields["transaction"]] = stamps.index(fields["timestamp"])
            elif run.start <= event.start and event.time <= run.end:
                found = candidates if fields["role"] == "coordinator" else alone
                found.append((fields.get("waited", 0), event.time - event.start, fields["transaction"]))
    zero = began(told, samples)
    if pair is None:
        found = candidates or alone
        mostly = max(alone, default=(0, 0, ""))
        if not any(waited for waited, _, _ in candidates) and 2 * mostly[0] > mostly[1]:
            found = alone  # one of a single group that hardly did anything but wait tells more
        if not found:
            return []
        longest = max(waited for waited, _, _ in found)
        best = sorted(one for one in found if one[0] == longest)
        ids = {best[len(best) // 2][2]: 0}
    names = {place: id for id, place in ids.items()}
    drawn = [Committed("T", stamps[place] - zero if stamps else 0) for place in range(len(pair or (1,)))]
    parts = _parts(run, ids, zero)
    for place, one in enumerate(drawn):
        one.parts = parts.get(names.get(place, ""), [])
        if one.parts:
            one.timestamp = one.parts[0].timestamp
            one.called = min(part.start for part in one.parts)
            one.returned = one.parts[0].end
    for one, asked in zip(drawn, pair or [_asked(run, drawn[0].timestamp + zero)], strict=True):
        if asked is not None:
            one.name, one.client = asked.name, str(asked.process)
            one.called, one.returned = asked.start, asked.end
    return drawn


def _parts(run: Run, ids: dict[str, int], began: int) -> dict[str, list[Part]]:
    """Returns the parts of some transactions."""
    found: dict[str, list[Part]] = {}
    for event in run.events:
        if not isinstance(event, Span) or event.name != "transaction":
            continue
        fields = event.fields
        if fields["transaction"] not in ids or fields["outcome"] != "committed":
            continue
        moments = {"arrived": 0, "assigned": fields.get("proposed"), "released": event.time - event.start}
        intervals = [
            (name, event.start + since, fields[name][0] - began, fields[name][1] - began)
            for name, since in moments.items()
            if since is not None and fields.get(name)
        ]
        part = Part(
            event.host,
            fields["group"],
            fields["role"],
            event.start,
            event.time,
            fields["timestamp"] - began,
            intervals,
            fields,
        )
        found.setdefault(fields["transaction"], []).append(part)
    for parts in found.values():
        parts.sort(key=lambda part: (part.role == "participant", part.group))
    return found


def _asked(run: Run, timestamp: int) -> Transaction | None:
    """Returns what the history says of the transaction with a timestamp."""
    try:
        found = calls(event for event in run.history if event.f == TRANSACTION)
        told = transactions(found, own_writes=True, any_value=True, known=(TRANSACTION,))
    except Unusable:
        return None
    return next((one for one in told if one.timestamp == timestamp), None)


def began(told: list[tuple[str, int, int]], samples: dict[str, list[ClockSample]]) -> int:
    """Returns what TrueTime was at the start of the trace, in ns since the Unix epoch."""
    return median_low(
        middle - at - _off(samples.get(host, []), at) for host, at, middle in told or [("", 0, 0)]
    )


def _off(samples: list[ClockSample], at: int) -> int:
    """Returns how far the middle of a host's interval was from absolute time: linear between polls."""
    place = bisect_right(samples, at, key=lambda sample: sample.time)
    if place in (0, len(samples)):
        return samples[place - 1 if place else 0].middle if samples else 0
    low, high = samples[place - 1], samples[place]
    return low.middle + (high.middle - low.middle) * (at - low.time) // max(high.time - low.time, 1)
