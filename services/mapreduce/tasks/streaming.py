"""Streaming: any executables as mapper, combiner and reducer, with the contract of Hadoop Streaming.

A mapper reads lines on stdin and writes lines on stdout; up to its first tab a line is the key (without
one, all of it), and the reducer reads them sorted by key. They are bytes to us from end to end (see
`line_runs.py`). A mapper is started once for each file in the split, so that `mapreduce_map_input_file`
says the truth.

    spec = streaming.spec(mapper="tr -s ' ' '\\n'", reducer="uniq -c", inputs="texts", output="counts")
"""

from __future__ import annotations

import contextlib
import os
import zlib
from typing import TYPE_CHECKING, Any

from services.mapreduce import counters
from services.mapreduce.inputs import READ_ERRORS, line_blocks
from services.mapreduce.job import Job, Spec, SpecError
from services.mapreduce.tasks import line_runs
from services.mapreduce.tasks.executable import Reporter, pipe
from services.mapreduce.tasks.hadoop import environment
from services.mapreduce.tasks.line_runs import Lines
from services.mapreduce.tasks.order import STREAMING, Done, InputError, Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import BinaryIO

    from services.child import Inside, Storage
    from services.files.api import Range
    from services.mapreduce.tasks.line_runs import Run
    from services.mapreduce.tasks.order import Order

MAPPER, COMBINER, REDUCER, FOLDER = (
    f"streaming.{what}" for what in ("mapper", "combiner", "reducer", "folder")
)
"""Settings: commands for `/bin/sh -c`, and the folder to run them in."""

SHARE = 0.4  # of the process's memory that lines may take
WITHOUT_LIMIT = 256 << 20  # bytes that they may take when the process has no limit
COMBINE_AGAIN = 3  # spills, as in Hadoop
PIECE = 1 << 17  # bytes of output taken at a time: short lines take many times that in memory
_TELL_EVERY = 0.5  # seconds


class Streaming(Job):
    """The job of every streaming specification: its commands, in the settings, do what its methods would."""

    def map(self, key: int, value: bytes) -> Iterator[tuple[bytes, bytes]]:
        """Is the mapper's."""
        raise NotImplementedError

    def reduce(self, key: bytes, values: Iterator[bytes]) -> Iterator[bytes]:
        """Is the reducer's."""
        raise NotImplementedError


def spec(mapper: str, reducer: str = "", combiner: str = "", folder: str = "", **more: Any) -> Spec:
    """Returns the specification of a streaming job.

    Args:
        mapper, reducer, combiner: commands for `/bin/sh -c`; without a reducer, map's output is the job's.
        folder: to run them in; "": the current one.
        more: of `Spec`.

    Raises:
        SpecError: commands and R do not fit each other.
    """
    reduces = more.pop("reduces", None)
    if reduces is None:
        reduces = 1 if reducer else 0
    if reduces and not reducer:
        raise SpecError(f"{reduces} reduces need a reducer (cat passes its input on)")
    if combiner and not reduces:
        raise SpecError("a combiner needs a reducer")
    if more.get("skip_bad_records"):
        raise SpecError("a streaming job cannot skip bad records: only its executables know where they are")
    commands = {MAPPER: mapper, REDUCER: reducer, COMBINER: combiner, FOLDER: folder or os.getcwd()}
    settings = {**more.pop("settings", {}), **{name: text for name, text in commands.items() if text}}
    return Spec(STREAMING, reduces=reduces, settings=settings, **more)


def run_map(inside: Inside, order: Order, view: Storage) -> Done:
    """Runs a map task; see `order.py`."""
    task = _Task(inside, order, "mapper")
    task.total_bytes = sum(max(0, piece.size) for piece in order.split)
    if not order.reduces:
        with task.writing_part(view) as (file, outputs):
            for piece in order.split:
                task.execute("mapper", task.reading(view, piece), file.write, piece)
        return task.done(outputs[-1][0], outputs=outputs)
    spills = _Spills(task)
    try:
        for piece in order.split:
            task.execute("mapper", task.reading(view, piece), spills.add, piece)
            spills.lines.end()
        path, offsets = spills.end()
    except BaseException:
        spills.abandon()
        raise
    return task.done(path, offsets=offsets)


def run_reduce(inside: Inside, order: Order, view: Storage) -> Done:
    """Runs a reduce task; see `order.py`."""
    task = _Task(inside, order, "reducer")
    with contextlib.ExitStack() as files:
        runs: list[Run] = []
        for path in order.segments:
            file = files.enter_context(inside.disk.open(path, buffering=0))
            runs += line_runs.runs_of(file, 0, inside.disk.size(path))
        task.total_bytes = sum(run.size for run in runs)
        merged = _merged(task, runs, files)
        with task.writing_part(view) as (output, outputs):
            task.execute("reducer", task.counting(merged), output.write)
    return task.done(outputs[-1][0], outputs=outputs)


