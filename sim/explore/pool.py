"""Worker processes that may die: a few of them at once, each with one run at a time.

The standard library's pools give up when a worker is killed; here that is an outcome like any other.
A worker is replaced when it has died, when it had to be ended because its run took too long, and
from time to time because it has grown.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING

import msgspec

from sim.explore.jobs import Job, Outcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from types import TracebackType

RUNS = 200  # a worker makes before it is replaced
MEMORY_MB = 1024  # a worker may have used before it is replaced
LIMIT_S = 600.0  # real seconds of a run that has no limit of its own
GRACE_S = 10.0  # more, for a run to notice its limit by itself, which tells more than a killed process
START_S = 120.0  # for a worker to start, on a machine that has much to do
FAREWELL_S = 6.0  # for a worker to take down what it has started


def limit(job: Job) -> float:
    """Returns the real seconds after which a run is ended from outside."""
    return (LIMIT_S if job.limit_s is None else job.limit_s) + GRACE_S


class Worker:
    """One worker process."""

    def __init__(self) -> None:
        self.stderr = tempfile.TemporaryFile()  # noqa: SIM115 (closed in `end`)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sim.explore.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.stderr,
            bufsize=0,
            start_new_session=True,  # Ctrl-C is for us to pass on
        )
        assert self.process.stdin is not None and self.process.stdout is not None
        self.stdin, self.stdout = self.process.stdin, self.process.stdout
        self.job: Job | None = None
        self.ends = 0.0  # when the run has taken too long
        self.runs = 0
        self._answer = b""

    def begin(self, job: Job) -> None:
        """Hands it a run."""
        self.job = job
        self.runs += 1
        self.ends = time.monotonic() + START_S
        self.stderr.truncate(0)
        with contextlib.suppress(BrokenPipeError):  # it is dead: its end of the other pipe says so too
            self.stdin.write(msgspec.json.encode(job) + b"\n")

    def read(self) -> Outcome | None:
        """Returns the outcome, once it is there whole. Call when its output can be read."""
        data = os.read(self.stdout.fileno(), 1 << 20)
        assert self.job is not None
        if not self._answer and data.startswith(b"\n"):  # it has begun
            self.ends = time.monotonic() + limit(self.job)
            data = data[1:]
            if not data:
                return None
        self._answer += data
        if data and not self._answer.endswith(b"\n"):
            return None
        answer, self._answer = self._answer, b""
        if not data:
            return Outcome(self.job.seed, "error", error=self._epitaph())
        return msgspec.json.decode(answer, type=Outcome)

    def _epitaph(self) -> str:
        status = self.process.wait()
        how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
        self.stderr.seek(0)
        last = self.stderr.read()[-2000:].decode(errors="replace").strip("\0 \n")
        return f"its worker process died: {how}" + (f"\n{last}" if last else "")

    def end(self, *, politely: bool) -> None:
        """Ends it.

        Args:
            politely: let it take down what its run has started.
        """
        self.stdin.close()
        try:
            if politely:
                self.process.wait(FAREWELL_S if self.job is not None else 1.0)
        except subprocess.TimeoutExpired:
            pass
        finally:
            self.process.kill()
            self.process.wait()
            self.stdout.close()
            self.stderr.close()


class Pool:
    """Worker processes, started as they are needed; leave the block to end them.

    Args:
        jobs: how many run at the same time.
    """

    def __init__(self, jobs: int) -> None:
        self._jobs = jobs
        self._idle: list[Worker] = []
        self._busy: dict[int, Worker] = {}  # by the file number of its output
        self._selector = selectors.DefaultSelector()

    def __enter__(self) -> Pool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None
    ) -> None:
        workers = [*self._busy.values(), *self._idle]
        for worker in workers:  # all at once, then one after the other
            worker.stdin.close()
        for worker in workers:
            worker.end(politely=True)
        self._busy.clear()
        self._idle.clear()
        self._selector.close()

    def one(self, job: Job) -> Outcome:
        """Makes a single run."""
        return next(iter(self.run([job])))

    def run(self, jobs: Iterable[Job]) -> Iterator[Outcome]:
        """Makes runs, taking them in order, and yields outcomes as they come."""
        waiting = iter(jobs)
        self._fill(waiting)
        while self._busy:
            for outcome in self._outcomes():
                self._fill(waiting)
                yield outcome

    def drop(self, after: int) -> None:
        """Calls off the runs under way of seeds greater than `after`."""
        for worker in list(self._busy.values()):
            if worker.job is not None and worker.job.seed > after:
                self._release(worker)
                worker.end(politely=worker.job.world != "sim")

    def _fill(self, waiting: Iterator[Job]) -> None:
        while len(self._busy) < self._jobs:
            job = next(waiting, None)
            if job is None:
                return
            worker = self._idle.pop() if self._idle else Worker()
            worker.begin(job)
            self._busy[worker.stdout.fileno()] = worker
            self._selector.register(worker.stdout, selectors.EVENT_READ)

    def _release(self, worker: Worker) -> None:
        self._selector.unregister(worker.stdout)
        del self._busy[worker.stdout.fileno()]

    def _outcomes(self) -> Iterator[Outcome]:
        patience = max(0.0, min(worker.ends for worker in self._busy.values()) - time.monotonic())
        for key, _ in self._selector.select(patience):
            worker = self._busy.get(key.fd)
            if worker is None or worker.stdout is not key.fileobj:
                continue  # dropped by whoever was given the outcome before
            outcome = worker.read()
            if outcome is None:
                continue
            self._release(worker)
            worker.job = None
            if worker.process.poll() is None and worker.runs < RUNS and outcome.memory_mb < MEMORY_MB:
                self._idle.append(worker)
            else:
                worker.end(politely=True)
            yield outcome
        for worker in list(self._busy.values()):
            if time.monotonic() >= worker.ends and worker in self._busy.values():
                job = worker.job
                assert job is not None
                self._release(worker)
                worker.end(politely=job.world != "sim")
                limit = LIMIT_S if job.limit_s is None else job.limit_s
                yield Outcome(
                    job.seed, "error", error=f"it took more than {limit + GRACE_S:g} s and was ended"
                )
