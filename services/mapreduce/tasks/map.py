"""A map task (3.1 steps 3 and 4): the records of a split, through map, into R sorted regions on disk."""

from __future__ import annotations

from bisect import bisect_right
from itertools import islice
from typing import TYPE_CHECKING, Any, cast

from services.files.api import BeyondView
from services.mapreduce.counters import MAP_IN, MAP_OUT, SKIPPED
from services.mapreduce.tasks.checksums import region_checksums
from services.mapreduce.tasks.execution import BadPair, Execution
from services.mapreduce.tasks.order import STREAMING, Done, InputError, Order, Skipped, UserError
from services.mapreduce.tasks.spills import Spills

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import BinaryIO

    from services.child import Inside, Storage
    from services.files.api import Range

_PAIRS = 1024
"""Pairs between two looks at the buffer, the clock and the memory; with fewer, as many records."""


def run_map(inside: Inside, order: Order, view: Storage) -> Done:
    """Executes a map task; see `order.py`.

    Raises:
        UserError: the user's code failed.
        InputError: an input file cannot be read.
        BeyondView: the view does not reach to the end of the last record.
        OSError, MemoryError: the machine failed.
    """
    done = _run(inside, order, view)
    if order.reduces:
        done.checksums = region_checksums(inside.disk, done.path, done.offsets)
    return done


def _run(inside: Inside, order: Order, view: Storage) -> Done:
    if order.code[0].startswith(STREAMING):
        from services.mapreduce.tasks import streaming

        return streaming.run_map(inside, order, view)
    execution = Execution(inside, order, view, "map")
    if execution.program.fixed and order.reduces:
        from services.mapreduce.tasks.fixed import map_records  # numpy: most jobs do without

        return map_records(execution)
    with execution.entered():
        return _Map(execution).run()


