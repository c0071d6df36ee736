"""The log format of ShiViz (bestchai.bitbucket.io/shiviz), with a vector clock on each event.

Each message is two events, its sending and its receipt; notes, log records, spans, host events and
faults are one each. The text is what ShiViz's default regular expression parses:

    (?<host>\\S*) (?<clock>{.*})\\n(?<event>.*)

A vector clock needs each host's events in the order in which they happened, and a message is in
the trace where it arrived: so all events are held in memory and sorted, a few hundred bytes each.
ShiViz itself draws some thousands; use `write` on a part of a longer trace.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, BinaryIO, TypeAlias

import msgspec

from protos.trace import ClockSample, FaultEvent, HostEvent, Log, Lost, Message, Note, Span

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from protos.trace import TraceEvent

Step: TypeAlias = tuple[int, int, int, str, str, int]
"""An event of one host: time, rank among those of the same time, line, host, text, message.

`message` is n for the sending and -n for the receipt of the message on line n, 0 for other events.
"""

BEFORE, AFTER = 0, 1


def write(events: Iterable[TraceEvent], file: BinaryIO) -> None:
    """Writes a trace as a ShiViz log."""
    steps = [step for line, event in enumerate(events, 1) for step in _steps(event, line)]
    steps.sort(key=lambda step: step[:3])  # stable: a sending stays before its receipt
    clocks: dict[str, dict[str, int]] = {}
    under_way: dict[int, dict[str, int]] = {}
    for _, _, _, host, text, message in steps:
        clock = clocks.setdefault(host, {})
        if message < 0:
            for other, count in under_way.pop(-message).items():
                if clock.get(other, 0) < count:
                    clock[other] = count
        clock[host] = clock.get(host, 0) + 1
        if message > 0:
            under_way[message] = dict(clock)
        file.write(f"{host} ".encode() + msgspec.json.encode(clock) + f"\n{text}\n".encode())


def _steps(event: TraceEvent, line: int) -> Iterator[Step]:
    """Yields what an event of the trace is on the lines of hosts.

    At one instant a host first receives and then sends (it answers in no virtual time), except that
    a message which takes no time at all leaves right before it arrives.
    """
    match event:
        case Message():
            what = f"{event.part} {event.method}"
            rank = AFTER if event.sent < event.time else BEFORE
            code = f" {event.code}" if event.code else ""
            yield event.sent, rank, line, _host(event.source), _text(f"send {what} to {event.host}"), line
            yield (
                event.time,
                BEFORE,
                line,
                _host(event.host),
                _text(f"receive {what} from {event.source}{code}"),
                -line,
            )
        case Lost():
            text = f"send {event.part} {event.method} to {event.host} (lost: {event.why})"
            yield event.sent, AFTER, line, _host(event.source), _text(text), 0
        case Span():
            text = f"{event.name} {'done' if event.ok else 'failed'} after {event.time - event.start} ns"
            yield event.time, BEFORE, line, _host(event.host), _text(text), 0
        case Note():
            fields = " ".join(f"{key}={value}" for key, value in event.fields.items())
            yield event.time, BEFORE, line, _host(event.host), _text(f"{event.name} {fields}"), 0
        case Log():
            yield event.time, BEFORE, line, _host(event.host), _text(f"{event.level} {event.message}"), 0
        case HostEvent():
            yield event.time, BEFORE, line, _host(event.host), _text(event.name), 0
        case FaultEvent():
            for host in event.hosts:
                text = f"fault {event.name} {'begins' if event.phase == 'begin' else 'ends'}"
                text = f"fault {event.name}" if event.phase == "once" else text
                yield event.time, BEFORE, line, _host(host), _text(text), 0
        case ClockSample():
            pass  # samples of a clock are no events of a program


def _host(name: str) -> str:
    return re.sub(r"\s", "_", name) or "_"


def _text(text: str) -> str:
    return " ".join(text.split()) or "-"
