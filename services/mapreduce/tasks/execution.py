"""What map and reduce tasks share: the user's code under guard, progress, the files that they write."""

from __future__ import annotations

import sys
import traceback
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from services.mapreduce.code import load
from services.mapreduce.counters import CURRENT, Outside, Task
from services.mapreduce.job import SpecError
from services.mapreduce.outputs import PART, open_output
from services.mapreduce.tasks.order import Done, Progress, UserError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import BinaryIO

    from services.child import Inside, Storage
    from services.mapreduce.tasks.order import Order

SHARE = 0.4
"""Of a process's memory, what sorted or merged pairs may take."""

BUFFER_BYTES = 128 << 20
"""What they may take when the process has no limit."""

TELL_EVERY = 0.5
"""Seconds between two tellings of progress."""

_PAIRS_AT_ONCE = 512


class Execution:
    """An execution of a task.

    Attributes:
        inside: the child it runs in.
        order: what is asked for.
        view: the shared file system.
        program: the user's code.
        job: the user's object.
        task: what user code sees.
        memory: bytes that pairs may take.
        fraction, input_bytes, output_bytes: how far it is.
    """

    def __init__(self, inside: Inside, order: Order, view: Storage, kind: Literal["map", "reduce"]) -> None:
        self.inside = inside
        self.order = order
        self.view = view
        self.task = Task(kind, order.number, order.attempt, order.settings)
        self.task.writers = Outside(self._write_other, self._side_file)
        self.memory = int(order.memory_bytes * SHARE) or BUFFER_BYTES
        self.fraction = 0.0
        self.input_bytes = 0
        self.output_bytes = 0
        self.number = -1  # of the record or group under way
        self.trouble: BaseException | None = None  # what our side raised through the user's code
        self._told = float("-inf")
        self._outputs: dict[str, PairFile] = {}
        self._waiting: dict[str, list[tuple[Any, Any]]] = {}
        self._sides: dict[str, tuple[str, BinaryIO]] = {}
        if order.log:
            inside.log(order.log)
        with self.user("loading the job"):
            self.program = load(order.code)
        if order.memory_bytes:
            source = self.program.input.within(order.memory_bytes)
            self.program = self.program._replace(input=source)
        with self.user("the job's constructor"):
            self.job = self.program.job()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Within, user code sees this task."""
        token = CURRENT.set(self.task)
        try:
            yield
        finally:
            CURRENT.reset(token)

    @contextmanager
    def user(self, what: str) -> Iterator[None]:
        """Around user code that works on no record."""
        try:
            yield
        except SpecError as exc:
            raise UserError(f"{what}: {exc}") from exc
        except Exception as exc:
            raise self.failed(what, exc) from exc

    def failed(self, what: str, exc: Exception, number: int = -1, where: str = "") -> Exception:
        """Returns what to raise for an exception that came out of user code."""
        if isinstance(exc, UserError):
            return exc
        if self.order.log:
            traceback.print_exc(file=sys.stderr)
        last = traceback.extract_tb(exc.__traceback__)[-1:]
        at = "".join(f" ({frame.filename.rpartition('/')[2]}, line {frame.lineno})" for frame in last)
        said = str(exc).partition("\n")[0]
        if isinstance(exc, MemoryError) and self.order.memory_bytes:
            said = said or f"the limit is {self.order.memory_bytes:,} bytes"
        return UserError(f"{what} raised {type(exc).__name__}{': ' * bool(said)}{said}{at}", number, where)

    def tick(self) -> None:
        """Tells the parent how far it is, if it is time to."""
        now = self.inside.clock()
        if now - self._told >= TELL_EVERY:
            self._told = now
            self.inside.tell(
                Progress(
                    self.fraction,
                    self.task.status,
                    dict(self.task.counters),
                    self.input_bytes,
                    self.output_bytes,
                )
            )

    def temporary(self, name: str) -> str:
        """Returns the path of a file of this execution before it is committed (4.5)."""
        kind, number, attempt = self.task.kind, self.order.number, self.order.attempt
        return f"{self.order.output}/.temporary/{kind}-{number:05}.{attempt}/{name}"

    def output(self, name: str) -> PairFile:
        """Returns one of this task's outputs: "part", or a name that the user's code chose."""
        file = self._outputs.get(name)
        if file is None:
            final = f"{name}-{self.order.number:05}{self.program.output.suffix}"
            file = self._outputs[name] = PairFile(self, final)
        return file

    def finish(self, path: str = "", offsets: Sequence[int] = ()) -> Done:
        """Closes all files and says what was done."""
        outputs = [(temporary, final) for final, (temporary, file) in self._sides.items()]
        for _, side in self._sides.values():
            side.close()
        for name in list(self._waiting):
            self._flush(name)
        main = self._outputs.pop("part", None)
        for file in (*self._outputs.values(), *([main] if main else [])):
            file.file.close()
            outputs.append((file.path, f"{self.order.output}/{file.final}"))
        if main is not None:
            path = main.path
        return Done(
            path=path,
            offsets=list(offsets),
            outputs=outputs,
            counters=self.task.counters,
            input_bytes=self.input_bytes,
            output_bytes=self.output_bytes,
            view=self.view if outputs else None,
        )

    def abandon(self) -> None:
        """Closes and removes what was written."""
        files = [(file.path, file.file) for file in self._outputs.values()]
        for path, file in (*files, *self._sides.values()):
            try:
                file.close()
                self.view.remove(path)
            except OSError:
                pass

    def _write_other(self, name: str, key: Any, value: Any) -> None:
        if not name or "/" in name or name.startswith((".", "_", f"{PART}-")) or name == PART:
            raise ValueError(f"no name for another output: {name!r}")
        waiting = self._waiting.setdefault(name, [])
        waiting.append((key, value))
        if len(waiting) >= _PAIRS_AT_ONCE:
            self._flush(name)

    def _flush(self, name: str) -> None:
        try:
            self.output(name).write(self._waiting.pop(name))
        except BadPair as bad:
            raise UserError(f"{self.task.kind} {bad.why}, to the output {name}") from None
        except OSError as exc:
            self.trouble = exc
            raise

    def _side_file(self, name: str) -> BinaryIO:
        steps = name.split("/")
        if any(not step or step[0] in "._" for step in steps) or steps[0].startswith(f"{PART}-"):
            raise ValueError(f"no name for a file below the output folder: {name!r}")
        final = f"{self.order.output}/{name}"
        if final in self._sides:
            raise ValueError(f"{name!r} has been opened before by this task")
        path = self.temporary(name)
        file = self.view.open(path, "wb")
        self._sides[final] = (path, file)
        return file


class BadPair(Exception):
    """One of some pairs cannot be taken.

    Attributes:
        index: which.
        why: in words.
    """

    def __init__(self, index: int, why: str) -> None:
        super().__init__(why)
        self.index = index
        self.why = why


class PairFile:
    """An output file under way.

    Attributes:
        path: where it is; `final`: its name once committed.
    """

    def __init__(self, execution: Execution, final: str) -> None:
        self.final = final
        self.path = execution.temporary(final)
        self.file = open_output(self.path, execution.view)
        self._execution = execution
        self._encode = execution.program.output.encode

    def write(self, pairs: Sequence[tuple[Any, Any]]) -> None:
        """Writes pairs.

        Raises:
            BadPair: one is none, or cannot be written.
            OSError: as the disk has it.
        """
        try:
            data = self._encode(pairs)
        except Exception as exc:
            for index, pair in enumerate(pairs):
                if not isinstance(pair, tuple) or len(pair) != 2:
                    raise BadPair(index, not_a_pair(pair)) from None
                try:
                    self._encode([pair])
                except Exception as why:
                    kinds = " and ".join(type(item).__name__ for item in pair)
                    raise BadPair(
                        index, f"gave a pair of types {kinds} that cannot be written: {why}"
                    ) from None
            raise BadPair(0, f"gave what cannot be written: {exc}") from None
        self.file.write(data)
        self._execution.output_bytes += len(data)


def not_a_pair(pair: Any) -> str:
    """Says so."""
    return f"gave {type(pair).__name__} {repr(pair)[:100]}, not a pair (key, value)"