class _Map:
    def __init__(self, execution: Execution) -> None:
        self.execution = execution
        self.order = execution.order
        self.skip = frozenset(self.order.skip)
        self.skipped: list[Skipped] = []
        self.given = 0  # pairs, before those in the buffer
        self.starts: list[int] = []  # where in the buffer the pairs of the latest records begin
        self.piece: Range | None = None
        self.first = 0  # the number of its first record
        self.spills = Spills(execution) if self.order.reduces else None
        self.pairs: list[Any] = [] if self.spills is None else self.spills.pairs
        self.files = _Counting(execution.view, self._read)
        self.sizes = [self._size(piece) for piece in self.order.split]
        self.total = sum(self.sizes) or 1
        self.before = 0  # bytes of the pieces that are done

    def run(self) -> Done:
        execution = self.execution
        try:
            if self.spills is None:
                execution.output("part")
            with execution.user("setup"):
                execution.job.setup(execution.task)
            execution.tick()
            for piece, size in zip(self.order.split, self.sizes, strict=True):
                self._piece(piece)
                self.before += size
                execution.input_bytes = self.before
            execution.inside.mark(-1)
            self._teardown()
            counters = execution.task.counters
            counters[MAP_IN] = execution.number + 1 - len(self.skipped)
            counters[MAP_OUT] = self.given
            if self.skipped:
                counters[SKIPPED] = len(self.skipped)
            if self.spills is None:
                done = execution.finish()
            else:
                done = execution.finish(*self.spills.finish())
                done.output_bytes += done.offsets[-1]
        except BaseException:
            execution.abandon()
            if self.spills is not None:
                self.spills.abandon()
            raise
        done.records_in = counters[MAP_IN]
        done.records_out = counters[MAP_OUT]
        done.skipped = self.skipped
        return done

    def _piece(self, piece: Range) -> None:
        """Gives the records of a piece to map; whatever goes wrong in reading is said of the file."""
        execution = self.execution
        self.piece, self.first = piece, execution.number + 1
        try:
            self._records(execution.program.input.read(piece, self.files))
        except (UserError, InputError, BeyondView, MemoryError):
            raise
        except Exception as exc:
            if exc is execution.trouble:
                raise
            what = f"{type(exc).__name__}: {exc}"
            if isinstance(exc, OSError):
                what = exc.strerror or str(exc)
            raise InputError(f"{piece.path}: cannot be read: {what}") from exc
        self._look()

    def _records(self, records: Iterator[tuple[Any, Any]]) -> None:
        execution = self.execution
        mark, function, skip = execution.inside.mark, execution.job.map, self.skip
        pairs, starts = self.pairs, self.starts
        extend, start = pairs.extend, starts.append
        number = execution.number
        full = len(pairs) + _PAIRS
        for key, value in records:
            number += 1
            start(len(pairs))
            if skip and number in skip:
                self.skipped.append(Skipped(number, self._place(number)))
                continue
            mark(number)
            try:
                given = function(key, value)
                if type(given) is list:
                    extend(given)
                elif given is not None:
                    some = iter(given.items() if isinstance(given, dict) else given)
                    extend(islice(some, _PAIRS))
                    if len(pairs) >= full:
                        execution.number = number
                        self._drain(some)
                        # It may have spilled: else the next record would be cut off.
                        full = len(pairs) + _PAIRS
            except Exception as exc:
                execution.number = number
                if exc is execution.trouble:
                    raise
                raise execution.failed("map", exc, number, self._place(number)) from exc
            if len(pairs) >= full or len(starts) >= _PAIRS:
                execution.number = number
                self._look()
                full = len(pairs) + _PAIRS
        execution.number = number

    def _drain(self, some: Iterator[Any]) -> None:
        """Takes the many pairs of one record bit by bit."""
        while True:
            self._look()
            before = len(self.pairs)
            self.starts.append(before)
            self.pairs.extend(islice(some, _PAIRS))
            if len(self.pairs) == before:
                return

    def _look(self) -> None:
        """Checks the latest pairs, spills or writes them, and tells how far the task is."""
        execution = self.execution
        try:
            if self.spills is not None:
                self.given += self.spills.check()
            elif self.pairs:
                execution.output("part").write(self.pairs)
                self.given += len(self.pairs)
                self.pairs.clear()
        except BadPair as bad:
            number, where = -1, ""
            if self.piece is not None:
                at = bisect_right(self.starts, bad.index) - 1
                number = execution.number - (len(self.starts) - 1 - at)
                where = self._place(number)
            execution.trouble = UserError(f"map {bad.why}", number, where)
            raise execution.trouble from None
        except BaseException as exc:
            execution.trouble = exc
            raise
        self.starts.clear()
        execution.tick()

    def _teardown(self) -> None:
        self.piece = None
        with self.execution.user("teardown"):
            given = self.execution.job.teardown()
            if given is not None:
                self._drain(iter(given.items() if isinstance(given, dict) else given))
        self._look()

    def _place(self, number: int) -> str:
        """Says where a record of this piece is; reads it again up to there."""
        execution, piece = self.execution, self.piece
        assert piece is not None
        for at, (key, _) in enumerate(execution.program.input.read(piece, execution.view)):
            if at == number - self.first:
                return execution.program.input.place(piece, execution.view, key, at)
        return piece.path

    def _read(self, size: int) -> None:
        """So much more has been read; what lies behind a piece is another map's."""
        execution = self.execution
        execution.input_bytes = min(execution.input_bytes + size, self.total)
        execution.fraction = execution.input_bytes / self.total

    def _size(self, piece: Range) -> int:
        if piece.size >= 0:
            return piece.size
        try:
            return self.execution.view.size(piece.path)
        except OSError:
            return 0


class _Counting:
    """A file system that says how much is read from it."""

    def __init__(self, files: Storage, read: Callable[[int], None]) -> None:
        self._files = files
        self._read = read

    def __getattr__(self, name: str) -> Any:
        return getattr(self._files, name)

    def open(self, path: str, mode: str = "rb", buffering: int = -1) -> BinaryIO:
        return cast("BinaryIO", _CountedFile(self._files.open(path, mode, buffering), self._read))


class _CountedFile:
    def __init__(self, file: BinaryIO, read: Callable[[int], None]) -> None:
        self._file = file
        self._read = read

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> _CountedFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self._read(len(data))
        return data
