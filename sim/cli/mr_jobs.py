"""The job that `dsim mr JOB` names: a file, or a module, and what in it is a job."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sim.scenario.discover import load_file
from sim.scenario.errors import InvalidInput, near

if TYPE_CHECKING:
    from types import ModuleType

    from services.mapreduce.job import Spec


def find_spec(text: str) -> Spec:
    """Returns the specification that JOB.py, JOB.py:NAME or package.module:NAME names.

    A job is a subclass of `Job`, a `Spec`, or a function `map`, with `reduce` and `combine` beside it if they
    are there.

    Raises:
        InvalidInput: there is none, there are several, or the file is broken.
    """
    where, _, name = text.partition(".py:") if ".py:" in text else (text, "", "")
    if where.endswith(".py") or name:
        return _choose(load_file(Path(where.removesuffix(".py") + ".py"), "job"), name, text)
    module_name, _, name = text.partition(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as exc:
        beside = f"{module_name.replace('.', '/')}.py"
        hint = f"; did you mean {beside}{f':{name}' if name else ''}?" if Path(beside).is_file() else ""
        raise InvalidInput(f"there is no job {text!r}: {exc}{hint}") from None
    return _choose(module, name, text)


def _choose(module: ModuleType, name: str, text: str) -> Spec:
    from services.mapreduce.job import Job, Spec

    jobs: dict[str, Any] = {
        key: value
        for key, value in vars(module).items()
        if not key.startswith("_")
        and (
            isinstance(value, Spec)
            or (isinstance(value, type) and issubclass(value, Job) and value.__module__ == module.__name__)
        )
    }
    functions = {
        key: vars(module)[key] for key in ("map", "reduce", "combine") if callable(vars(module).get(key))
    }
    if not name and not jobs and "map" in functions:
        return Spec(**functions)
    if not name and len(jobs) == 1:
        (name,) = jobs
    if not name and jobs:
        several = " or ".join(f"{text}:{key}" for key in jobs)
        raise InvalidInput(f"{text} holds {len(jobs)} jobs: name one of them, {several}")
    if name not in jobs:
        if not name:
            raise InvalidInput(f"{text} holds no job: write a class Job, or a function map")
        raise InvalidInput(
            f"{text.removesuffix(f':{name}')} has no job {name!r}{near(name, jobs)}"
            f" (it has: {', '.join(jobs) or 'none'})"
        )
    found = jobs[name]
    return found if isinstance(found, Spec) else Spec(found)
