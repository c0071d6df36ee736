"""MapReduce (Dean & Ghemawat, OSDI 2004).

from services.mapreduce import Job, Spec, run
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from services.mapreduce.counters import count as count
    from services.mapreduce.counters import current as current
    from services.mapreduce.counters import status as status
    from services.mapreduce.inputs import Input as Input
    from services.mapreduce.inputs import KeyValue as KeyValue
    from services.mapreduce.inputs import Records as Records
    from services.mapreduce.inputs import SequenceInput as SequenceInput
    from services.mapreduce.inputs import Text as Text
    from services.mapreduce.inputs import TextBlocks as TextBlocks
    from services.mapreduce.job import Job as Job
    from services.mapreduce.job import JobFailed as JobFailed
    from services.mapreduce.job import Pair as Pair
    from services.mapreduce.job import Result as Result
    from services.mapreduce.job import Spec as Spec
    from services.mapreduce.job import SpecError as SpecError
    from services.mapreduce.job import run as run
    from services.mapreduce.job import run_async as run_async
    from services.mapreduce.outputs import Output as Output
    from services.mapreduce.outputs import PairsOutput as PairsOutput
    from services.mapreduce.outputs import SequenceOutput as SequenceOutput
    from services.mapreduce.outputs import TextOutput as TextOutput
    from services.mapreduce.outputs import ValuesOutput as ValuesOutput
    from services.mapreduce.partition import TotalOrder as TotalOrder
    from services.mapreduce.partition import by_hash as by_hash

_PUBLIC = {
    "job": ("Job", "JobFailed", "Pair", "Result", "Spec", "SpecError", "run", "run_async"),
    "counters": ("count", "current", "status"),
    "inputs": ("Input", "KeyValue", "Records", "SequenceInput", "Text", "TextBlocks"),
    "outputs": ("Output", "PairsOutput", "SequenceOutput", "TextOutput", "ValuesOutput"),
    "partition": ("TotalOrder", "by_hash"),
}
_HOME = {name: module for module, names in _PUBLIC.items() for name in names}

__all__ = list(_HOME)


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first asked for: a master needs none of them."""
    if name in _HOME:
        return getattr(importlib.import_module(f"services.mapreduce.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
