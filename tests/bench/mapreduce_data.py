"""MapReduce's data path on two processes, without master and network, beside plain programs.

Word count over generated text beside `multiprocessing` and `Counter`; a sort of 100-byte records beside GNU
sort. Both in the same run, on the same files. `python -m tests.bench.mapreduce_data [--quick]`
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from services.files.api import Range
from services.mapreduce import Job, PairsOutput, Records, Spec, TextBlocks, TotalOrder
from services.mapreduce.code import pack, program_of
from services.mapreduce.tasks.map import run_map
from services.mapreduce.tasks.order import Done, Order
from services.mapreduce.tasks.reduce import run_reduce
from services.real.storage import FolderStorage
from tests.bench.figure import Figure, show

MB = 1 << 20
PROCESSES = 2
SPLIT = 64 * MB
MEMORY = 256 * MB
"""What a process may use in both programs that are measured: a sort buffer is a share of it."""

COPY = 4 * MB
LINE = 100


class WordCount(Job):
    """A block of lines at a time: the words are counted in C."""

    input = TextBlocks(4 * MB)

    def map(self, offset: int, lines: bytes) -> dict[bytes, int]:
        return Counter(lines.split())

    def reduce(self, word: bytes, counts: Iterator[int]) -> int:
        return sum(counts)

    combine = reduce


class Sort(Job):
    """Nothing but types: records are sorted in blocks."""

    input = Records(LINE, key=10)
    output = PairsOutput()


class SortOneByOne(Sort):
    """The same with a map of one's own: each record passes through Python."""

    def map(self, key: bytes, rest: bytes) -> Iterable[tuple[bytes, bytes]]:
        return [(key, rest)]


class Within:
    """`services.child.Inside`, for a process of a pool."""

    def __init__(self, folder: str) -> None:
        self.disk = FolderStorage(folder)
        self.clock = time.monotonic

    def log(self, path: str) -> None: ...

    def mark(self, number: int) -> None: ...

    def tell(self, message: Any) -> None: ...


def _map(folder: str, order: Order) -> tuple[Done, int]:
    return run_map(Within(folder), order, FolderStorage("/")), _peak()


