"""MapReduce jobs against what one would otherwise write: word count and sort, whole commands.

.venv/bin/python -m tests.bench.mapreduce_jobs [--quick | --full]

Word count grows to 1 GB; with `--full` to 4 GB.
"""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.bench.figure import Figure, show
from tests.bench.peaks import DSIM, Timed, timed
from tests.bench.texts import write_records, write_text

if TYPE_CHECKING:
    from collections.abc import Iterator

EXAMPLES = "services.mapreduce.examples"
MEGABYTE = 1 << 20
LIMIT_MB = 512

BY_HAND = """
import sys
from collections import Counter
from multiprocessing import Pool
from os.path import getsize

SPLIT = 64 << 20


def count(start):
    with open(sys.argv[1], "rb") as file:
        if start:
            file.seek(start - 1)
            file.readline()
        return Counter((file.read(SPLIT - 1 - (file.tell() - start)) + file.readline()).split())


if __name__ == "__main__":
    total = Counter()
    with Pool(2) as pool:
        for counts in pool.imap_unordered(count, range(0, getsize(sys.argv[1]), SPLIT)):
            total.update(counts)
    with open(sys.argv[2], "wb") as out:
        for word, times in sorted(total.items()):
            out.write(b"%b\\t%d\\n" % (word, times))
"""

DASK_BAG = """
import sys

if __name__ == "__main__":
    import dask.bag
    from distributed import Client, LocalCluster

    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster, Client(cluster):
        words = dask.bag.read_text(sys.argv[1], blocksize=64 << 20).str.split().flatten()
        with open(sys.argv[2], "w") as out:
            for word, times in sorted(words.frequencies().compute()):
                out.write(f"{word}\\t{times}\\n")
"""

SPARK = """
import sys

from pyspark import SparkContext

with SparkContext("local[2]") as spark:
    spark.setLogLevel("ERROR")
    words = spark.textFile(sys.argv[1]).flatMap(str.split).map(lambda word: (word, 1))
    with open(sys.argv[2], "w") as out:
        for word, times in sorted(words.reduceByKey(lambda a, b: a + b).collect()):
            out.write(f"{word}\\t{times}\\n")
"""


