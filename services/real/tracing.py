"""The trace of one real host: what it saw, by the machine's clock.

Of a message a process sees one half. The receiver writes the `Message`, the sender writes to a second
file that it was sent; `sim.trace.join` puts the halves together, and what has no second half was
lost. In the receiver's own file `sent` is exact for the first message of a call, whose metadata carries
the time, and the time of arrival for the others.

Times here are true ones (of the machine), whatever faults make of the host's clock; how far that one
is off is recorded as `ClockSample`s.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from protos.trace import ClockSample, HostEvent, Log, Note, Span
from services.recorder import Recorder

if TYPE_CHECKING:
    from pathlib import Path

    from services.real.clock import SkewedClock

LIMIT = 20_000_000
"""Records after which a host stops recording, and says so in its log: a cluster may live for weeks."""

FLUSH_EVERY = 0.4  # seconds: what a SIGKILL may cost of the trace, besides notes: those are flushed at once


class Sent(Struct, tag_field="kind", tag="sent", omit_defaults=True, gc=False):
    """The sender's half of a `Message`."""

    time: int
    host: str  # the sender
    target: str
    call: int
    method: str
    part: str
    size: int = 0
    code: str = ""
    index: int = 0


class HostTrace:
    """Records what happens on a host.

    Args:
        name: the host.
        folder: where `trace-<incarnation>.jsonl` and `sent-<incarnation>.jsonl` go; None records nothing.
        incarnation: of the host.
        clock: sampled while it is wrong.

    Attributes:
        on: whether anything is recorded.
        write, sent: take a record for either file.
    """

    def __init__(self, name: str, folder: Path | None, incarnation: int, clock: SkewedClock) -> None:
        self._name = name
        self._clock = clock
        self._flusher: asyncio.TimerHandle | None = None
        self._noted = False  # there are notes to flush before the loop goes on waiting
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = 0
        self._sampled = 0
        clock.note, clock.sample = self.note, self.sample_claim
        self.on = folder is not None
        self._events = Recorder(folder / f"trace-{incarnation}.jsonl" if folder is not None else None)
        self._halves = Recorder(folder / f"sent-{incarnation}.jsonl" if folder is not None else None)
        self.write = self._events.write if self.on else _ignore
        self.sent = self._halves.write if self.on else _ignore

    def start(self) -> None:
        """Starts flushing regularly; needs the running loop."""
        if self.on and self._flusher is None:
            self._loop = asyncio.get_running_loop()
            self._thread = threading.get_ident()
            self._flusher = self._loop.call_later(FLUSH_EVERY, self._tick)

    def write_from_anywhere(self, record: Any) -> None:
        """Writes a record from any thread."""
        if self._loop is None or threading.get_ident() == self._thread:
            self.write(record)
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self.write, record)

    def note(self, name: str, fields: dict[str, Any]) -> None:
        """Writes a `Note`, and has it in the file by the end of this turn of the loop.

        What a service says of itself is what checks rest on: a SIGKILL must not take a decision out of it
        of which the others have heard already.

        Raises:
            TypeError: a field is no JSON value.
        """
        _check(fields)
        self.write(Note(time.time_ns(), self._name, name, task_name(), fields))
        if self._loop is not None and not self._noted:
            self._noted = True
            self._loop.call_soon(self._flush_notes)

    def event(self, name: str, incarnation: int, **fields: Any) -> None:
        """Writes a `HostEvent`."""
        self.write(HostEvent(time.time_ns(), self._name, name, incarnation, fields))

    def span(self, name: str, fields: dict[str, Any]) -> _Open:
        """Writes a `Span` when the block ends."""
        return _Open(self, self._name, name, fields)

    def sample_clock(self) -> None:
        """Writes how far the host's wall clock is off, if it is or just was."""
        offset = self._clock.offset_ns
        if offset or self._sampled:
            self.write(ClockSample(time.time_ns(), self._name, offset))
        self._sampled = offset

    def sample_claim(self, bound: int, middle: int) -> None:
        """Writes what the host claims to know of absolute time."""
        self.write(ClockSample(time.time_ns(), self._name, self._clock.offset_ns, bound, middle))

    def flush(self) -> None:
        """Hands everything to the files."""
        if not self.on:
            return
        try:
            self._events.flush()
            self._halves.flush()
        except OSError as exc:
            self._stop(str(exc))

    def _flush_notes(self) -> None:
        self._noted = False
        self.flush()

    def close(self) -> None:
        """Flushes and closes the files."""
        if self._flusher is not None:
            self._flusher.cancel()
        self.flush()
        self._stop("closed")

    def _tick(self) -> None:
        self.sample_clock()
        self.flush()
        if self._events.count + self._halves.count > LIMIT:
            self._stop(f"it holds {LIMIT:,} records")
        self._flusher = asyncio.get_running_loop().call_later(FLUSH_EVERY, self._tick) if self.on else None

    def _stop(self, why: str) -> None:
        self.on = False
        self.write = self.sent = _ignore
        if why != "closed":
            logging.getLogger(__name__).error("the trace of %s ends here: %s", self._name, why)


class _Open:
    """A span that has not ended."""

    __slots__ = ("_fields", "_host", "_name", "_start", "_trace")

    def __init__(self, trace: HostTrace, host: str, name: str, fields: dict[str, Any]) -> None:
        self._trace, self._host, self._name, self._fields = trace, host, name, fields

    def __enter__(self) -> dict[str, Any]:
        self._start = time.time_ns()
        return self._fields

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        fields = self._fields
        _check(fields)
        span = Span(time.time_ns(), self._host, self._name, self._start, task_name(), kind is None, fields)
        self._trace.write(span)


class TraceLog(logging.Handler):
    """Puts the records of `logging` into the trace."""

    def __init__(self, name: str, trace: HostTrace) -> None:
        super().__init__()
        self._host = name
        self._trace = trace

    def emit(self, record: logging.LogRecord) -> None:
        """Writes a `Log`."""
        try:
            message = record.getMessage()
        except Exception:
            self.handleError(record)
            return
        self._trace.write_from_anywhere(
            Log(int(record.created * 1e9), self._host, record.levelname, record.name, message, task_name())
        )


def task_name() -> str:
    """Returns the name of the running task, "" outside of one."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        return ""
    return task.get_name() if task is not None else ""


def first_call_number() -> int:
    """Returns where a host starts counting its calls, so that no two hosts of a cluster meet."""
    return int.from_bytes(os.urandom(3), "big") << 28  # below 2**53, for readers that count in floats


def _check(fields: dict[str, Any]) -> None:
    """Has what cannot be recorded fail where it was said, not when it is written."""
    if fields:
        msgspec.json.encode(fields)


def _ignore(record: Any) -> None:
    """Takes a record when nothing is recorded."""
