"""An executable between two streams of bytes: what Hadoop Streaming calls a pipe.

It is fed and drained at once, in blocks, so nothing stands still however it buffers; lines that begin with
"reporter:" on its stderr are for us, all others for the task's log.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import re
import select
import signal
import subprocess
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING

from services.mapreduce.tasks.order import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

BLOCK = 1 << 20  # bytes, as much as a pipe holds on Linux
LONGEST_LINE = 1 << 16  # bytes of stderr that are kept to look for the end of a line
_LAST_LINES = 5  # of stderr, told when it fails
_LOOK_EVERY_MS = 500
_STACK = 256 << 10  # bytes of a thread that moves blocks; the usual 8 MB would count as memory of the task
_PR_SET_PDEATHSIG = 1


class Reporter:
    """What executables say on stderr (`reporter:counter:GROUP,COUNTER,AMOUNT`, `reporter:status:TEXT`).

    Attributes:
        counters: sums, by "GROUP.COUNTER".
        status: the last text.
        last: the last lines that were not for us.
    """

    def __init__(self) -> None:
        self.counters: dict[str, int] = {}
        self.status = ""
        self.last: deque[bytes] = deque(maxlen=_LAST_LINES)

    def hear(self, line: bytes) -> bool:
        """Takes a line of stderr, and says whether it was for us."""
        if line.startswith(b"reporter:status:"):
            self.status = line[16:].decode("utf-8", "replace").strip()
            return True
        if line.startswith(b"reporter:counter:"):
            columns = line[17:].decode("utf-8", "replace").split(",")
            with contextlib.suppress(ValueError):  # what cannot be read is shown in the log, as it is
                group, counter, amount = (column.strip() for column in columns)
                name = f"{group}.{counter}"
                self.counters[name] = self.counters.get(name, 0) + int(amount)
                return True
        if line.strip():
            self.last.append(line.rstrip())
        return False


def pipe(
    what: str,
    command: str,
    source: Iterable[bytes],
    sink: Callable[[bytes], object],
    *,
    environment: Mapping[str, str],
    folder: str | None = None,
    reporter: Reporter,
    tick: Callable[[], object] = lambda: None,
) -> None:
    """Runs a command, feeds it, and takes what it says.

    Args:
        what: "mapper", "combiner" or "reducer", for errors.
        command: for `/bin/sh -c`.
        source: its stdin, in blocks; it need not read all of it.
        sink: gets its stdout, in blocks.
        environment: all of it.
        folder: to run it in.
        reporter: hears its stderr.
        tick: called now and then, about twice a second at least.

    Raises:
        UserError: it could not be started, exited with a status other than 0, or was killed by a signal.
        Exception: what `source` or `sink` raised.
    """
    try:
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,
            env=dict(environment),
            cwd=folder,
            # gRPC, where a process has it, starts threads of its own in a fork, and they may fail before the
            # exec; without a function to call, Python needs no fork.
            preexec_fn=None if "grpc" in sys.modules else _die_with_parent,
        )
    except OSError as exc:
        raise UserError(f"{what} cannot be started: {exc.strerror}: {exc.filename or command}") from None
    assert process.stdin is not None and process.stdout is not None and process.stderr is not None
    for end in (process.stdin, process.stdout):
        with contextlib.suppress(
            OSError, AttributeError
        ):  # a user's pipes are limited, and Linux's alone grow
            fcntl.fcntl(end, fcntl.F_SETPIPE_SZ, BLOCK)
    over = threading.Event()
    trouble: list[BaseException] = []
    feeder = threading.Thread(target=_feed, args=(process, source, over, trouble), daemon=True)
    listener = threading.Thread(target=_listen, args=(process.stderr.fileno(), reporter, over), daemon=True)
    usual = threading.stack_size(_STACK)
    try:
        feeder.start()
        listener.start()
    finally:
        threading.stack_size(usual)
    try:
        stdout = process.stdout.fileno()
        poll = select.poll()
        poll.register(stdout, select.POLLIN)
        while True:
            if poll.poll(_LOOK_EVERY_MS):
                block = os.read(stdout, BLOCK)
                if not block:
                    break
                sink(block)
            tick()
        while True:
            try:
                status = process.wait(_LOOK_EVERY_MS / 1000)
                break
            except subprocess.TimeoutExpired:  # it has closed its stdout, and works on
                tick()
    finally:
        process.kill()
        process.wait()
        over.set()
        feeder.join()
        listener.join()
        for end in (process.stdin, process.stdout, process.stderr):
            with contextlib.suppress(OSError):
                end.close()
    if trouble:
        raise trouble[0]
    if status:
        said = " | ".join(line.decode("utf-8", "replace") for line in reporter.last)
        if status == 1 and not said and re.search(r"\bz?[ef]?grep\b", command):
            said = "grep's word for nothing found; append '|| true' where that is no failure"
        raise UserError(f"{what} {_how(status)}{': ' + said if said else ''}")


def _feed(
    process: subprocess.Popen[bytes],
    source: Iterable[bytes],
    over: threading.Event,
    trouble: list[BaseException],
) -> None:
    assert process.stdin is not None
    stdin = process.stdin.fileno()
    poll = select.poll()
    poll.register(stdin, select.POLLOUT)
    try:
        os.set_blocking(stdin, False)
        for block in source:
            rest = memoryview(block)
            while rest:
                if poll.poll(_LOOK_EVERY_MS):
                    rest = rest[os.write(stdin, rest) :]
                elif over.is_set():  # something that it started still holds the other end
                    return
    except BrokenPipeError:  # it has read as much as it wanted
        pass
    except BaseException as exc:
        trouble.append(exc)
        process.kill()
    finally:
        process.stdin.close()


def _listen(stderr: int, reporter: Reporter, over: threading.Event) -> None:
    poll = select.poll()
    poll.register(stderr, select.POLLIN)
    rest = b""
    while True:
        ended = over.is_set()
        if not poll.poll(0 if ended else _LOOK_EVERY_MS):
            if ended:
                break
            continue
        block = os.read(stderr, LONGEST_LINE)
        if not block:
            break
        lines = (rest + block).split(b"\n")
        rest = lines.pop()
        if len(rest) > LONGEST_LINE:
            lines.append(rest)
            rest = b""
        _log([line for line in lines if not reporter.hear(line)])
    if rest and not reporter.hear(rest):
        _log([rest])


def _log(lines: list[bytes]) -> None:
    if lines:
        sys.stderr.flush()
        with contextlib.suppress(OSError):  # a full disk: the log ends, the task decides for itself
            os.write(2, b"\n".join(lines) + b"\n")


def _how(status: int) -> str:
    number = -status if status < 0 else status - 128  # a shell's word for what a signal killed
    with contextlib.suppress(ValueError):
        if status < 0 or number > 0:
            return f"was killed by {signal.Signals(number).name}"
    return f"exited with status {status}"


_libc = ctypes.CDLL(None)


def _die_with_parent() -> None:
    if sys.platform == "linux":
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
