"""`dsim mr`: one MapReduce job from the command line."""

from pathlib import Path

import pytest

from .conftest import Dsim

WORD_COUNT = '''
"""Counts words."""

from collections.abc import Iterable, Iterator

from services.mapreduce.job import Job


class WordCount(Job):
    def map(self, offset: int, line: str) -> Iterator[tuple[str, int]]:
        for word in line.split():
            yield word, 1

    def reduce(self, word: str, counts: Iterable[int]) -> Iterator[int]:
        yield sum(counts)

    combine = reduce
'''


@pytest.fixture
def folder(dsim: Dsim) -> Path:
    """The current folder, with a job and some input."""
    Path("words.py").write_text(WORD_COUNT)
    Path("texts").mkdir()
    Path("texts/a").write_text("to be or not to be\n")
    Path("texts/b").write_text("that is the question\nto be\n")
    return Path.cwd()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("", "name a job (JOB.py), or commands: --mapper CMD --reducer CMD"),
        ("words.py --mapper cat", "either a job, or commands (--mapper, --reducer, --combiner), not both"),
        ("--reducer cat", "name a job (JOB.py), or commands: --mapper CMD --reducer CMD"),
        ("--mapper cat --combiner cat", "a combiner needs a reducer"),
        ("--mapper cat --reducers 2", "2 reduces need a reducer (cat passes its input on)"),
        ("--mapper cat --reducer NONE --reducers 2", "2 reduces need a reducer"),
        ("--mapper nosuch", "--mapper: there is no command 'nosuch'"),
        ("--mapper ./words.py", "--mapper: ./words.py is not executable (chmod +x ./words.py)"),
        ("--mapper words.py", "--mapper: words.py is not executable (chmod +x words.py)"),
        ("--mapper texts", "--mapper: texts is a folder, not a command"),
        ("--mapper cat --reducer ./nowhere.sh", "--reducer: there is no command './nowhere.sh'"),
        ("--mapper cat|", "--mapper 'cat|': "),
        ("--mapper cat --skip-bad-records", "a streaming job cannot skip bad records"),
        ("nowhere.py", "there is no job file nowhere.py"),
        ("nowhere", "there is no job 'nowhere': No module named 'nowhere'"),
        ("words", "there is no job 'words': No module named 'words'; did you mean words.py?"),
        ("words.py:Count", "words.py has no job 'Count'; did you mean WordCount? (it has: WordCount)"),
        ("empty.py", "empty.py holds no job: write a class Job, or a function map"),
        ("two.py", "two.py holds 2 jobs: name one of them, two.py:WordCount or two.py:Other"),
        ("words.py --engine gprc", "there is no engine 'gprc'; did you mean grpc? (there are: grpc, local"),
        ("words.py --engine local --workers 3", "--workers is for --engine grpc or dask, not local"),
        ("words.py --only map:3", "--only is for --engine local, not grpc"),
        ("words.py --engine local --only maps:3", "--only maps:3: write it as map:N or reduce:N"),
        ("words.py --scheduler tcp://x:1", "--scheduler is for --engine dask, not grpc"),
        ("words.py --workers 0", "--workers 0: must be from 1 to 100"),
        ("words.py --reducers -1", "--reducers -1: must be from 0 to 100,000"),
        ("words.py --split-size much", "--split-size much: write a size such as 64M or 1G"),
        ("words.py --memory 0", "--memory 0: write a size such as 64M or 1G"),
        ("words.py --memory 1M", "--memory 1M: must be at least 64M"),
        ("words.py --max-attempts 0", "--max-attempts 0: must be from 1 to 1,000"),
        ("words.py --task-timeout nan", "--task-timeout nan: must be from 0.1 to 1,000,000"),
        ("words.py --set x", "--set x: write it as KEY=VALUE"),
        ("words.py --input gone --input lost", "cannot read gone: No such file or directory; lost: No such"),
        ("words.py --output texts", "output texts exists already: choose a new folder, or remove it"),
        ("words.py --output words.py/out", "output words.py/out cannot be made: "),
        ("words.py --cluster gone", "there is no cluster in"),
    ],
)  # fmt: skip
def test_one_line_says_what_is_wrong(dsim: Dsim, folder: Path, arguments: str, said: str) -> None:
    Path("empty.py").write_text("x = 1\n")
    Path("two.py").write_text(WORD_COUNT + "\n\nclass Other(WordCount):\n    pass\n")
    before = snapshot(folder)
    rest = [] if "--output" in arguments else ["--output", "out"]
    rest += [] if "--input" in arguments else ["--input", "texts"]
    result = dsim("mr", *arguments.split(), *rest)
    assert result.status == 2
    assert result.err.startswith(f"dsim: {said}")
    assert len(result.err.splitlines()) == 1
    assert result.out == ""
    assert snapshot(folder) == before


def test_input_and_output_must_be_named(dsim: Dsim, folder: Path) -> None:
    assert dsim("mr", "words.py", "--output", "out").err == "dsim: name the input: --input PATH\n"
    result = dsim("mr", "words.py", "--input", "texts")
    assert result == (2, "", "dsim: name a new folder for the output: --output DIR\n")


def test_a_job_that_raises_on_import_is_shown_with_its_line(dsim: Dsim, folder: Path) -> None:
    Path("broken.py").write_text("import os\nos.nowhere()\n")
    result = dsim("mr", "broken.py", "--input", "texts", "--output", "out")
    assert result.status == 2
    assert result.err == (
        f"dsim: cannot load {folder / 'broken.py'}, line 2: "
        "AttributeError: module 'os' has no attribute 'nowhere'\n    os.nowhere()\n"
    )


def snapshot(folder: Path) -> list[str]:
    return sorted(str(path) for path in folder.rglob("*") if "__pycache__" not in path.parts)
