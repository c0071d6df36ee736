"""The schema of traces: one JSON object a line, one class below a kind of line.

A trace is written by the simulated world (virtual time, one writer) and by every real node
(wall time, one file a node, joined afterwards); readers need not know which. Times are
integer nanoseconds: since the start of the run in the simulated world and in a joined trace,
since the Unix epoch in the file of a single real node.

`TraceEvent` is the union that `msgspec` decodes a line into.
"""

from __future__ import annotations

from typing import Any, TypeAlias

from msgspec import Struct

Fields: TypeAlias = dict[str, Any]


class Message(Struct, tag_field="kind", tag="message", omit_defaults=True, gc=False):
    """A message that arrived: send and receive in one line, so the pair cannot come apart."""

    time: int  # when the last byte arrived
    host: str  # the receiver
    source: str  # the sender
    sent: int  # when the sender handed it over
    call: int  # joins the messages of one RPC or connection
    method: str  # "/package.Service/Method", or "tcp" for a byte stream
    part: str  # "request", "response", "cancel", "data", ...
    size: int = 0  # bytes of the serialized message
    code: str = ""  # with the last part of a call: its status code
    task: str = ""  # the sending task, where it is known
    index: int = 0  # position among the messages of the same part in a stream


class Lost(Struct, tag_field="kind", tag="lost", omit_defaults=True, gc=False):
    """A message that was sent and will not arrive: a crash, a cut link or the end of the run took it."""

    time: int  # when that was certain
    host: str  # the intended receiver
    source: str
    sent: int
    call: int
    method: str
    part: str
    why: str
    size: int = 0


class Span(Struct, tag_field="kind", tag="span", omit_defaults=True, gc=False):
    """A stretch of work on one host; written when it ends, so `time` is its end."""

    time: int
    host: str
    name: str
    start: int
    task: str = ""
    ok: bool = True  # False: left by an exception, or cut off by a crash
    fields: Fields = {}


class Note(Struct, tag_field="kind", tag="note", omit_defaults=True, gc=False):
    """Something the service or the scenario says of itself: `host.trace("elected", epoch=3)`."""

    time: int
    host: str
    name: str
    task: str = ""
    fields: Fields = {}


class Log(Struct, tag_field="kind", tag="log", omit_defaults=True, gc=False):
    """A record of the standard `logging` module."""

    time: int
    host: str
    level: str
    logger: str
    message: str
    task: str = ""


class HostEvent(Struct, tag_field="kind", tag="host", omit_defaults=True, gc=False):
    """A step in a host's life: boot, crash, exit, pause, resume, restart."""

    time: int
    host: str
    name: str
    incarnation: int = 0
    fields: Fields = {}


class FaultEvent(Struct, tag_field="kind", tag="fault", omit_defaults=True, gc=False):
    """A fault begins (`begin`), ends (`end`), or happens in an instant (`once`)."""

    time: int
    id: int  # joins begin and end
    name: str  # "crash", "partition", ...
    phase: str  # "begin" | "end" | "once"
    hosts: list[str] = []  # those it acts on
    fields: Fields = {}


class ClockSample(Struct, tag_field="kind", tag="clock", omit_defaults=True, gc=False):
    """How far a host's wall clock is from true time, in nanoseconds."""

    time: int
    host: str
    offset: int
    bound: int = -1  # the uncertainty the host claims, where it claims one
    middle: int = 0  # of what it claims: how far that is from true time


TraceEvent: TypeAlias = Message | Lost | Span | Note | Log | HostEvent | FaultEvent | ClockSample
