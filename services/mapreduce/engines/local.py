"""The engine "local" (4.7): a whole job in this process, one task after the other.

For debuggers and profilers, and small inputs: what map and reduce raise comes out as it was raised, with a
note that says in which task and on which record; a breakpoint stops where it is. `only` runs one task alone.
"""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from protos import mapreduce_pb2 as pb
from services.mapreduce.code import pack, program_of
from services.mapreduce.commit import commit
from services.mapreduce.engines.prepare import prepare
from services.mapreduce.engines.scratch import scratch
from services.mapreduce.job import JobFailed, Result, SpecError, parts_of, reader_of
from services.mapreduce.tasks.intermediate import pairs_of
from services.mapreduce.tasks.map import run_map
from services.mapreduce.tasks.order import STREAMING, Done, InputError, Order, Progress, Skipped, UserError
from services.mapreduce.tasks.reduce import run_reduce
from services.real.shared_folder import SharedFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from services.child import Storage
    from services.files.api import FileSystem
    from services.mapreduce.engines.prepare import Prepared
    from services.mapreduce.job import Spec

_FAILURES_TO_SKIP = 2  # on one record, before it is left out (4.6)
_JOB = "job"


async def run(
    spec: Spec,
    *,
    workers: int = 1,
    progress: Callable[[pb.Progress], None] | None = None,
    only: tuple[Literal["map", "reduce"], int] | None = None,
) -> Result:
    """Runs a job to its end.

    Args:
        spec: what to run, on this machine's files. workers: are not needed. progress: called about twice a
        second. only: run this task alone (before a reduce, all maps). Nothing is written to the output
        folder, which may be there; the result holds the pairs of the task, and its counters.

    Raises:
        SpecError: it cannot be run.
        JobFailed: the input cannot be read.
        Exception: what the user's code raised.
    """
    began = time.monotonic()
    files = SharedFolder("/")
    output = os.path.abspath(spec.output)
    with scratch() as folder, _interruptible():
        inputs = [os.path.abspath(path) for path in spec.paths]
        target = str(folder / "output") if only else output
        prepared = await prepare(replace(spec, inputs=inputs, output=target), files)
        job = _Local(
            prepared, files, await SharedFolder(str(folder)).view(()), await files.view(()), progress
        )
        if only:
            return job.alone(*only, output, began)
        try:
            await files.create(target, exclusive=True)
        except OSError as exc:
            raise SpecError(f"output: {exc.filename}: {exc.strerror}") from None
        try:
            await job.whole()
            await files.remove(f"{target}/.temporary")
            await files.write(f"{target}/_SUCCESS", b"")
        except BaseException:
            shutil.rmtree(target, ignore_errors=True)  # whoever is cancelled may not await
            raise
    return job.result(output, await parts_of(output, files), began)


@contextmanager
def _interruptible() -> Iterator[None]:
    """Within, Ctrl-C ends user code where it is: asyncio's handler waits for an `await`: there is none."""
    usual = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(usual):
        # no thread but the first may, and where it is ignored it stays so
        yield
        return
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, usual)


class Within:
    """`services.child.Inside`, for code that runs in this very process."""

    def __init__(self, disk: Storage, heard: Callable[[Progress], None]) -> None:
        self.disk = disk
        self.tell = heard
        self.clock = time.monotonic

    def log(self, path: str) -> None:
        """Output goes where this process's output goes."""

    def mark(self, number: int) -> None:
        """Nobody could read it after the process's death."""


