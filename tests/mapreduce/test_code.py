"""The user's code reaches another process: from a script, a file beside it, a notebook's cell, by name."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest

from services.mapreduce.code import load, pack
from services.mapreduce.hints import Codec, Types
from services.mapreduce.job import Job, Spec, SpecError
from services.mapreduce.jobs.word_count import WordCount

ROOT = Path(__file__).parents[2]

SCRIPT = """
from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

import beside
from services.mapreduce import Job, Spec
from services.mapreduce.code import pack

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(order=True, frozen=True)
class Word:
    text: str


class Seen(msgspec.Struct, frozen=True, order=True):
    times: int
    by: str = "nobody"

    def twice(self) -> Seen:
        return Seen(2 * self.times, self.by)


class Count(Job):
    def map(self, key: int, value: str) -> Iterator[tuple[Word, Seen]]:
        yield Word(beside.lower(value)), Seen(1).twice()

    def reduce(self, key: Word, values: Iterator[Seen]) -> int:
        return sum(seen.times for seen in values)


msgspec.msgpack.Decoder(Word)  # leaves its notes in the class
code = pack(Spec(Count, inputs="x", output="y"))
"""

LOADER = """
import pathlib, pickle, sys
from services.mapreduce.code import load
from services.mapreduce.hints import Codec
program = load(pickle.loads(pathlib.Path(sys.argv[1]).read_bytes()))
job = program.job()
pairs = list(job.map(0, "ABC"))
codec = Codec(program.types)
again = codec.decode(*codec.encode(pairs))
assert again == pairs, again
print(again, job.reduce(again[0][0], (seen for _, seen in again)))
"""


def in_another_process(folder: Path, program: str, *arguments: str) -> str:
    path = folder / f"p{len(list(folder.iterdir()))}.py"
    path.write_text(program)
    done = subprocess.run(
        [sys.executable, str(path), *arguments], capture_output=True, text=True, cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


SAVE = "\nimport pathlib, pickle\npathlib.Path('code').write_bytes(pickle.dumps(code))\n"
LOADED = "[(Word(text='abc'), Seen(times=2, by='nobody'))] 2\n"


def test_a_script_and_the_module_beside_it_reach_a_process_that_has_neither(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir(), there.mkdir()
    (here / "beside.py").write_text("def lower(text):\n    return text.lower()\n")
    in_another_process(here, SCRIPT + SAVE)
    assert in_another_process(there, LOADER, str(here / "code")) == LOADED


def test_a_notebooks_cell_reaches_another_process(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir(), there.mkdir()
    (here / "beside.py").write_text("def lower(text):\n    return text.lower()\n")
    cell = f"exec(compile({SCRIPT!r}, '<cell>', 'exec'), globals())"
    in_another_process(here, cell + SAVE)
    assert in_another_process(there, LOADER, str(here / "code")) == LOADED


def test_a_file_loaded_by_its_path_reaches_another_process(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir(), there.mkdir()
    (here / "beside.py").write_text("def lower(text):\n    return text.lower()\n")
    (here / "job.py").write_text(SCRIPT)
    load_it = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("some_job", "job.py")
module = importlib.util.module_from_spec(spec)
sys.modules["some_job"] = module
spec.loader.exec_module(module)
code = module.code
"""
    in_another_process(here, load_it + SAVE)
    assert in_another_process(there, LOADER, str(here / "code")) == LOADED


def test_what_is_named_travels_by_its_name_alone() -> None:
    name = "services.mapreduce.jobs.word_count:WordCount"
    assert pack(Spec(name, inputs="x", output="y")) == (name, b"")
    code = pack(Spec(name, inputs="x", output="y", reduces=7, combiner=False))
    assert code[1] == b""  # no pickle, whose size depends on the Python
    program = load(code)
    assert issubclass(program.job, Job) and program.job is WordCount  # type: ignore[arg-type]
    assert (program.reduces, program.combiner) == (7, False)
    assert load(pack(Spec(name, inputs="x", output="y"))).combiner


def test_functions_may_be_named_too() -> None:
    word_count = "services.mapreduce.jobs.word_count"
    code = pack(Spec(map=f"{word_count}:tokens", inputs="x", output="y"))
    assert code == (f"{word_count}:tokens - -", b"")
    assert load(code).job().map("B a") == ["b", "a"]  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("spec", "error"),
    [
        (Spec("no.such:Job"), "no such job or function: 'no.such:Job'"),
        (Spec("services.mapreduce.jobs.word_count:Nothing"), "has no attribute 'Nothing'"),
        (Spec("services.mapreduce.jobs.word_count:tokens"), "is no subclass of Job"),
        (Spec("no colon"), "no such job"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused(spec: Spec, error: str) -> None:
    with pytest.raises(SpecError, match=error):
        pack(spec)


def test_code_that_cannot_be_pickled_is_refused() -> None:
    lock = threading.Lock()
    with pytest.raises(SpecError, match="cannot be sent to workers: cannot pickle"):
        pack(Spec(map=lambda key, value: [(lock.locked(), 1)]))


def untyped(key, value):  # type: ignore[no-untyped-def]
    yield value, 1


def typed(key: bytes, values: list[float]) -> list[str]:
    return []


class Place(msgspec.Struct, frozen=True, order=True):
    name: str
    number: int


def test_a_key_that_would_arrive_as_a_dict_is_refused_with_what_to_do() -> None:
    pairs = [(Place("a", 1), 1)]
    loose, typed = Codec(Types()), Codec(Types(key=Place))
    assert typed.decode(*typed.encode(pairs)) == pairs
    with pytest.raises(TypeError, match=r"unless map's type hint names its class: -> Iterator\[tuple\["):
        loose.decode(*loose.encode(pairs))


def test_hints_are_read_from_map_then_combine_then_reduce() -> None:
    def types(**functions: Any) -> Types:
        return load(pack(Spec(**functions))).types

    assert types(job=WordCount) == Types(str, str, int, int)
    assert types(map=untyped, reduce=typed) == Types(Any, bytes, float, str)
    assert types(map=untyped) == Types()

    def items(key: int, value: bytes) -> dict[str, tuple[int, ...]]:
        return {}

    assert types(map=items) == Types(bytes, str, tuple[int, ...], tuple[int, ...])


def test_a_spec_says_in_one_line_what_is_wrong_with_it() -> None:
    good = {"map": untyped, "inputs": ["x"], "output": "y"}
    for wrong, error in {
        "map": (None, "needs either a job or a map function"),
        "job": (WordCount, "needs either a job or a map function"),
        "inputs": ([], "inputs: none given"),
        "output": ("", "output: no folder given"),
        "reduces": (-1, "reduces: -1 is less than 0"),
        "split_bytes": (0, "split_bytes: 0 is less than 1"),
        "maps": (0, "maps: 0 is less than 1"),
        "memory": (-5, "memory: -5 is less than 0"),
        "max_attempts": (0, "max_attempts: 0 is less than 1"),
        "task_timeout": (0, "task_timeout: 0 s is no time"),
        "reduce": (3, "reduce: 3 is no function"),
    }.items():
        value, said = error
        with pytest.raises(SpecError, match=said):
            Spec(**{**good, wrong: value}).check()
    Spec(**good).check()
    json.dumps(Spec(**good).paths)