def figures(quick: bool) -> Iterator[Figure]:
    """Measures."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yield from word_count(folder, quick)
        yield from growth(folder, quick)
    with tempfile.TemporaryDirectory() as name:
        yield from sort(Path(name), quick)


def word_count(folder: Path, quick: bool) -> Iterator[Figure]:
    """Compares with a script, dask.bag and PySpark."""
    size = (16 if quick else 256) * MEGABYTE
    what = f"word count, {size // MEGABYTE} MB, 2 workers, start-up included"
    write_text(folder / "text", size)
    by_hand, by_blocks = [], []
    for _ in range(2):  # one after the other, so that what else the machine does meets both
        by_hand.append(_script(folder, BY_HAND))
        by_blocks.append(_count(folder, "FastWordCount", folder / "text"))
    expected = (folder / "counted").read_text()
    ours, script = min(by_blocks), min(by_hand)
    same = _sorted_output(folder) == expected
    yield _ratio(f"{what}: a block at a time", ours, script, "multiprocessing + Counter", 1.3, quick, same)
    line = _count(folder, "WordCount", folder / "text")
    same = _sorted_output(folder) == expected
    yield _ratio(f"{what}: a word at a time", line, script, "multiprocessing + Counter", 0, quick, same)
    yield Figure(
        "the same: the largest process", line.peak / MEGABYTE, "MB", "at most", LIMIT_MB, "the limit set"
    )
    for label, module, program in (("dask.bag", "dask", DASK_BAG), ("PySpark local[2]", "pyspark", SPARK)):
        if importlib.util.find_spec(module) is None or (module == "pyspark" and not shutil.which("java")):
            print(f"{what}: {label} is left out: no {module if module != 'pyspark' else 'pyspark or java'}")
            continue
        theirs = _script(folder, program)
        same = (folder / "counted").read_text() == expected
        yield _ratio(f"{what}: a block at a time", ours, theirs, label, 1.0, quick, same)
        yield _ratio(f"{what}: a word at a time", line, theirs, label, 1.0, quick, same)


def growth(folder: Path, quick: bool) -> Iterator[Figure]:
    """Looks at time and memory of larger inputs."""
    sizes = [16, 64] if quick else [256, 1024, 4096] if "--full" in sys.argv[1:] else [256, 1024]
    measured: dict[int, Timed] = {}
    for size in sizes:
        write_text(folder / "text", size * MEGABYTE)
        measured[size] = _count(folder, "FastWordCount", folder / "text")
        peak = measured[size].peak / MEGABYTE
        yield Figure(
            f"word count, {size} MB: the largest process",
            peak,
            "MB",
            "at most",
            LIMIT_MB,
            f"the limit set; {measured[size].seconds:.1f} s, processor time {measured[size].processor:.1f} s",
        )
    small, large = measured[sizes[-2]], measured[sizes[-1]]
    times = sizes[-1] // sizes[-2]
    yield Figure(
        f"word count, {sizes[-1]} MB against {sizes[-2]} MB, {times} times as much: time",
        large.seconds / small.seconds,
        "x",
        "" if quick else "at most",
        1.1 * times,
        f"{large.seconds:.1f} s; {small.seconds:.1f} s; processor time "
        f"{large.processor / small.processor:.2f} x",
    )
    yield Figure(
        f"word count, {sizes[-1]} MB against {sizes[0]} MB: the largest process",
        large.peak / measured[sizes[0]].peak,
        "x",
        "" if quick else "at most",
        1.1,
        f"{large.peak / MEGABYTE:.0f} MB; {measured[sizes[0]].peak / MEGABYTE:.0f} MB",
    )


def sort(folder: Path, quick: bool) -> Iterator[Figure]:
    """Compares with sort(1); a job checks the result."""
    size = (16 if quick else 1024) * MEGABYTE
    write_records(folder / "in", size)
    theirs = timed("LC_ALL=C sort --parallel=2 -S 512M in >sorted", folder)
    (folder / "sorted").unlink()
    ours = timed(
        [DSIM, "mr", f"{EXAMPLES}.tera_sort:TeraSort", "--input", "in", "--output", "out", "--reducers", "2",
         "--workers", "2", "--memory", f"{LIMIT_MB}M"],
        folder,
    )  # fmt: skip
    sums = [_validated(folder, name) for name in ("in", "out")]
    same = not sums[1][0] and sums[0][1:] == sums[1][1:]
    yield _ratio(
        f"sort, {size // MEGABYTE} MB of 100-byte records", ours, theirs,
        "LC_ALL=C sort --parallel=2 -S 512M", 3.0, quick, same,
    )  # fmt: skip
    yield Figure(
        "the same: the largest process", ours.peak / MEGABYTE, "MB", "at most", LIMIT_MB, "the limit set"
    )


def _ratio(
    what: str, ours: Timed, theirs: Timed, reference: str, target: float, quick: bool, same: bool
) -> Figure:
    said = (
        f"{ours.seconds:.1f} s; {reference}: {theirs.seconds:.1f} s; processor time {ours.processor:.1f} s "
        f"and {theirs.processor:.1f} s, {ours.processor / theirs.processor:.2f} x; the output is "
        f"{'right' if same else 'WRONG'}"
    )
    ratio = ours.seconds / theirs.seconds if same else float("inf")
    return Figure(what, ratio, "x", "" if quick or not target else "at most", target, said)


def _script(folder: Path, program: str) -> Timed:
    (folder / "program.py").write_text(program)
    return timed([sys.executable, "program.py", "text", "counted"], folder)


def _count(folder: Path, job: str, text: Path) -> Timed:
    shutil.rmtree(folder / "out", ignore_errors=True)
    return timed(
        [DSIM, "mr", f"{EXAMPLES}.word_count:{job}", "--input", text, "--output", "out", "--workers", "2",
         "--reducers", "2", "--memory", f"{LIMIT_MB}M"],
        folder,
    )  # fmt: skip


def _sorted_output(folder: Path) -> str:
    lines = [line for part in (folder / "out").glob("part-*") for line in part.read_text().splitlines()]
    return "".join(f"{line}\n" for line in sorted(lines, key=lambda line: line.split("\t")[0]))


def _validated(folder: Path, name: str) -> tuple[str, int, int]:
    """Returns what is not in order, the number of records, and their sum."""
    report = f"report-{name}"
    done = subprocess.run(
        [DSIM, "mr", f"{EXAMPLES}.tera_sort:TeraValidate", "--input", name, "--output", report, "--json"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    counters = json.loads(done.stdout)["counters"]
    return (folder / report / "part-00000").read_text(), counters["rows"], counters["checksum"]


if __name__ == "__main__":
    show(figures)
