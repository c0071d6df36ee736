"""The Chrome trace-event format, which Perfetto (ui.perfetto.dev) and chrome://tracing open.

Processes are hosts. A host's threads are: its life (pauses, boots, crashes), its calls (one bar an
RPC, on the caller), its messages (a mark for each sent and received, joined by flow arrows), and one
or more for each of its tasks' spans. Faults are a process of their own, so that they head the page.

Source: "Trace Event Format", Google, and what Perfetto's importer makes of it: thread ids must be
unique across processes, a flow arrow binds to a slice on its thread, slices of a thread must nest.
Memory grows with hosts, tasks and faults, not with events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec
from msgspec import Raw

from protos.trace import (
    ClockSample,
    FaultEvent,
    HostEvent,
    Log,
    Lost,
    Message,
    Note,
    Span,
)
from sim.trace.calls import Call, Calls
from sim.trace.faults import Period, Periods
from sim.trace.lanes import Lanes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from protos.trace import TraceEvent

FAULTS = "faults"
MARK = 1  # ns a message's mark lasts: marks of whole ns either coincide or are apart, so they nest
BATCH = 4096  # events encoded at once


def write(events: Iterable[TraceEvent], file: BinaryIO) -> None:
    """Writes a trace as one JSON object; each event of it on its own line."""
    writer = _Writer(file)
    file.write(b'{"displayTimeUnit":"ns","traceEvents":[\n')
    for event in events:
        writer.see(event)
    writer.finish()
    file.write(b"\n]}\n")


def _us(ns: int) -> Raw:
    """Returns exact microseconds, with the nanoseconds behind the point."""
    sign = "-" if ns < 0 else ""
    whole, part = divmod(abs(ns), 1000)
    return Raw(f"{sign}{whole}.{part:03d}".encode())


class _Writer:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._encode = msgspec.json.Encoder().encode_lines
        self._batch: list[dict[str, Any]] = []
        self._first = True
        self._pids: dict[str, int] = {}
        self._tids: dict[tuple[str, str], int] = {}
        self._lanes: dict[tuple[str, str], Lanes] = {}
        self._calls = Calls()
        self._faults = Periods()
        self._paused: dict[str, int] = {}
        self._flows = 0
        self._end = 0

    def see(self, event: TraceEvent) -> None:
        self._end = max(self._end, event.time)
        match event:
            case Message():
                self._message(event)
            case Lost():
                label = f"{event.part} {event.method} to {event.host}: lost"
                self._mark(event.source, event.sent, label, {"why": event.why, "bytes": event.size})
            case Span():
                self._slice(
                    event.host,
                    f"task {event.task}" if event.task else "spans",
                    event.start,
                    event.time,
                    event.name if event.ok else f"{event.name} (failed)",
                    "span",
                    event.fields | {"ok": event.ok},
                )
            case Note():
                self._instant(event.host, "notes", event.time, event.name, "note", event.fields)
            case Log():
                args = {"logger": event.logger, "level": event.level, "task": event.task}
                self._instant(event.host, "log", event.time, event.message, "log", args)
            case HostEvent():
                self._life(event)
            case FaultEvent():
                self._faults.see(event)
            case ClockSample():
                self._put(
                    "C", event.host, "clock", event.time, "clock offset (ns)", args={"offset": event.offset}
                )
        call = self._calls.see(event)
        if call is not None:
            self._call(call, call.code)

    def finish(self) -> None:
        for call in self._calls.open:
            call.end = self._end
            self._call(call, "no status")
        for host, since in self._paused.items():
            self._slice(host, "life", since, self._end, "paused", "host", {})
        for period in sorted(self._faults.all, key=lambda one: self._until(one)):
            self._fault(period)
        self._flush()

    def _until(self, period: Period) -> int:
        return self._end if period.end is None else period.end

    def _message(self, event: Message) -> None:
        self._flows += 1
        name = f"{event.part} {event.method}"
        args: dict[str, Any] = {"bytes": event.size, "call": event.call}
        if event.code:
            args["code"] = event.code
        self._mark(event.source, event.sent, name, args | {"to": event.host})
        flow = {"id": self._flows}
        self._put("s", event.source, "messages", event.sent, event.method, "message", **flow)
        self._mark(event.host, event.time, name, args | {"from": event.source})
        self._put("f", event.host, "messages", event.time, event.method, "message", bp="e", **flow)

    def _mark(self, host: str, at: int, name: str, args: dict[str, Any]) -> None:
        self._put("X", host, "messages", at, name, "message", dur=_us(MARK), args=args)

    def _call(self, call: Call, code: str) -> None:
        args = {
            "to": call.server,
            "code": code,
            "sent": call.sent,
            "received": call.received,
            "lost": call.lost,
        }
        name = call.method if call.ok else f"{call.method} ({code})"
        self._slice(call.client, "calls", call.start, call.end, name, "call", args)

    def _life(self, event: HostEvent) -> None:
        if event.name == "pause":
            self._paused.setdefault(event.host, event.time)
        else:
            since = self._paused.pop(event.host, None)
            if since is not None:
                self._slice(event.host, "life", since, event.time, "paused", "host", {})
        args = event.fields | {"incarnation": event.incarnation}
        self._instant(event.host, "life", event.time, event.name, "host", args)

    def _fault(self, period: Period) -> None:
        name = " ".join([period.name, *period.hosts[:4], *(["..."] if len(period.hosts) > 4 else [])])
        args = period.fields | {"hosts": period.hosts}
        if period.instant:
            self._instant(FAULTS, FAULTS, period.start, name, "fault", args)
        else:
            self._slice(FAULTS, FAULTS, period.start, self._until(period), name, "fault", args)

    def _slice(
        self, host: str, group: str, start: int, end: int, name: str, category: str, args: dict[str, Any]
    ) -> None:
        lanes = self._lanes.get((host, group))
        if lanes is None:
            lanes = self._lanes[host, group] = Lanes(nest=True)
        lane = lanes.place(start, end)
        thread = group if lane == 0 else f"{group} ({lane + 1})"
        self._put("X", host, thread, start, name, category, dur=_us(end - start), args=args)

    def _instant(
        self, host: str, thread: str, at: int, name: str, category: str, args: dict[str, Any]
    ) -> None:
        self._put("i", host, thread, at, name, category, s="t", args=args)

    def _put(
        self, phase: str, host: str, thread: str, at: int, name: str, category: str = "clock", **more: Any
    ) -> None:
        pid, tid = self._ids(host, thread)
        self._batch.append(
            {"ph": phase, "pid": pid, "tid": tid, "ts": _us(at), "cat": category, "name": name or "-", **more}
        )
        if len(self._batch) >= BATCH:
            self._flush()

    def _ids(self, host: str, thread: str) -> tuple[int, int]:
        tid = self._tids.get((host, thread))
        pid = self._pids.get(host)
        if pid is None:
            pid = self._pids[host] = len(self._pids) + 1
            self._meta("process_name", pid, 0, {"name": host})
            self._meta("process_sort_index", pid, 0, {"sort_index": -1 if host == FAULTS else pid})
        if tid is None:
            tid = self._tids[host, thread] = len(self._tids) + 1
            self._meta("thread_name", pid, tid, {"name": thread})
        return pid, tid

    def _meta(self, name: str, pid: int, tid: int, args: dict[str, Any]) -> None:
        self._batch.append({"ph": "M", "pid": pid, "tid": tid, "ts": 0, "name": name, "args": args})

    def _flush(self) -> None:
        if not self._batch:
            return
        lines = self._encode(self._batch)[:-1]
        self._batch.clear()
        # A newline inside a JSON string is escaped, so every newline here ends an event.
        self._file.write((b"" if self._first else b",\n") + lines.replace(b"\n", b",\n"))
        self._first = False
