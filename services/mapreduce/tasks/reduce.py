"""A reduce task (3.1 steps 5 and 6): pulled regions, merged by key, through the user's reduce, to a file."""

from __future__ import annotations

from bisect import bisect_right
from itertools import chain, groupby, pairwise
from operator import eq, itemgetter, lt
from typing import TYPE_CHECKING, Any

import msgspec

from services.mapreduce.counters import GROUPS, REDUCE_IN, REDUCE_OUT, SKIPPED
from services.mapreduce.hints import Codec
from services.mapreduce.job import Job, Pair
from services.mapreduce.tasks.execution import BadPair, Execution
from services.mapreduce.tasks.merge import Merge, key_of
from services.mapreduce.tasks.order import STREAMING, Done, Order, Skipped, UserError
from services.mapreduce.tasks.segment import runs_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from services.child import Inside, Storage
    from services.mapreduce.tasks.segment import Run

_PAIRS = 2048
"""Pairs, or groups, between two writes to the output."""

_value_of = itemgetter(1)
_NOTHING = object()


def run_reduce(inside: Inside, order: Order, view: Storage) -> Done:
    """Executes a reduce task; see `order.py`.

    Raises:
        UserError: the user's code failed, or its keys cannot be put in order.
        OSError, MemoryError: the machine failed.
    """
    if order.code[0].startswith(STREAMING):
        from services.mapreduce.tasks import streaming

        return streaming.run_reduce(inside, order, view)
    execution = Execution(inside, order, view, "reduce")
    if execution.program.fixed:
        from services.mapreduce.tasks.fixed import reduce_records  # numpy: most jobs do without

        return reduce_records(execution)
    with execution.entered():
        return _Reduce(execution).run()


class _Reduce:
    def __init__(self, execution: Execution) -> None:
        self.execution = execution
        self.disk = execution.inside.disk
        self.codec = Codec(execution.program.types)
        self.taken = 0  # pairs
        self.given = 0
        self.total = 0
        self.skipped: list[Skipped] = []
        self.out: list[Any] = []  # not yet written
        self.starts: list[int] = []  # where in it the outputs of the latest groups begin

    def run(self) -> Done:
        execution, order = self.execution, self.execution.order
        try:
            execution.output("part")
            with execution.user("setup"):
                execution.job.setup(execution.task)
            execution.tick()
            runs = [run for path in order.segments for run in runs_of(path, self.disk)]
            execution.input_bytes = sum(run.end - run.start for run in runs)
            self.total = sum(run.pairs for run in runs)
            scratch = f"{order.job}/reduce-{order.number:05}.{order.attempt}.merge"
            with Merge(self.disk, self.codec, execution.memory, scratch, execution.tick) as merge:
                if type(execution.job).reduce is Job.reduce and not order.skip:
                    self._pass(self._blocks(merge, runs))
                else:
                    self._groups(self._blocks(merge, runs))
            execution.inside.mark(-1)
            with execution.user("teardown"):
                execution.job.teardown()
            counters = execution.task.counters
            counters[GROUPS] = execution.number + 1 - len(self.skipped)
            counters[REDUCE_IN] = self.taken
            counters[REDUCE_OUT] = self.given
            if self.skipped:
                counters[SKIPPED] = len(self.skipped)
            done = execution.finish()
        except BaseException:
            execution.abandon()
            raise
        done.records_in = self.taken
        done.records_out = self.given
        done.skipped = self.skipped
        return done

    def _groups(self, blocks: Iterator[list[Any]]) -> None:
        execution = self.execution
        mark, function = execution.inside.mark, execution.job.reduce
        skip = frozenset(execution.order.skip)
        out, starts = self.out, self.starts
        append, start = out.append, starts.append
        previous: Any = _NOTHING
        number = execution.number
        for key, group in groupby(chain.from_iterable(blocks), key_of):
            number += 1
            execution.number = number
            if previous is not _NOTHING and not previous < key:
                raise UserError(
                    f"keys have no order: {_short(previous)} was followed by {_short(key)}",
                    number,
                    _short(key),
                )
            previous = key
            start(len(out))
            if number in skip:
                self.skipped.append(Skipped(number, _short(key)))
                continue
            mark(number)
            try:
                given = function(key, map(_value_of, group))
                if type(given) is list or hasattr(given, "__next__"):
                    for value in given:
                        append(value if type(value) is Pair else (key, value))
                        if len(out) >= _PAIRS:
                            self._write()
                            start(0)
                elif given is not None:
                    append(given if type(given) is Pair else (key, given))
            except Exception as exc:
                if exc is execution.trouble:
                    raise
                raise execution.failed("reduce", exc, number, _short(key)) from exc
            if len(out) >= _PAIRS or len(starts) >= _PAIRS:
                self._write()
        self._write()

    def _pass(self, blocks: Iterator[list[Any]]) -> None:
        """Gives out pairs as they are: what the identity makes of them."""
        execution = self.execution
        previous: Any = _NOTHING
        for block in blocks:
            keys = [key for key, _ in block]
            if previous is not _NOTHING:
                keys.insert(0, previous)
            else:
                execution.number += 1
            following = keys[1:]
            greater = sum(map(lt, keys, following))
            if greater + sum(map(eq, keys, following)) < len(following):
                bad = next(at for at, two in enumerate(pairwise(keys)) if not (lt(*two) or eq(*two)))
                first, second = map(_short, keys[bad : bad + 2])
                raise UserError(f"keys have no order: {first} was followed by {second}")
            execution.number += greater
            previous = keys[-1]
            for at in range(0, len(block), _PAIRS):
                self.out += block[at : at + _PAIRS]
                self._write()

    def _blocks(self, merge: Merge, runs: list[Run]) -> Iterator[list[Any]]:
        """Yields sorted pairs; what goes wrong is remembered as ours, for it comes out of the user's loop."""
        execution = self.execution
        try:
            for block in merge.blocks(runs):
                self.taken += len(block)
                yield block
                execution.fraction = self.taken / self.total
                execution.tick()
        except TypeError as exc:
            execution.trouble = UserError(f"keys cannot be put in order: {exc}")
            raise execution.trouble from exc
        except msgspec.ValidationError as exc:
            execution.trouble = UserError(f"map's pairs are not what the hints say: {exc}")
            raise execution.trouble from exc
        except Exception as exc:
            execution.trouble = exc
            raise

    def _write(self) -> None:
        execution = self.execution
        try:
            if self.out:
                execution.output("part").write(self.out)
        except BadPair as bad:
            at = bisect_right(self.starts, bad.index) - 1
            number = execution.number - (len(self.starts) - 1 - at)
            key = self.out[bad.index][0]
            execution.trouble = UserError(f"reduce {bad.why}", number, _short(key))
            raise execution.trouble from None
        except BaseException as exc:
            execution.trouble = exc
            raise
        self.given += len(self.out)
        self.out.clear()
        self.starts.clear()
        execution.tick()


def _short(key: Any) -> str:
    """Returns a key as it is said in a message."""
    return repr(key)[:200]
