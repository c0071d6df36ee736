"""What a user writes: a job, and a specification of how to run it (2, appendix A).

    class WordCount(Job):
        def map(self, offset: int, line: str) -> Iterator[tuple[str, int]]:
            for word in line.split():
                yield word, 1

        def reduce(self, word: str, counts: Iterable[int]) -> Iterator[int]:
            yield sum(counts)

        combine = reduce

    result = run(Spec(WordCount, inputs="texts", output="counts", reduces=4))
    for word, count in result: ...

Two functions do as well: `Spec(map=..., reduce=..., combine=...)`. Map gives pairs. Reduce gives the values
that stand under its key (or returns a single one); a `Pair(key, value)` stands under a key of its own. Hints
on the functions say how keys and values travel and come back (see `hints.py`); keys of one job must be
comparable with each other.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, get_args

from services.files.api import Range
from services.mapreduce.inputs import Input, Text
from services.mapreduce.outputs import PART, Output, TextOutput
from services.mapreduce.partition import Partitioner, by_hash
from services.mapreduce.tasks.order import Skipped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from services.child import Storage
    from services.files.api import FileSystem
    from services.mapreduce.counters import Task

SPLIT_BYTES = 64 << 20
"""Size of a split when nobody says, in bytes; the paper's."""


class Pair(NamedTuple):
    """What reduce gives when its output stands under another key."""

    key: Any
    value: Any


class Job:
    """A MapReduce job: subclass it. One object runs one task; `setup` is its constructor.

    Attributes:
        input, output: their types.
        partitioner: `function(key, reduces) -> int`, see `partition.py`.
        reduces: R; 0: map's pairs are the output. A `Spec` may say otherwise.
    """

    input: ClassVar[Input] = Text()
    output: ClassVar[Output] = TextOutput()
    partitioner: ClassVar[Partitioner] = staticmethod(by_hash)
    reduces: ClassVar[int] = 1

    def setup(self, task: Task) -> None:
        """Is called before the task's first record."""

    def map(self, key: Any, value: Any, /) -> Iterable[tuple[Any, Any]] | None:
        """Gives the pairs of a record, as an iterable or a dict; None: none."""
        return ((key, value),)

    def combine(self, key: Any, values: Iterator[Any], /) -> Any:
        """Merges some values of a key on the map's side (4.3); without it nothing is merged."""
        raise NotImplementedError

    def reduce(self, key: Any, values: Iterator[Any], /) -> Any:
        """Gives the outputs of a key: an iterator or list of values, one value, or None for none."""
        return values

    def teardown(self) -> Iterable[tuple[Any, Any]] | dict[Any, Any] | None:
        """Is called after the task's last record; of a map, it may give pairs."""


class SpecError(ValueError):
    """A specification that cannot be run; says in one line what is wrong."""


class JobFailed(Exception):
    """A job ended without a result: which task, which record, which log.

    Attributes:
        log: the last lines of the failing task's log.
    """

    def __init__(self, what: str, log: Sequence[str] = ()) -> None:
        super().__init__(what)
        self.log = list(log)