def _reduce(folder: str, order: Order, maps: list[Done]) -> tuple[Done, int]:
    within = Within(folder)
    with within.disk.open(order.segments[0], "wb") as segment:
        for done in maps:
            start, end = done.offsets[order.number : order.number + 2]
            with within.disk.open(done.path) as regions:
                regions.seek(start)
                for at in range(start, end, COPY):
                    segment.write(regions.read(min(COPY, end - at)))
    return run_reduce(within, order, FolderStorage("/")), _peak()


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def run_job(job: type[Job], path: Path, folder: Path, reduces: int, **more: Any) -> tuple[float, int]:
    """Runs all tasks of a job; returns seconds, and the most memory that a process has had, in MB."""
    began = time.perf_counter()
    shutil.rmtree(folder, ignore_errors=True)
    spec = Spec(job, inputs=str(path), output=str(folder / "out"), reduces=reduces, memory=MEMORY, **more)
    code, size = pack(spec), path.stat().st_size

    def order(number: int, **task: Any) -> Order:
        return Order(
            job="job", code=code, number=number, attempt=1, reduces=program_of(spec).reduces,
            maps=-(-size // SPLIT), output=spec.output, memory_bytes=spec.memory, **task,
        )  # fmt: skip

    with multiprocessing.get_context("fork").Pool(PROCESSES) as pool:
        splits = [Range(str(path), at, min(SPLIT, size - at)) for at in range(0, size, SPLIT)]
        maps = pool.starmap(
            _map, [(str(folder), order(n, split=(split,))) for n, split in enumerate(splits)], chunksize=1
        )
        done = [task for task, _ in maps]
        parts = pool.starmap(
            _reduce,
            [(str(folder), order(n, segments=(f"job/{n}.pulled",)), done) for n in range(reduces)],
            chunksize=1,
        )
    for n, (part, _) in enumerate(parts):
        os.rename(part.path, folder / f"part-{n:05}")
    return time.perf_counter() - began, max(peak for _, peak in (*maps, *parts))


# The plain programs


def _count(path: str, start: int, end: int) -> Counter[bytes]:
    words: Counter[bytes] = Counter()
    with open(path, "rb") as file:
        at = start
        if start:
            file.seek(start - 1)
            at += len(file.readline()) - 1
        for line in file:
            if at >= end:
                break
            words.update(line.split())
            at += len(line)
    return words


def plain_word_count(path: Path, output: Path) -> float:
    """What one would write by hand; returns seconds."""
    began = time.perf_counter()
    size = path.stat().st_size
    words: Counter[bytes] = Counter()
    with multiprocessing.get_context("fork").Pool(PROCESSES) as pool:
        pieces = [(str(path), at, min(at + SPLIT, size)) for at in range(0, size, SPLIT)]
        for some in pool.starmap(_count, pieces, chunksize=1):
            words.update(some)
    with output.open("wb") as file:
        for word, count in sorted(words.items()):
            file.write(b"%b\t%d\n" % (word, count))
    return time.perf_counter() - began


def plain_sort(path: Path, output: Path) -> float:
    """GNU sort; returns seconds."""
    began = time.perf_counter()
    command = ["sort", f"--parallel={PROCESSES}", "-S", "512M", "-T", str(output.parent), "-o", str(output)]
    subprocess.run([*command, str(path)], check=True, env={**os.environ, "LC_ALL": "C"})
    return time.perf_counter() - began


# Input


def write_text(path: Path, size: int) -> None:
    """Writes text whose words are as frequent as Zipf's law has them."""
    chance = np.random.default_rng(1)
    words = ["".join(map(chr, chance.integers(97, 123, chance.integers(2, 10)))) for _ in range(50_000)]
    share = np.cumsum(1 / np.arange(1, len(words) + 1))
    with path.open("w") as file:
        while file.tell() < size:
            drawn = np.searchsorted(share, chance.random(100_000) * share[-1])
            some = [words[number] for number in drawn]
            file.writelines(" ".join(some[at : at + 10]) + "\n" for at in range(0, len(some), 10))


def write_records(path: Path, size: int) -> None:
    """Writes records: a key of 10 printable bytes, a space, more of them, a newline."""
    chance = np.random.default_rng(2)
    with path.open("wb") as file:
        for _ in range(max(1, size // (10 * MB))):
            rows = chance.integers(33, 127, (10 * MB // LINE, LINE), np.uint8)
            rows[:, 10], rows[:, -1] = 32, 10
            file.write(rows.data)


def checksum(paths: Iterable[Path]) -> int:
    """Returns a sum over records that depends on each of them, and not on their order."""
    weights = np.random.default_rng(3).integers(1, 1 << 62, LINE, np.uint64)
    total = 0
    for path in paths:
        with path.open("rb") as file:
            while data := file.read(LINE * 100_000):
                rows = np.frombuffer(data, np.uint8).reshape(-1, LINE).astype(np.uint64)
                hashed = (rows * weights).sum(axis=1, dtype=np.uint64)
                total += int((hashed * hashed).sum(dtype=np.uint64))
    return total % (1 << 64)


def _sorted_in_order(parts: list[Path]) -> bool:
    """Says whether the parts one after the other are sorted by key."""
    last = b""
    for part in parts:
        with part.open("rb") as file:
            while data := file.read(LINE * 100_000):
                keys = [data[at : at + 10] for at in range(0, len(data), LINE)]
                if last > keys[0] or keys != sorted(keys):
                    return False
                last = keys[-1]
    return True


def _best(times: int, measure: Callable[[], Any]) -> Any:
    return min(measure() for _ in range(times))


def figures(quick: bool) -> Iterator[Figure]:
    """Measures word count and sort."""
    base = tempfile.mkdtemp(prefix="dsim-bench-")
    folder = Path(base)
    try:
        yield from _word_count(folder, (64 if quick else 256) * MB)
        yield from _sort(folder, (100 if quick else 1000) * MB)
    finally:
        shutil.rmtree(base)


def _word_count(folder: Path, size: int) -> Iterator[Figure]:
    text, work = folder / "text", folder / "work"
    write_text(text, size)
    plain_word_count(text, folder / "plain")  # warms the page cache
    plain = _best(2, lambda: plain_word_count(text, folder / "plain"))
    seconds, peak = _best(2, lambda: run_job(WordCount, text, work, 2))
    counted = sorted(line for part in work.glob("part-*") for line in part.read_bytes().splitlines())
    assert counted == sorted((folder / "plain").read_bytes().splitlines())
    yield Figure(
        f"word count, {size // MB} MB, {PROCESSES} processes", seconds / plain, "x", "at most", 1.3,
        f"multiprocessing and Counter: {plain:.1f} s",
    )  # fmt: skip
    with text.open("rb") as source, (folder / "text4").open("wb") as target:
        for _ in range(4):
            source.seek(0)
            shutil.copyfileobj(source, target, COPY)
    longer, peak4 = run_job(WordCount, folder / "text4", work, 2)
    yield Figure(
        "word count, 4 times the text: seconds a byte", longer / 4 / seconds, "x", "at most", 1.2,
        f"{seconds:.1f} s",
    )  # fmt: skip
    yield Figure("its memory", peak4 / peak, "x", "at most", 1.1, f"{peak} MB, limit {MEMORY // MB}")
    (folder / "text4").unlink()


def _sort(folder: Path, size: int) -> Iterator[Figure]:
    records, work = folder / "records", folder / "work"
    write_records(records, size)
    plain = plain_sort(records, folder / "plain")
    reduces = 4
    order = TotalOrder([bytes([33 + 94 * n // reduces]) for n in range(1, reduces)])
    expected = checksum([records])
    for job, name in ((Sort, "in blocks"), (SortOneByOne, "each through Python")):
        seconds, peak = run_job(job, records, work, reduces, partitioner=order)
        parts = sorted(work.glob("part-*"))
        assert _sorted_in_order(parts) and checksum(parts) == expected
        yield Figure(
            f"sort, {size // MB} MB of records, {name}", seconds / plain, "x", "at most",
            3.0, f"GNU sort --parallel=2 -S 512M: {plain:.1f} s",
        )  # fmt: skip
        yield Figure(
            f"its memory, {name}", peak, "MB", "at most", MEMORY / MB, "what a process may use"
        )  # fmt: skip


if __name__ == "__main__":
    show(figures)
