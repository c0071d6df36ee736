"""Messages become calls: who asked whom, how long it took, how it ended."""

from __future__ import annotations

from protos.trace import Lost, Message, TraceEvent
from sim.trace.calls import Call, Calls

METHOD = "/lab.Store/Put"


def request(sent: int, time: int, call: int = 1, client: str = "c") -> Message:
    return Message(time, "s", client, sent, call, METHOD, "request", 10)


def response(sent: int, time: int, code: str = "", call: int = 1, client: str = "c") -> Message:
    return Message(time, client, "s", sent, call, METHOD, "response", 100, code)


def collect(*events: TraceEvent) -> tuple[list[Call], list[Call]]:
    calls = Calls()
    done = [call for event in events if (call := calls.see(event)) is not None]
    return done, list(calls.open)


def test_a_call_lasts_from_its_first_request_sent_to_its_last_response_received() -> None:
    done, still_open = collect(
        request(5, 10), request(7, 12), response(20, 25), response(21, 30), response(22, 40, "OK")
    )
    assert done == [Call(1, "c", "s", METHOD, 5, 40, "OK", sent=20, received=300)]
    assert done[0].latency == 35
    assert done[0].ok
    assert still_open == []


def test_calls_of_many_clients_are_kept_apart_even_with_one_number() -> None:
    done, _ = collect(
        request(0, 1, client="a"),
        request(0, 2, client="b"),
        response(3, 4, "OK", client="b"),
        response(3, 5, "OK", client="a"),
    )
    assert [(call.client, call.latency) for call in done] == [("b", 4), ("a", 5)]


def test_a_call_whose_request_was_lost_stays_open() -> None:
    done, still_open = collect(Lost(9, "s", "c", 5, 1, METHOD, "request", "link cut"))
    assert done == []
    assert [(call.client, call.server, call.lost) for call in still_open] == [("c", "s", 1)]


def test_an_error_ends_a_call_and_is_not_ok() -> None:
    done, _ = collect(request(0, 1), response(1, 2, "NOT_FOUND"))
    assert [(call.code, call.ok) for call in done] == [("NOT_FOUND", False)]


def test_a_response_that_straggles_in_after_the_end_opens_no_new_call() -> None:
    done, still_open = collect(request(0, 1), response(1, 2, "OK"), response(1, 3))
    assert len(done) == 1
    assert still_open == []


def test_a_call_that_the_caller_cancels_lasts_until_then() -> None:
    done, still_open = collect(
        request(0, 1), Message(9, "s", "c", 5, 1, METHOD, "cancel"), response(6, 10, "OK"), request(5, 20)
    )
    assert [(call.code, call.latency, call.ok) for call in done] == [("given up", 5, False)]
    assert len(still_open) == 1


def test_a_stream_ends_with_its_status() -> None:
    done, still_open = collect(
        request(0, 1),
        Message(2, "s", "c", 1, 1, METHOD, "end"),
        Message(3, "c", "s", 2, 1, METHOD, "headers"),
        response(3, 4),
        Message(6, "c", "s", 5, 1, METHOD, "status", 0, "OUT_OF_RANGE"),
    )
    assert [(call.code, call.latency, call.received) for call in done] == [("OUT_OF_RANGE", 6, 100)]
    assert still_open == []


def test_byte_streams_are_no_calls() -> None:
    done, still_open = collect(Message(1, "s", "c", 0, 1, "tcp", "data", 10))
    assert done == still_open == []
