"""The Perfetto export is valid by the trace-event format, strictly read.

The rules are those of the document "Trace Event Format" (Google) and of Perfetto's JSON importer:
which fields each phase must have and of what type; that slices of a thread nest; that a flow has one
start and one end, of the same category, name and id, the end not before the start, each lying in a
slice of its thread; that processes and threads are named once, and thread ids are not shared.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from protos.trace import FaultEvent, HostEvent, Message, Note, Span, TraceEvent
from sim.trace.export import export, perfetto
from sim.trace.read import TraceError
from tests.trace.story import save, tell

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Event = dict[str, Any]
COMMON = {"ph", "pid", "tid", "ts", "name"}
PHASES: dict[str, tuple[set[str], set[str]]] = {  # required and permitted beyond the common ones
    "X": ({"dur", "cat"}, {"args"}),
    "i": ({"s", "cat"}, {"args"}),
    "C": ({"args"}, {"cat"}),
    "s": ({"id", "cat"}, {"args"}),
    "f": ({"id", "cat", "bp"}, {"args"}),
    "M": ({"args"}, {"cat"}),
}
METADATA = {"process_name": "name", "thread_name": "name", "process_sort_index": "sort_index"}


def written(events: list[TraceEvent]) -> list[Event]:
    file = io.BytesIO()
    perfetto.write(events, file)
    return parse(file.getvalue())


def parse(data: bytes) -> list[Event]:
    whole = json.loads(data, parse_float=Decimal)
    assert set(whole) == {"traceEvents", "displayTimeUnit"}
    assert whole["displayTimeUnit"] in ("ms", "ns")
    found: list[Event] = whole["traceEvents"]
    return found


def validate(events: list[Event]) -> None:
    for event in events:
        _fields(event)
    _names(events)
    slices = _slices(events)
    _flows(events, slices)


def _fields(event: Event) -> None:
    assert event["ph"] in PHASES, event
    required, permitted = PHASES[event["ph"]]
    assert COMMON | required <= set(event) <= COMMON | required | permitted, event
    assert isinstance(event["name"], str) and event["name"], event
    assert isinstance(event["pid"], int) and isinstance(event["tid"], int), event
    assert isinstance(event["ts"], (int, Decimal)), event
    assert Decimal(event["ts"]) * 1000 == int(Decimal(event["ts"]) * 1000), "exact to the nanosecond"
    assert isinstance(event.get("cat", ""), str)
    assert isinstance(event.get("args", {}), dict)
    match event["ph"]:
        case "X":
            assert event["dur"] >= 0, event
        case "i":
            assert event["s"] in ("g", "p", "t"), event
        case "C":
            assert event["args"] and all(
                isinstance(value, (int, Decimal)) for value in event["args"].values()
            )
        case "f":
            assert event["bp"] == "e", event
        case "M":
            assert METADATA[event["name"]] in event["args"], event


def _names(events: list[Event]) -> None:
    processes: dict[int, str] = {}
    threads: dict[int, int] = {}
    for event in events:
        if event["ph"] == "M":
            if event["name"] == "process_name":
                assert event["pid"] not in processes, "named twice"
                assert event["args"]["name"] not in processes.values(), "two processes of one name"
                processes[event["pid"]] = event["args"]["name"]
            elif event["name"] == "thread_name":
                assert event["tid"] not in threads, "named twice"
                threads[event["tid"]] = event["pid"]
        else:
            assert event["pid"] in processes
            assert threads[event["tid"]] == event["pid"], "a thread id belongs to one process"


def _slices(events: list[Event]) -> dict[int, list[tuple[Decimal, Decimal]]]:
    slices: dict[int, list[tuple[Decimal, Decimal]]] = {}
    for event in events:
        if event["ph"] == "X":
            start = Decimal(event["ts"])
            slices.setdefault(event["tid"], []).append((start, start + Decimal(event["dur"])))
    for found in slices.values():
        found.sort(key=lambda one: (one[0], -one[1]))
        stack: list[Decimal] = []
        for start, end in found:
            while stack and stack[-1] <= start:
                stack.pop()
            assert not stack or end <= stack[-1], "slices of a thread must nest"
            stack.append(end)
    return slices


def _flows(events: list[Event], slices: dict[int, list[tuple[Decimal, Decimal]]]) -> None:
    covered = {tid: set(found) for tid, found in slices.items()}
    starts = {(e["cat"], e["name"], e["id"]): e for e in events if e["ph"] == "s"}
    ends = {(e["cat"], e["name"], e["id"]): e for e in events if e["ph"] == "f"}
    assert len(starts) == sum(e["ph"] == "s" for e in events), "an id is used once"
    assert len(ends) == sum(e["ph"] == "f" for e in events)
    assert starts.keys() == ends.keys()
    for key, start in starts.items():
        assert Decimal(start["ts"]) <= Decimal(ends[key]["ts"])
        for one in (start, ends[key]):
            at = Decimal(one["ts"])
            assert (at, at + Decimal("0.001")) in covered[one["tid"]], "an arrow binds to a slice"


def named(events: list[Event], pid_name: str) -> Iterator[Event]:
    pids = {e["args"]["name"]: e["pid"] for e in events if e["name"] == "process_name"}
    yield from (event for event in events if event["pid"] == pids.get(pid_name))


def test_a_whole_run_is_valid(tmp_path: Path) -> None:
    target = export(save(tell(servers=6, calls=800), tmp_path / "run"), "perfetto")
    events = parse(target.read_bytes())
    validate(events)
    assert not list(tmp_path.rglob("*.part"))


def test_an_empty_trace_is_valid() -> None:
    assert written([]) == []


def test_each_message_is_an_arrow_between_its_hosts() -> None:
    events = written([Message(2_500, "b", "a", 1_000, 1, "/S/M", "request", 7)])
    validate(events)
    names = {e["pid"]: e["args"]["name"] for e in events if e["name"] == "process_name"}
    ends = [(e["ph"], names[e["pid"]], float(e["ts"])) for e in events if e["ph"] in "sf"]
    assert ends == [("s", "a", 1.0), ("f", "b", 2.5)]


def test_spans_of_a_task_that_overlap_get_lanes() -> None:
    spans: list[TraceEvent] = [
        Span(10, "a", "one", 0, "t"),
        Span(15, "a", "two", 5, "t"),
        Span(20, "a", "outer", 0, "u", ok=False),
    ]
    events = written(spans)
    validate(events)
    threads = [e["args"]["name"] for e in events if e["name"] == "thread_name"]
    assert threads == ["task t", "task t (2)", "task u"]
    assert "outer (failed)" in [e["name"] for e in events]


def test_faults_have_a_track_of_their_own_and_last_to_the_end() -> None:
    events = written(
        [
            FaultEvent(1_000, 1, "partition", "begin", ["a", "b"], {"groups": [["a"], ["b"]]}),
            FaultEvent(2_000, 2, "clock-jump", "once", ["a"]),
            Note(9_000, "a", "still going"),
        ]
    )
    validate(events)
    faults = [(e["ph"], e["name"], float(e["ts"])) for e in named(events, "faults") if e["ph"] != "M"]
    assert sorted(faults) == [("X", "partition a b", 1.0), ("i", "clock-jump a", 2.0)]
    assert [float(e["dur"]) for e in events if e["ph"] == "X"] == [8.0]


def test_a_pause_is_a_slice_and_a_crash_a_mark() -> None:
    events = written(
        [
            HostEvent(0, "a", "boot"),
            HostEvent(1_000, "a", "pause"),
            HostEvent(4_000, "a", "crash"),
            Note(5_000, "b", "x"),
        ]
    )
    validate(events)
    life = [(e["ph"], e["name"]) for e in named(events, "a") if e["ph"] != "M"]
    assert life == [("i", "boot"), ("i", "pause"), ("X", "paused"), ("i", "crash")]


def test_times_are_exact_after_days() -> None:
    at = 86_400 * 30 * 10**9 + 123_456_789
    events = written([Note(at, "a", "late")])
    assert [e["ts"] * 1000 for e in events if e["ph"] == "i"] == [at]


def test_calls_without_an_answer_last_to_the_end() -> None:
    events = written([Message(2_000, "b", "a", 1_000, 1, "/S/M", "request"), Note(9_000, "a", "end")])
    validate(events)
    assert [float(e["dur"]) for e in events if e["name"] == "/S/M (no status)"] == [8.0]


def test_memory_does_not_grow_with_the_trace(tmp_path: Path) -> None:
    folders = [save(tell(calls=calls), tmp_path / str(calls)) for calls in (1_500, 15_000)]
    peaks = []
    for folder in folders:
        told = subprocess.run([sys.executable, "-c", EXPORT, folder], check=True, capture_output=True)
        peaks.append(int(told.stdout) / 1024)
    trace = (folders[1] / "trace.jsonl").stat().st_size / 2**20
    assert trace > 5  # and some 30 as objects
    assert peaks[1] < peaks[0] + 5, f"{peaks} MiB, for a trace of {trace:.0f} MiB"


EXPORT = """
import resource, sys
from pathlib import Path
from sim.trace.export import export
export(Path(sys.argv[1]), "perfetto")
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def test_an_unknown_format_is_named(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="no export format 'jaeger'; there are: perfetto, shiviz"):
        export(tmp_path, "jaeger")


def test_a_damaged_trace_leaves_no_export(tmp_path: Path) -> None:
    folder = save(tell(), tmp_path / "run")
    (folder / "trace.jsonl").write_bytes(b"rubbish\n")
    with pytest.raises(TraceError, match=r"trace\.jsonl, line 1"):
        export(folder, "perfetto")
    assert not list(folder.glob("perfetto*"))