class _Local:
    def __init__(
        self,
        prepared: Prepared,
        files: FileSystem,
        disk: Storage,
        view: Storage,
        progress: Callable[[pb.Progress], None] | None,
    ) -> None:
        self.spec = prepared.spec
        self.splits = prepared.splits
        self.files = files
        self.disk = disk
        self.view = view
        self.code = pack(self.spec)
        self.reduces = program_of(self.spec).reduces
        self.inside = Within(disk, self._heard)
        self.told = progress
        self.began = time.monotonic()
        self.sums = pb.Progress(
            job=_JOB,
            maps=len(self.splits),
            reduces=self.reduces,
            workers=1,
            total_input_bytes=prepared.total,
        )
        self.skipped: list[str] = []
        self.attempts = 0

    async def whole(self) -> None:
        """Runs all tasks, and commits their output."""
        self._heard(None)
        maps = []
        for number in range(len(self.splits)):
            done = self.map(number)
            maps.append(done)
            self._count(done)
            self.sums.maps_completed += 1
            self.sums.input_bytes += done.input_bytes
            if not self.reduces:
                self.sums.output_bytes += done.output_bytes
            await commit(self.files, self.spec.output, done.outputs)
        self.sums.map_phase_s = time.monotonic() - self.began
        for number in range(self.reduces):
            done = self.reduce(number, maps)
            self._count(done)
            self.sums.reduces_completed += 1
            self.sums.output_bytes += done.output_bytes
            await commit(self.files, self.spec.output, done.outputs)
        self.sums.state = pb.Progress.DONE
        self._heard(None)

    def alone(self, kind: str, number: int, output: str, began: float) -> Result:
        """Runs one task, and returns its pairs."""
        tasks = len(self.splits) if kind == "map" else self.reduces
        if kind not in ("map", "reduce") or not 0 <= number < tasks:
            raise SpecError(f"only: there is no {kind} task {number}; there are {tasks} of them")
        read = reader_of(self.spec, self.view)
        maps = [self.map(n) for n in (range(len(self.splits)) if kind == "reduce" else [number])]
        self.sums.input_bytes = sum(done.input_bytes for done in maps)
        self.sums.map_phase_s = time.monotonic() - self.began
        if kind == "map":
            done = maps[0]
        else:
            done = self.reduce(number, maps)
            self.sums.output_bytes = done.output_bytes
        if kind == "map" and self.reduces:
            streaming = self.code[0].startswith(STREAMING)
            pairs = _all(lambda: pairs_of(done.path, self.disk, program_of(self.spec), streaming))
            self.sums.intermediate_bytes = self.disk.size(done.path)
        else:
            pairs = _all(lambda: read(done.path))
        self._count(done)
        result = self.result(output, [f"{kind} {number}"], began)
        result.maps, result.reduces = len(maps), int(kind == "reduce")
        result.reader = lambda _: pairs()
        return result

    def map(self, number: int) -> Done:
        """Runs a map task."""
        return self._run("map", run_map, number, split=self.splits[number])

    def reduce(self, number: int, maps: list[Done]) -> Done:
        """Runs a reduce task on its regions of these maps."""
        segment = f"{_JOB}/reduce-{number:05}.segment"
        with self.disk.open(segment, "wb") as file:
            for done in maps:
                start, end = done.offsets[number : number + 2]
                if start < end:
                    with self.disk.open(done.path) as source:
                        source.seek(start)
                        while start < end and (data := source.read(min(1 << 20, end - start))):
                            file.write(data)
                            start += len(data)
        self.sums.intermediate_bytes += self.disk.size(segment)
        done = self._run("reduce", run_reduce, number, segments=(segment,))
        self.disk.remove(segment)
        return done

    def _run(
        self,
        kind: str,
        run: Callable[[Any, Order, Storage], Done],
        number: int,
        **more: Any,
    ) -> Done:
        failures: dict[int, int] = {}
        while True:
            self.attempts += 1
            self.sums.executions += 1
            order = Order(
                job=_JOB,
                code=self.code,
                number=number,
                attempt=self.attempts,
                reduces=self.reduces,
                maps=len(self.splits),
                output=self.spec.output,
                skip=tuple(n for n, times in sorted(failures.items()) if times >= _FAILURES_TO_SKIP),
                memory_bytes=self.spec.memory,
                settings=self.spec.settings,
                **more,
            )
            try:
                done = run(self.inside, order, self.view)
            except UserError as exc:
                if self.spec.skip_bad_records and exc.number >= 0 and exc.number not in order.skip:
                    failures[exc.number] = failures.get(exc.number, 0) + 1
                    continue
                cause = exc.__cause__
                if isinstance(cause, Exception):
                    where = f", record {exc.number} ({exc.where})" if exc.number >= 0 else ""
                    cause.add_note(f"in {kind} task {number}{where}")
                    raise cause from None
                raise JobFailed(f"{kind} task {number}: {exc}") from None
            except InputError as exc:
                raise JobFailed(f"{kind} task {number}: {exc}") from None
            self.skipped += [f"{kind} {number}: {record.where}" for record in done.skipped]
            return done

    def _count(self, done: Done) -> None:
        values = self.sums.counters.values
        for name, amount in done.counters.items():
            values[name] = values.get(name, 0) + amount

    def _heard(self, progress: Progress | None) -> None:
        if self.told is None:
            return
        report = pb.Progress()
        report.CopyFrom(self.sums)
        report.elapsed_s = time.monotonic() - self.began
        if progress is not None:
            if self.sums.maps_completed < self.sums.maps:
                report.maps_running = 1
                report.input_bytes += progress.input_bytes
            else:
                report.reduces_running = 1
                report.output_bytes += progress.output_bytes
            for name, amount in progress.counters.items():
                report.counters.values[name] = report.counters.values.get(name, 0) + amount
        self.told(report)

    def result(self, output: str, parts: list[str], began: float) -> Result:
        """Returns what was done."""
        sums = self.sums
        now = time.monotonic()
        return Result(
            output=output,
            parts=parts,
            counters=dict(sorted(sums.counters.values.items())),
            seconds=now - began,
            phases={"map": sums.map_phase_s, "reduce": now - self.began - sums.map_phase_s},
            bytes={
                "input": sums.input_bytes,
                "intermediate": sums.intermediate_bytes,
                "output": sums.output_bytes,
            },
            skipped=self.skipped,
            maps=len(self.splits),
            reduces=self.reduces,
            reader=reader_of(self.spec, self.view),
        )


def _all(source: Callable[[], Iterator[tuple[Any, Any]]]) -> Callable[[], Iterator[tuple[Any, Any]]]:
    """Reads what will soon be gone; an output type that cannot be read says so when somebody wants to."""
    try:
        pairs = list(source())
    except TypeError as exc:
        unreadable = exc

        def refuse() -> Iterator[tuple[Any, Any]]:
            raise unreadable

        return refuse
    return lambda: iter(pairs)


__all__ = ["Skipped", "run"]