class _Task:
    """A task under way: its executables, its counters, what it tells."""

    def __init__(self, inside: Inside, order: Order, what: str) -> None:
        self.disk = inside.disk
        self.order = order
        self.memory = int(order.memory_bytes * SHARE) or WITHOUT_LIMIT
        self.total_bytes = 0
        self._what = what
        self._names = (
            (counters.MAP_IN, counters.MAP_OUT)
            if what == "mapper"
            else (counters.REDUCE_IN, counters.REDUCE_OUT)
        )
        self._inside = inside
        self._reporter = Reporter()
        self._input_bytes = self._output_bytes = self._records_in = self._records_out = 0
        self._told_at = 0.0
        self._told: Progress | None = None
        if order.log:
            inside.log(order.log)

    def execute(
        self,
        what: str,
        source: Iterable[bytes],
        sink: Callable[[bytes], object],
        piece: Range | None = None,
    ) -> None:
        """Runs the mapper, combiner or reducer; a last line without an end gets one."""
        folder = self.order.settings.get(FOLDER) or os.getcwd()
        variables = {
            **os.environ,
            **environment(self.order, piece, is_map=self._what == "mapper"),
            "PATH": f"{os.environ.get('PATH', os.defpath)}:{folder}",
        }
        open_line = False

        def take(block: bytes) -> None:
            nonlocal open_line
            open_line = not block.endswith(b"\n")
            if what == self._what:
                self._output_bytes += len(block)
                self._records_out += block.count(b"\n")
            sink(block)

        command = self.order.settings[f"streaming.{what}"]
        pipe(
            what,
            command,
            source,
            take,
            environment=variables,
            folder=folder,
            reporter=self._reporter,
            tick=self._tell,
        )
        if open_line:
            take(b"\n")

    def reading(self, view: Storage, piece: Range) -> Iterator[bytes]:
        """Yields the lines of a piece of the input, in blocks, the last one with its end.

        Raises:
            InputError: the file cannot be read, or a line is too long.
        """
        block = b"\n"
        try:
            for _, block in line_blocks(piece, view, self.memory):
                yield block
                self._input_bytes += len(block)
                self._records_in += block.count(b"\n")
        except (*READ_ERRORS, zlib.error) as exc:
            raise InputError(f"{piece.path}: {getattr(exc, 'strerror', None) or exc}") from None
        if not block.endswith(b"\n"):
            self._records_in += 1
            yield b"\n"

    def counting(self, blocks: Iterable[tuple[bytes, int]]) -> Iterator[bytes]:
        """Yields a reducer's input."""
        for block, lines in blocks:
            yield block
            self._input_bytes += len(block)
            self._records_in += lines

    @contextlib.contextmanager
    def writing_part(self, view: Storage) -> Iterator[tuple[BinaryIO, list[tuple[str, str]]]]:
        """Opens the task's output file, and gives with it its temporary and final name."""
        final = f"{self.order.output}/part-{self.order.number:05d}"
        temporary = f"{self.order.output}/.temporary/part-{self.order.number:05d}.{self.order.attempt}"
        try:
            with view.open(temporary, "wb") as file:
                yield file, [(temporary, final)]
        except BaseException:
            _remove(view, temporary)
            raise

    def done(
        self, path: str, offsets: list[int] | None = None, outputs: list[tuple[str, str]] | None = None
    ) -> Done:
        """Returns what the task has done."""
        return Done(
            path=path,
            offsets=offsets or [],
            outputs=outputs or [],
            counters=self._counters(),
            input_bytes=self._input_bytes,
            output_bytes=self._output_bytes,
            records_in=self._records_in,
            records_out=self._records_out,
        )

    def _counters(self) -> dict[str, int]:
        return {
            self._names[0]: self._records_in,
            self._names[1]: self._records_out,
            **self._reporter.counters,
        }

    def _tell(self) -> None:
        """Tells the parent how far this is, about twice a second, when something has moved."""
        now = self._inside.clock()
        if now - self._told_at < _TELL_EVERY:
            return
        self._told_at = now
        fraction = min(1.0, self._input_bytes / self.total_bytes) if self.total_bytes else 0.0
        progress = Progress(
            fraction, self._reporter.status, self._counters(), self._input_bytes, self._output_bytes
        )
        if progress != self._told:
            self._told = progress
            self._inside.tell(progress)


