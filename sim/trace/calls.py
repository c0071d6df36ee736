"""Puts the messages of a trace together into RPCs, while it streams by.

A message record is one message; what people ask about is the call: who asked whom, how long it
took from the first request sent to the last response received, and how it ended. Only calls that
are open are remembered.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, TypeAlias

from msgspec import Struct

from protos.trace import Lost, Message

if TYPE_CHECKING:
    from collections.abc import Iterator

    from protos.trace import TraceEvent

BYTE_STREAM = "tcp"  # the `method` of messages that are no RPC
OPEN_LIMIT = 100_000  # open calls remembered; the oldest are given up beyond that


class Call(Struct):
    """One RPC as the trace saw it.

    Attributes:
        number: the `call` of its messages.
        client, server: hosts.
        start: ns at which the first message was sent.
        end: ns at which the last message arrived or was lost.
        code: the status code; "given up" when the caller cancelled the call or let its deadline pass;
            "" while there is none.
        sent, received: bytes of requests and of responses that arrived.
        lost: messages of it that never arrived.
    """

    number: int
    client: str
    server: str
    method: str
    start: int
    end: int
    code: str = ""
    sent: int = 0
    received: int = 0
    lost: int = 0

    @property
    def latency(self) -> int:
        """Nanoseconds from first request sent to last response received."""
        return self.end - self.start

    @property
    def ok(self) -> bool:
        """It ended with status OK."""
        return self.code in OK_CODES


ANSWERS = ("response", "status")  # parts that travel from server to client
HEADERS = "headers"  # metadata before the first message, from either side
GIVEN_UP = "given up"
OK_CODES = ("OK", "0", "StatusCode.OK")
Key: TypeAlias = tuple[int, str, str]


class Calls:
    """Collects messages into calls.

    Feed it the events in their order; `see` returns a call at the message that ends it: the one that
    carries its status code, or the caller's `cancel`; `open` gives those that have not ended. (Call
    numbers are unique within a run of the simulated world; a joined trace of real nodes may use one on
    several hosts, so the two ends count too.)
    """

    def __init__(self) -> None:
        self._open: OrderedDict[Key, Call] = OrderedDict()

    def see(self, event: TraceEvent) -> Call | None:
        """Takes the next event; returns the call that it completes, if it completes one."""
        if not isinstance(event, (Message, Lost)) or event.method == BYTE_STREAM or event.part == HEADERS:
            return None
        answer = event.part in ANSWERS
        client, server = (event.host, event.source) if answer else (event.source, event.host)
        key = (event.call, client, server)
        call = self._open.get(key)
        if call is None:
            if event.part != "request" or (isinstance(event, Message) and event.index):
                return None  # a straggler of a call that has ended
            call = Call(event.call, client, server, event.method, event.sent, event.time)
            if len(self._open) >= OPEN_LIMIT:
                self._open.popitem(last=False)
            self._open[key] = call
        call.start = min(call.start, event.sent)
        if event.part == "cancel":
            call.end = event.sent  # then the caller had done with it
            call.code = GIVEN_UP
            del self._open[key]
            return call
        call.end = max(call.end, event.time)
        if isinstance(event, Lost):
            call.lost += 1
            return None
        if answer:
            call.received += event.size
        else:
            call.sent += event.size
        if not event.code:
            return None
        call.code = event.code
        del self._open[key]
        return call

    @property
    def open(self) -> Iterator[Call]:
        """Calls whose status the client has not got, in the order in which they began to show."""
        return iter(self._open.values())
