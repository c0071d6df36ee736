"""One trace out of those of the nodes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from protos.trace import FaultEvent, HostEvent, Lost, Message, Note, Span, TraceEvent
from services.real.tracing import Sent
from sim.trace.join import join_traces, joined
from sim.trace.read import Records

T = 1_700_000_000_000_000_000


def write(path: Path, *records: Any, cut: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = b"".join(msgspec.json.encode(record) + b"\n" for record in records)
    path.write_bytes(data[:-9] if cut else data)


def test_halves_become_messages_and_what_has_none_is_lost(tmp_path: Path) -> None:
    a, b = tmp_path / "nodes" / "a", tmp_path / "nodes" / "b"
    write(
        a / "sent-0.jsonl",
        Sent(T + 10, "a", "b", 1, "/S/M", "request", 7),
        Sent(T + 40, "a", "b", 2, "/S/M", "request", 8),
        Sent(T + 90, "a", "b", 3, "/S/M", "request", 9),
    )
    write(b / "trace-0.jsonl", Message(T + 15, "b", "a", T + 15, 1, "/S/M", "request"))
    write(b / "sent-0.jsonl", Sent(T + 20, "b", "a", 1, "/S/M", "response", 0, "OK"))
    write(
        a / "trace-0.jsonl",
        HostEvent(T, "a", "boot"),
        Message(T + 26, "a", "b", T + 26, 1, "/S/M", "response", 5, "OK"),
        Span(T + 30, "a", "work", T + 5),
    )
    write(
        tmp_path / "faults.jsonl",
        FaultEvent(T + 50, 1, "crash", "begin", ["b"]),
        HostEvent(T + 51, "b", "crash"),
    )
    events = list(joined(tmp_path))
    assert [event.time for event in events] == [0, 15, 26, 30, 50, 51, 51, 90]
    assert events[1] == Message(15, "b", "a", 10, 1, "/S/M", "request", 7)
    assert events[2] == Message(26, "a", "b", 20, 1, "/S/M", "response", 5, "OK")
    assert events[3] == Span(30, "a", "work", 5)
    assert events[5] == Lost(51, "b", "a", 40, 2, "/S/M", "request", "b crashed", 8)
    assert events[7] == Lost(
        90, "b", "a", 90, 3, "/S/M", "request", "it had not arrived when the run ended", 9
    )


def test_an_error_that_the_callers_side_made_up_is_no_message(tmp_path: Path) -> None:
    a, b = tmp_path / "nodes" / "a", tmp_path / "nodes" / "b"
    write(
        a / "trace-0.jsonl",
        Message(T + 5, "a", "b", T + 5, 1, "/S/M", "response", 0, "UNAVAILABLE"),
        Message(T + 15, "a", "b", T + 15, 2, "/S/M", "response", 0, "UNAVAILABLE"),
        Message(T + 25, "a", "b", T + 25, 3, "/S/M", "response", 0, "UNAVAILABLE"),
    )
    write(
        b / "sent-0.jsonl",
        Sent(T + 12, "b", "a", 2, "/S/M", "response", 0, "UNAVAILABLE"),
        Sent(T + 22, "b", "a", 3, "/S/M", "response", 0, "OK"),
    )
    said, lost = joined(tmp_path, T)
    assert said == Message(15, "a", "b", 12, 2, "/S/M", "response", 0, "UNAVAILABLE")
    assert isinstance(lost, Lost) and lost.call == 3  # the answer that the caller never heard


def test_what_was_answered_had_arrived_even_if_its_receiver_did_not_live_to_write_that_down(
    tmp_path: Path,
) -> None:
    write(tmp_path / "nodes" / "a" / "sent-0.jsonl", Sent(T + 10, "a", "b", 1, "/S/M", "request", 7))
    write(
        tmp_path / "nodes" / "a" / "trace-0.jsonl",
        Message(T + 26, "a", "b", T + 26, 1, "/S/M", "response", 5, "OK"),
    )
    write(tmp_path / "faults.jsonl", HostEvent(T + 51, "b", "crash"))
    assert list(joined(tmp_path, T)) == [
        Message(26, "b", "a", 10, 1, "/S/M", "request", 7),
        Message(26, "a", "b", 26, 1, "/S/M", "response", 5, "OK"),
        HostEvent(51, "b", "crash"),
    ]


def test_times_count_from_the_start_that_is_given_and_own_records_fit_in(tmp_path: Path) -> None:
    write(tmp_path / "nodes" / "a" / "trace-0.jsonl", HostEvent(T + 5, "a", "boot"), Note(T + 9, "a", "x"))
    mine = [Note(1, "scenario", "first"), Note(7, "scenario", "middle")]
    output = tmp_path / "trace.jsonl"
    assert join_traces(tmp_path, output, start=T, more=mine) == 4
    read = list(Records[Any](output, TraceEvent))
    assert [(event.time, event.name) for event in read] == [
        (1, "first"),
        (5, "boot"),
        (7, "middle"),
        (9, "x"),
    ]


def test_the_end_that_a_killed_node_did_not_finish_is_left_out(tmp_path: Path) -> None:
    write(
        tmp_path / "nodes" / "a" / "trace-0.jsonl", HostEvent(T, "a", "boot"), Note(T + 9, "a", "x"), cut=True
    )
    write(tmp_path / "nodes" / "a" / "trace-1.jsonl", HostEvent(T + 20, "a", "restart", 1))
    assert [event.time for event in joined(tmp_path)] == [0, 20]


def test_a_cluster_that_left_nothing_has_an_empty_trace(tmp_path: Path) -> None:
    assert list(joined(tmp_path)) == []
