"""The user's code on its way to workers: by name, or by value.

A name is "module:Name" of a `Job`, or three names of functions, "map reduce combine" with "-" for none;
workers import it. All else is pickled by cloudpickle, with the modules that only the user's program can
import: what `python job.py` runs as `__main__`, a file loaded by its path, a notebook's cell.
"""

from __future__ import annotations

import importlib
import pickle
from typing import TYPE_CHECKING, Any, NamedTuple

from services.mapreduce.hints import Types, types_of
from services.mapreduce.inputs import Records
from services.mapreduce.job import Job, Spec, SpecError
from services.mapreduce.outputs import PairsOutput
from services.mapreduce.partition import TotalOrder, by_hash

if TYPE_CHECKING:
    from collections.abc import Callable

    from services.mapreduce.inputs import Input
    from services.mapreduce.outputs import Output
    from services.mapreduce.partition import Partitioner

_OVERRIDES = ("input", "output_type", "partitioner", "reduces", "combiner")
_LOADED = 8  # programs kept in a process


class Program(NamedTuple):
    """A job's code, ready to run.

    Attributes:
        job: makes the object that runs a task.
        types: of its pairs.
        combiner: whether there is one, and it is wanted.
        reduces: R.
    """

    job: Callable[[], Job]
    types: Types
    input: Input
    output: Output
    partitioner: Partitioner
    combiner: bool
    reduces: int

    @property
    def fixed(self) -> bool:
        """Whether all that is asked for is to sort records of a fixed size: `tasks/fixed.py` does that."""
        job: Any = self.job
        order = self.partitioner
        return (
            type(self.input) is Records
            and self.input.key > 0
            and type(self.output) is PairsOutput
            and not self.combiner
            and all(
                getattr(job, name) is getattr(Job, name)
                for name in ("__init__", "setup", "map", "reduce", "teardown")
            )
            and (
                order is by_hash
                or (
                    type(order) is TotalOrder
                    and order.cuts is not None
                    and len(order.cuts) < max(1, self.reduces)
                    and all(type(cut) is bytes and len(cut) <= self.input.key for cut in order.cuts)
                )
            )
        )


def pack(spec: Spec) -> tuple[str, bytes]:
    """Returns a job's code as (name, pickled): what `protos.mapreduce.Code` carries.

    Raises:
        SpecError: it names what is not there, or cannot be pickled.
    """
    program_of(spec)
    overrides = {name: getattr(spec, name) for name in _OVERRIDES}
    if overrides == {name: getattr(Spec(), name) for name in _OVERRIDES}:
        overrides = {}
    functions = [spec.map, spec.reduce, spec.combine]
    if isinstance(spec.job, str):
        name = spec.job
    elif spec.job is None and all(isinstance(function, str | None) for function in functions):
        name = " ".join(str(function or "-") for function in functions)
    else:
        return "", _dumps(spec.job or tuple(functions), overrides, _types(_job_class(spec)))
    if list(overrides) and all(
        value is None for key, value in overrides.items() if key not in ("reduces", "combiner")
    ):  # these are numbers: they need no pickle, whose bytes depend on Python
        return f"{name} reduces={spec.reduces} combiner={spec.combiner:d}", b""
    return name, _dumps(None, overrides, None) if overrides else b""


def load(code: tuple[str, bytes]) -> Program:
    """Returns the program that `pack` packed; once loaded it stays so for this process.

    Raises:
        SpecError: the name is not to be found.
        Exception: what the user's module raises when it is imported.
    """
    found = _programs.get(code)
    if found is None:
        name, pickled = code
        body, overrides, types = pickle.loads(pickled) if pickled else (None, {}, None)
        spec = _named(name) if name else Spec(body) if isinstance(body, type) else Spec(None, *body)
        for key, value in overrides.items():
            setattr(spec, key, value)
        found = program_of(spec, types)
        if len(_programs) >= _LOADED:
            del _programs[next(iter(_programs))]
        _programs[code] = found
    return found


_programs: dict[tuple[str, bytes], Program] = {}


def program_of(spec: Spec, types: Types | None = None) -> Program:
    """Returns a specification's program.

    Raises:
        SpecError: it names what is not there.
    """
    job = _job_class(spec)
    types = types or _types(job)
    source = spec.input or job.input
    return Program(
        job=job,
        types=types,
        input=source.typed(types.input),
        output=spec.output_type or job.output,
        partitioner=spec.partitioner or job.partitioner,
        combiner=spec.combiner and job.combine is not Job.combine,
        reduces=job.reduces if spec.reduces is None else spec.reduces,
    )


def _named(text: str) -> Spec:
    names = text.split(" ")
    spec = Spec()
    if names[-1].startswith("combiner="):
        spec.combiner = names.pop() == "combiner=1"
        reduces = names.pop().removeprefix("reduces=")
        spec.reduces = None if reduces == "None" else int(reduces)
    if len(names) == 1:
        spec.job = names[0]
    else:
        spec.map, spec.reduce, spec.combine = (None if name == "-" else name for name in names)
    return spec


def _types(job: type[Job]) -> Types:
    methods = object.__new__(job)  # bound, without a task's set-up
    own = [
        getattr(methods, name) if getattr(job, name) is not getattr(Job, name) else None
        for name in ("map", "reduce", "combine")
    ]
    types = types_of(*own)
    return types if own[1] else types._replace(output=types.value)


def _job_class(spec: Spec) -> type[Job]:
    if spec.job is not None:
        job = find(spec.job) if isinstance(spec.job, str) else spec.job
        if not (isinstance(job, type) and issubclass(job, Job)):
            raise SpecError(f"{spec.job!r} is no subclass of Job")
        return job
    parts: dict[str, Any] = {}
    for name in ("map", "reduce", "combine"):
        function = getattr(spec, name)
        if function is not None:
            parts[name] = staticmethod(find(function) if isinstance(function, str) else function)
    return type("Functions", (Job,), parts)


def find(name: str) -> Any:
    """Finds what "module:Name" names.

    Raises:
        SpecError: there is none.
    """
    module, _, attribute = name.partition(":")
    try:
        found = importlib.import_module(module)
        return getattr(found, attribute)
    except (ImportError, AttributeError, ValueError) as exc:
        raise SpecError(f"no such job or function: {name!r} ({exc})") from exc


def _dumps(body: Any, overrides: dict[str, Any], types: Types | None) -> bytes:
    from services.mapreduce.by_value import dumps  # cloudpickle: workers do without

    try:
        return dumps((body, overrides, types))
    except Exception as exc:
        raise SpecError(f"the job cannot be sent to workers: {exc}") from exc