class _Spills:
    """A map task's output: collected up to the memory it may use, partitioned, sorted, combined, written."""

    def __init__(self, task: _Task) -> None:
        self.lines = Lines()
        self._task = task
        self._path = f"{task.order.job}/map-{task.order.number:05d}.{task.order.attempt}"
        self._combine = bool(task.order.settings.get(COMBINER))
        self._spills: list[tuple[str, list[int]]] = []

    def add(self, block: bytes) -> None:
        """Takes output of the mapper."""
        for at in range(0, len(block), PIECE):
            self.lines.add(block[at : at + PIECE])
            if self.lines.memory > self._task.memory and self.lines.lines:
                self._spill(f"{self._path}.spill{len(self._spills)}")

    def end(self) -> tuple[str, list[int]]:
        """Writes the file of R regions, and returns its name and their offsets."""
        if self._spills:
            if self.lines.lines:
                self._spill(f"{self._path}.spill{len(self._spills)}")
            offsets = self._merge(f"{self._path}.new")
        else:
            offsets = self._spill(f"{self._path}.new")
        self._task.disk.rename(f"{self._path}.new", self._path)
        return self._path, offsets

    def abandon(self) -> None:
        """Removes what was written."""
        for path in (f"{self._path}.new", *(name for name, _ in self._spills)):
            _remove(self._task.disk, path)

    def _spill(self, path: str) -> list[int]:
        plain, offsets = self.lines.plain, [0]
        self._spills.append((path, offsets))
        with self._task.disk.open(path, "wb") as file:
            for lines in partition(self.lines.take(), self._task.order.reduces):
                line_runs.sort(lines, plain)
                if self._combine and lines:
                    lines, plain_now = self._combined(line_runs.blocks(lines))
                else:
                    plain_now = plain
                size = line_runs.write_lines(file, lines)
                offsets.append(offsets[-1] + line_runs.end_run(file, size, plain_now))
        return offsets

    def _merge(self, path: str) -> list[int]:
        again = self._combine and len(self._spills) >= COMBINE_AGAIN
        offsets = [0]
        with contextlib.ExitStack() as files:
            spills = [
                (files.enter_context(self._task.disk.open(name, buffering=0)), ends)
                for name, ends in self._spills
            ]
            file = files.enter_context(self._task.disk.open(path, "wb"))
            for region in range(self._task.order.reduces):
                runs = [
                    run
                    for spill, ends in spills
                    for run in line_runs.runs_of(spill, ends[region], ends[region + 1])
                ]
                merged = _merged(self._task, runs, files)
                if again and runs:
                    lines, plain = self._combined(block for block, _ in merged)
                    size = line_runs.write_lines(file, lines)
                else:
                    plain = all(run.plain for run in runs)
                    size = line_runs.write_blocks(file, merged)
                offsets.append(offsets[-1] + line_runs.end_run(file, size, plain))
        for name, _ in self._spills:
            self._task.disk.remove(name)
        return offsets

    def _combined(self, source: Iterable[bytes]) -> tuple[list[bytes], bool]:
        """Returns what the combiner makes of a region's lines, sorted, and whether their order is plain."""
        output = Lines()
        self._task.execute("combiner", source, output.add)
        output.end()
        lines = output.take()
        line_runs.sort(lines, output.plain)
        return lines, output.plain


def _remove(disk: Storage, path: str) -> None:
    with contextlib.suppress(OSError):
        disk.remove(path)


def partition(lines: list[bytes], reduces: int) -> list[list[bytes]]:
    """Returns the lines of each region."""
    if reduces == 1:
        return [lines]
    regions: list[list[bytes]] = [[] for _ in range(reduces)]
    append = [region.append for region in regions]
    for line in lines:
        append[zlib.crc32(line.partition(b"\t")[0]) % reduces](line)
    return regions


def _merged(task: _Task, runs: list[Run], files: contextlib.ExitStack) -> Iterator[tuple[bytes, int]]:
    """Merges runs; while they are too many for the memory, the shortest into one on the disk."""
    most = line_runs.fan_in(task.memory)
    while len(runs) > most:
        path = f"{task.order.job}/merge-{task.order.number:05d}.{task.order.attempt}"
        runs.sort(key=lambda run: run.size)
        some, runs = runs[:most], runs[most:]
        file = files.enter_context(task.disk.open(path, "w+b"))
        task.disk.remove(path)
        size = line_runs.write_blocks(file, line_runs.merge(some, task.memory))
        file.flush()
        runs.append(line_runs.Run(file, 0, size, all(run.plain for run in some)))
    return line_runs.merge(runs, task.memory)
