"""The ShiViz log parses by ShiViz's default expression, and its vector clocks are right.

The checks are those that ShiViz makes when it loads a log (its `LogParser`, `VectorTimestamp` and
`ModelGraph`): a host's own entry starts at 1 and rises by 1, every entry names an event that is there,
and each clock is what the vector clock algorithm gives.
"""

from __future__ import annotations

import io
import json
import re
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from protos.trace import Log, Lost, Message, Note, TraceEvent
from sim.trace.export import export, shiviz
from tests.trace.story import save, tell

if TYPE_CHECKING:
    from pathlib import Path

DEFAULT = re.compile(r"(?P<host>\S*) (?P<clock>{.*})\n(?P<event>.*)")


def parse(events: list[TraceEvent]) -> list[tuple[str, dict[str, int], str]]:
    file = io.BytesIO()
    shiviz.write(events, file)
    text = file.getvalue().decode()
    found = [(m["host"], json.loads(m["clock"]), m["event"]) for m in DEFAULT.finditer(text)]
    assert DEFAULT.sub("", text).strip() == "", "every line belongs to an event"
    return found


def check(found: list[tuple[str, dict[str, int], str]]) -> dict[tuple[str, int], dict[str, int]]:
    own: dict[str, int] = {}
    clocks: dict[tuple[str, int], dict[str, int]] = {}
    for host, clock, event in found:
        assert event
        assert clock[host] == own.get(host, 0) + 1
        own[host] = clock[host]
        clocks[host, clock[host]] = clock
    for (host, number), clock in clocks.items():
        before = clocks.get((host, number - 1), {})
        for other, count in clock.items():
            assert count >= before.get(other, 0)
            if other != host and count > before.get(other, 0):
                # News of another host came with one of its events, and all that this one knew.
                source = clocks[other, count]
                assert all(clock.get(name, 0) >= known for name, known in source.items())
    return clocks


def test_a_message_orders_its_sending_before_its_receipt() -> None:
    found = parse(
        [Note(1, "a", "start"), Message(9, "b", "a", 5, 1, "/S/M", "request"), Note(10, "b", "end")]
    )
    assert found == [
        ("a", {"a": 1}, "start"),
        ("a", {"a": 2}, "send request /S/M to b"),
        ("b", {"a": 2, "b": 1}, "receive request /S/M from a"),
        ("b", {"a": 2, "b": 2}, "end"),
    ]


def test_an_answer_in_no_time_knows_of_the_question() -> None:
    found = parse(
        [
            Message(5, "b", "a", 0, 1, "/S/M", "request"),
            Message(9, "a", "b", 5, 1, "/S/M", "response", 0, "OK"),
        ]
    )
    assert [clock for _, clock, _ in found] == [
        {"a": 1},
        {"a": 1, "b": 1},
        {"a": 1, "b": 2},
        {"a": 2, "b": 2},
    ]


def test_a_lost_message_is_sent_and_never_received() -> None:
    found = parse([Lost(9, "b", "a", 5, 1, "/S/M", "request", "link cut")])
    assert found == [("a", {"a": 1}, "send request /S/M to b (lost: link cut)")]


def test_names_with_blanks_and_texts_with_newlines_stay_parsable() -> None:
    found = parse([Log(1, "rack 1 host 2", "INFO", "x", "first\nfoo {}\nsecond"), Note(2, "b", "{} {}")])
    assert [(host, event) for host, _, event in found] == [
        ("rack_1_host_2", "INFO first foo {} second"),
        ("b", "{} {}"),
    ]
    check(found)


def test_a_whole_run_is_consistent(tmp_path: Path) -> None:
    story = tell(servers=8, calls=400)
    check(parse(story.events))
    target = export(save(story, tmp_path / "run"), "shiviz")
    assert DEFAULT.match(target.read_text())


TIMES = st.integers(0, 20)
MESSAGES = st.builds(
    lambda source, target, sent, takes: Message(sent + takes, target, source, sent, 1, "/S/M", "request"),
    st.sampled_from("abc"),
    st.sampled_from("abc"),
    TIMES,
    st.integers(0, 9),
)


@settings(max_examples=200)
@given(st.lists(st.one_of(MESSAGES, st.builds(lambda t, h: Note(t, h, "n"), TIMES, st.sampled_from("abc")))))
def test_any_trace_is_consistent(events: list[TraceEvent]) -> None:
    events.sort(key=lambda event: event.time)
    check(parse(events))