@dataclass
class Spec:
    """What to run, on what, and how (2.1).

    Attributes:
        job: a subclass of `Job`, or its name "module:Name".
        map, reduce, combine: instead of a job: functions, or their names. Without reduce, values stay as
            they come.
        inputs: files and folders.
        output: a folder that does not exist yet.
        reduces: R; None: as the job says (1).
        split_bytes: of a map task; or `maps`, about how many there should be. Default 64 MB.
        input, output_type, partitioner: instead of the job's.
        combiner: False: leave it out.
        memory: bytes that a process which runs user code may use; 0: no limit.
        task_timeout: seconds without progress after which a task has failed.
        max_attempts: failures of one task before the job is given up.
        backups: whether there are backup tasks (3.6).
        skip_bad_records: leave out a record after two failures on it (4.6).
        settings: strings that tasks can read.
        title: what people call the job.
    """

    job: type[Job] | str | None = None
    map: Callable[..., Any] | str | None = None
    reduce: Callable[..., Any] | str | None = None
    combine: Callable[..., Any] | str | None = None
    inputs: Sequence[str] | str = ()
    output: str = ""
    reduces: int | None = None
    split_bytes: int | None = None
    maps: int | None = None
    input: Input | None = None
    output_type: Output | None = None
    partitioner: Partitioner | None = None
    combiner: bool = True
    memory: int = 0
    task_timeout: float = 600.0
    max_attempts: int = 4
    backups: bool = True
    skip_bad_records: bool = False
    settings: dict[str, str] = field(default_factory=dict)
    title: str = ""

    def check(self) -> None:
        """Looks for what cannot be run.

        Raises:
            SpecError: there is something; the first such thing is said.
        """
        if (self.job is None) == (self.map is None):
            raise SpecError("a specification needs either a job or a map function")
        if self.job is not None and (self.reduce is not None or self.combine is not None):
            raise SpecError("a specification has either a job, or functions: map, reduce, combine")
        if not isinstance(self.job, str | None) and not (
            isinstance(self.job, type) and issubclass(self.job, Job)
        ):
            raise SpecError(f"job: {self.job!r} is no subclass of Job")
        for name in ("map", "reduce", "combine"):
            function = getattr(self, name)
            if function is not None and not isinstance(function, str) and not callable(function):
                raise SpecError(f"{name}: {function!r} is no function")
        source = self.input or getattr(self.job, "input", None)
        if not self.paths and (source is None or type(source).split is Input.split):
            raise SpecError("inputs: none given")
        if not self.output:
            raise SpecError("output: no folder given")
        for name, least in (
            ("reduces", 0),
            ("split_bytes", 1),
            ("maps", 1),
            ("memory", 0),
            ("max_attempts", 1),
        ):
            number = getattr(self, name)
            if number is not None and number < least:
                raise SpecError(f"{name}: {number} is less than {least}")
        if self.split_bytes is not None and self.maps is not None:
            raise SpecError("either split_bytes or maps, not both")
        if self.task_timeout <= 0:
            raise SpecError(f"task_timeout: {self.task_timeout:g} s is no time")

    @property
    def paths(self) -> list[str]:
        """The inputs as a list."""
        return [self.inputs] if isinstance(self.inputs, str) else [str(path) for path in self.inputs]

    def split_size(self, total: int) -> int:
        """Returns the size of a split, for an input of `total` bytes."""
        if self.maps is not None:
            return max(1, -(-total // self.maps))
        return self.split_bytes or SPLIT_BYTES


@dataclass
class Result:
    """A finished job. Iterate over it for the output pairs; they are read as one goes.

    Attributes:
        output: the folder.
        parts: names of its part files, in order.
        counters: see `counters.py`.
        seconds: from the call to its return.
        phases: seconds of "map" and "reduce" and what else the engine measures.
        bytes: "input", "intermediate", "output".
        skipped: records left out (4.6), each "task: place".
        maps, reduces: M and R.
        extra: what else the engine knows.
    """

    output: str
    parts: list[str]
    counters: dict[str, int]
    seconds: float
    phases: dict[str, float] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    maps: int = 0
    reduces: int = 0
    extra: dict[str, Any] = field(default_factory=dict)
    reader: Callable[[str], Iterator[tuple[Any, Any]]] | None = None

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        """Yields the pairs of all parts, part by part."""
        assert self.reader is not None
        for part in self.parts:
            yield from self.reader(part)

    def json(self) -> dict[str, Any]:
        """Returns all but the pairs, as JSON knows it."""
        return {name: value for name, value in vars(self).items() if name != "reader"}


async def parts_of(output: str, files: FileSystem) -> list[str]:
    """Returns the names of a job's part files, in order, without its other outputs and side files."""
    prefix = f"{output.rstrip('/')}/{PART}-"
    return [info.path for info in await files.list(output) if info.path.startswith(prefix)]


def reader_of(spec: Spec, files: Storage) -> Callable[[str], Iterator[tuple[Any, Any]]]:
    """Returns what reads a part file of a job: for `Result.reader`.

    Args:
        spec: of the job.
        files: where parts are.
    """
    from services.mapreduce.code import program_of

    program = program_of(spec)
    types = program.types
    key, value = types.key, types.output if program.reduces else types.value
    if value is Pair or Pair in get_args(value):  # whose key may be of any type
        key = value = Any

    def read(path: str) -> Iterator[tuple[Any, Any]]:
        return program.output.read(path, files, key, value)

    return read


ENGINES = {"grpc": "cluster", "cluster": "cluster", "local": "local", "dask": "dask"}
"""Modules of `services.mapreduce.engines`, by what people call them."""


async def run_async(spec: Spec, engine: str = "grpc", **options: Any) -> Result:
    """Runs a job to its end.

    Args:
        spec: what to run.
        engine: "grpc": a local cluster of processes; "local": in this process; "dask": on a dask cluster.
        options: the engine's: `workers`, `progress` and others.

    Raises:
        SpecError: it cannot be run.
        JobFailed: it ended without a result.
    """
    spec.check()
    if engine not in ENGINES:
        raise SpecError(f"engine: {engine!r} is none of grpc, local, dask")
    if ENGINES[engine] == "cluster" and options.get("cluster") is None:
        importlib.import_module("services.mapreduce.engines.ahead").begin()
    module = importlib.import_module(f"services.mapreduce.engines.{ENGINES[engine]}")
    result: Result = await module.run(spec, **options)
    return result


def run(spec: Spec, engine: str = "grpc", **options: Any) -> Result:
    """`run_async` for callers that wait; works below a running event loop too, as in a notebook."""
    job = run_async(spec, engine, **options)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(job)
    with concurrent.futures.ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, job).result()


__all__ = ["Job", "JobFailed", "Pair", "Range", "Result", "Skipped", "Spec", "SpecError", "run", "run_async"]
