"""The examples say what they should, on every engine."""

import os
import random
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.mapreduce import examples
from services.mapreduce.examples.grep import Grep
from services.mapreduce.examples.inverted_index import InvertedIndex
from services.mapreduce.examples.join import Join
from services.mapreduce.examples.tera_sort import ROW, TeraGen, TeraSort, TeraValidate
from services.mapreduce.examples.top_words import top
from services.mapreduce.examples.word_count import FastWordCount, WordCount
from services.mapreduce.job import Result, Spec, run
from services.mapreduce.tasks import streaming

TEXT = "to be or not to be\nthat is the question\n"


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a dask cluster of one process."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=1, dashboard_address=":0", memory_limit=0, silence_logs=60
    ) as cluster:
        yield cluster.scheduler_address


@pytest.fixture(params=["local", "grpc", "dask"])
def engine(request: pytest.FixtureRequest) -> dict[str, Any]:
    """How to run, as options of `run`."""
    if request.param == "dask":
        return {"engine": "dask", "scheduler": request.getfixturevalue("scheduler")}
    return {"engine": request.param, "workers": 2}


class Folder:
    """A folder to work in."""

    def __init__(self, path: Path, engine: dict[str, Any]) -> None:
        self.path = path
        self.engine = engine

    def write(self, name: str, text: str) -> None:
        (self.path / name).write_text(text)

    def run(self, job: Any, *inputs: str, output: str = "out", **more: Any) -> Result:
        paths = [str(self.path / name) for name in inputs]
        return run(Spec(job, inputs=paths, output=str(self.path / output), **more), **self.engine)


@pytest.fixture
def folder(tmp_path: Path, engine: dict[str, Any]) -> Folder:
    return Folder(tmp_path, engine)


def test_word_count(folder: Folder) -> None:
    folder.write("a", TEXT)
    folder.write("b", TEXT * 2)
    assert dict(folder.run(WordCount, "a", "b", reduces=2)) == {
        word: 3 * times for word, times in Counter(TEXT.split()).items()
    }


def test_nothing_is_lost_where_a_task_ends_with_more_pairs_than_the_buffer_holds(tmp_path: Path) -> None:
    words = [f"w{number}" for number in range(60_000)]
    (tmp_path / "a").write_text("\n".join(words * 8))
    result = Folder(tmp_path, {"engine": "local"}).run(FastWordCount, "a", memory=16 << 20)
    assert result.counters["combine output records"] > len(words)  # it has spilled
    assert dict(result) == dict.fromkeys(words, 8)


def test_grep(folder: Folder) -> None:
    (folder.path / "a").write_bytes(b"one\nbad \xff byte\ntwo\n")
    result = folder.run(Grep, "a", settings={"pattern": "o|byte"})
    assert (folder.path / "out/part-00000").read_bytes() == b"one\nbad \xff byte\ntwo\n"
    assert result.counters["matching lines"] == 3


def test_inverted_index(folder: Folder) -> None:
    folder.write("a", "hamlet\tTo be, or not to be\nlear\tnever be\n")
    found = dict(folder.run(InvertedIndex, "a"))
    assert found["be"] == "hamlet lear"
    assert found["never"] == "lear"


def test_join(folder: Folder) -> None:
    folder.write("users", "user\t1\tAda\nuser\t2\tBob\nuser\t3\tCid\n")
    folder.write("orders", "order\t2\ttea\norder\t1\tcake\norder\t2\tmilk\norder\t9\tjam\n")
    result = folder.run(Join, "users", "orders", reduces=2)
    lines = "".join(path.read_text() for path in sorted((folder.path / "out").glob("part-*"))).splitlines()
    assert sorted(lines) == ["1\tAda\tcake", "2\tBob\tmilk", "2\tBob\ttea"]
    assert result.counters["orders without a user"] == 1


def test_tera_sort(folder: Folder) -> None:
    folder.write("blocks", "".join(f"{block}\n" for block in range(8)))
    made = folder.run(TeraGen, "blocks", output="data", settings={"rows": "500"}, split_bytes=4)
    assert made.counters["rows"] == 4000
    folder.run(TeraSort, "data", output="sorted", reduces=3, split_bytes=100_000)
    checked = folder.run(TeraValidate, "sorted", output="report")
    assert list(checked) == []
    for name in ("rows", "checksum"):
        assert checked.counters[name] == made.counters[name]
    sizes = [path.stat().st_size // ROW for path in sorted((folder.path / "sorted").glob("part-*"))]
    assert len(sizes) == 3
    assert max(sizes) < 2 * min(sizes)  # the sample has cut well


def test_tera_validate_finds_what_is_wrong(tmp_path: Path) -> None:
    rows = [bytes([65 + n]) * ROW for n in range(6)]
    folder = Folder(tmp_path, {"engine": "local"})
    for name, parts in {
        "inside": [[rows[0], rows[2], rows[1]], rows[3:]],
        "between": [rows[3:], rows[:3]],
    }.items():
        (tmp_path / name).mkdir()
        for number, part in enumerate(parts):
            (tmp_path / name / f"part-0000{number}").write_bytes(b"".join(part))
        said = dict(folder.run(TeraValidate, name, output=f"{name}-report"))
        (what,) = said.values()
        assert (
            what == {"inside": "is not in order", "between": "begins before what comes before it ends"}[name]
        )


def test_a_chain_of_two_jobs(folder: Folder) -> None:
    draw = random.Random(1)
    words = [draw.choice("abcdefgh") for _ in range(1000)]
    folder.write("a", " ".join(words))
    ranked = top([str(folder.path / "a")], str(folder.path / "top"), 3, **folder.engine)
    assert ranked == sorted(Counter(words).items(), key=lambda pair: (-pair[1], pair[0]))[:3]


def test_awk(folder: Folder) -> None:
    folder.write("log", "GET /a 200 10\nGET /b 404 5\nGET /a 200 30\n")
    total = "awk -F'\\t' '{n[$1] += $2} END {for (k in n) print k \"\\t\" n[k]}'"
    spec = streaming.spec(
        "awk '{print $2 \"\\t\" $4}'",
        total,
        combiner=total,
        inputs=str(folder.path / "log"),
        output=str(folder.path / "out"),
    )
    assert sorted(run(spec, **folder.engine)) == [(b"/a", b"40"), (b"/b", b"5")]


def test_what_the_readme_shows_is_what_there_is(tmp_path: Path) -> None:
    shown = re.findall(r"```console\n(.*?)```", Path(examples.__path__[0], "README.md").read_text(), re.S)
    lines = "".join(shown).splitlines()
    script = "\n".join(line[2:] for line in lines if line.startswith(("$ ", "> ")))
    binaries = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=tmp_path,
        env={**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    expected = "\n".join(line for line in lines if not line.startswith(("$ ", "> ")))
    seconds = re.compile(r"\d+\.\d s")
    assert seconds.sub("N s", done.stdout.rstrip("\n")) == seconds.sub("N s", expected)
