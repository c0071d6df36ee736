"""One trace out of those that the nodes of a real cluster wrote.

Each node wrote what arrived, when by the machine's clock, and in a second file what it sent. Merged by time,
every message gets the time at which it left, and what left and arrived nowhere becomes `Lost`. Nothing is
held in memory but messages under way.
"""

from __future__ import annotations

from heapq import heappop, heappush, merge
from typing import TYPE_CHECKING, TypeAlias

from protos.trace import ClockSample, FaultEvent, HostEvent, Log, Lost, Message, Note, Span
from services.real.tracing import Sent
from services.recorder import Recorder
from sim.trace.read import Records

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from protos.trace import TraceEvent

Line: TypeAlias = Message | Lost | Span | Note | Log | HostEvent | FaultEvent | ClockSample | Sent
_Key: TypeAlias = tuple[int, str, int, str]

MADE_UP = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED")
"""Codes with which the caller's own gRPC ends a call that nobody answers: no message, unless one was sent."""

_WINDOW = 4096
"""Lines held back to be put in order: threads of a node may write a moment after they looked at the clock."""


def join_traces(folder: Path, output: Path, start: int | None = None, more: Iterable[TraceEvent] = ()) -> int:
    """Writes the trace of a cluster.

    Args:
        folder: of the cluster.
        output: the file to write.
        start: the moment, in ns since the Unix epoch, from which times count; None takes the first record's.
        more: records of the caller's own, in order, their times counted from `start` already.

    Returns:
        How many records it holds.

    Raises:
        TraceError: a file is damaged.
        OSError: the output cannot be written.
    """
    recorder = Recorder(output)
    try:
        for event in joined(folder, start, more):
            recorder.write(event)
    finally:
        recorder.close()
    return recorder.count


def joined(folder: Path, start: int | None = None, more: Iterable[TraceEvent] = ()) -> Iterator[TraceEvent]:
    """Yields the trace of a cluster in the order of time; see `join_traces`."""
    files = [*sorted(folder.glob("nodes/*/trace-*.jsonl")), *sorted(folder.glob("nodes/*/sent-*.jsonl"))]
    if (folder / "faults.jsonl").exists():
        files.append(folder / "faults.jsonl")
    lines = _in_order(merge(*(iter(Records[Line](path, Line)) for path in files), key=lambda line: line.time))
    first = next(lines, None)
    if first is None:
        yield from more
        return
    begin = first.time if start is None else start
    cluster = _paired(_from_zero(_chain(first, lines), begin))
    yield from merge(cluster, more, key=lambda event: event.time)


def _chain(first: Line, rest: Iterator[Line]) -> Iterator[Line]:
    yield first
    yield from rest


def _in_order(lines: Iterator[Line]) -> Iterator[Line]:
    """Sorts what is only nearly sorted."""
    heap: list[tuple[int, int, Line]] = []
    for number, line in enumerate(lines):
        heappush(heap, (line.time, number, line))
        if len(heap) > _WINDOW:
            yield heappop(heap)[2]
    while heap:
        yield heappop(heap)[2]


def _from_zero(lines: Iterator[Line], begin: int) -> Iterator[Line]:
    for line in lines:
        line.time -= begin
        if isinstance(line, Message):
            line.sent -= begin
        elif isinstance(line, Span):
            line.start -= begin
        yield line


def _paired(lines: Iterator[Line]) -> Iterator[TraceEvent]:
    """Joins the halves of messages."""
    under_way: dict[_Key, Sent] = {}
    last = 0
    for line in lines:
        last = line.time
        if isinstance(line, Sent):
            under_way[line.call, line.part, line.index, line.target] = line
            continue
        if isinstance(line, Message):
            key = (line.call, line.part, line.index, line.host)
            half = under_way.get(key)
            if line.code in MADE_UP and (half is None or half.code != line.code):
                continue
            if line.code and (asked := under_way.pop((line.call, "request", 0, line.source), None)):
                yield _answered(asked, line.time)
            if half is not None:
                del under_way[key]
                line.sent = half.time
                line.size = line.size or half.size
        elif isinstance(line, HostEvent) and line.name == "crash":
            for key in [key for key in under_way if key[3] == line.host]:
                yield _lost(under_way.pop(key), last, f"{line.host} crashed")
        yield line
    for half in under_way.values():
        yield _lost(half, last, "it had not arrived when the run ended")


def _answered(half: Sent, time: int) -> Message:
    """Returns a request that must have arrived: its receiver was killed before it had written that down."""
    return Message(time, half.target, half.host, half.time, half.call, half.method, half.part, half.size)


def _lost(half: Sent, time: int, why: str) -> Lost:
    return Lost(time, half.target, half.host, half.time, half.call, half.method, half.part, why, half.size)
