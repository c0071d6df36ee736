"""The local engine (4.7): all in one process, what goes wrong comes out as it was raised."""

from __future__ import annotations

import asyncio
import gzip
import json
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from protos import mapreduce_pb2 as pb
from services.files.api import FileInfo, Range
from services.mapreduce import Input, Job, JobFailed, Spec, SpecError, TextBlocks, TotalOrder, run
from services.mapreduce.outputs import TextOutput

TEXT = "the quick brown fox\njumps over the lazy dog\n" * 200


class Words(Job):
    input = TextBlocks()

    def map(self, offset: int, block: str) -> dict[str, int]:
        return Counter(block.split())

    def reduce(self, word: str, counts: Iterator[int]) -> int:
        return sum(counts)

    combine = reduce


def spec(folder: Path, **more: Any) -> Spec:
    (folder / "in").mkdir(exist_ok=True)
    (folder / "in" / "a.txt").write_text(TEXT)
    (folder / "in" / "b.txt.gz").write_bytes(gzip.compress(TEXT.encode()))
    job = {} if "map" in more else {"job": Words}
    return Spec(
        **{**job, "inputs": [str(folder / "in")], "output": str(folder / "out"), "reduces": 3, **more}
    )


def test_a_job_from_start_to_end(tmp_path: Path) -> None:
    told: list[pb.Progress] = []
    result = run(spec(tmp_path, split_bytes=1000), "local", progress=told.append)
    assert dict(result) == {word: 2 * n for word, n in Counter(TEXT.split()).items()}
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "_SUCCESS", "part-00000", "part-00001", "part-00002",
    ]  # fmt: skip
    assert (result.maps, result.reduces) == (10, 3)
    assert result.bytes["input"] == len(TEXT) + (tmp_path / "in" / "b.txt.gz").stat().st_size
    assert json.loads(json.dumps(result.json()))["counters"]["reduce output records"] == 8
    assert told[-1].state == pb.Progress.DONE and told[-1].maps_completed == 10


def test_it_runs_below_a_running_loop_as_in_a_notebook(tmp_path: Path) -> None:
    async def cell() -> dict[str, int]:
        return dict(run(spec(tmp_path), "local"))

    assert asyncio.run(cell())["the"] == 800


def test_a_total_order_is_cut_by_a_sample(tmp_path: Path) -> None:
    def numbers(offset: int, line: str) -> Iterator[tuple[int, str]]:
        yield int(line), line

    (tmp_path / "n.txt").write_text("".join(f"{n * 7919 % 10_000}\n" for n in range(10_000)))
    result = run(
        spec(
            tmp_path, map=numbers, inputs=str(tmp_path / "n.txt"), reduces=4, partitioner=TotalOrder(), maps=5
        ),
        "local",
    )
    assert [key for key, _ in result] == list(range(10_000))
    sizes = [len((tmp_path / "out" / f"part-{n:05}").read_text().splitlines()) for n in range(4)]
    assert min(sizes) > 1500


class Squares(Input):
    """A source that is no file, and splits itself."""

    def split(self, files: Sequence[FileInfo], split_bytes: int) -> list[list[Range]]:
        return [[Range("squares", at, 10)] for at in range(0, 30, 10)]

    def read(self, piece: Range, files: object) -> Iterator[tuple[int, int]]:
        for n in range(piece.offset, piece.offset + piece.size):
            yield n, n * n


def test_a_reader_may_split_itself_and_need_no_file(tmp_path: Path) -> None:
    def parity(n: int, square: int) -> Iterator[tuple[int, int]]:
        yield square % 2, square

    result = run(spec(tmp_path, map=parity, reduce=total, inputs=(), input=Squares()), "local")
    assert result.maps == 3
    assert dict(result) == {p: sum(n * n for n in range(30) if n % 2 == p) for p in (0, 1)}


def total(key: Any, values: Iterator[int]) -> int:
    return sum(values)


def fails(offset: int, line: str) -> Iterator[tuple[str, int]]:
    if "jumps" in line:
        raise KeyError(line)
    yield line, 1


def test_what_map_raises_comes_out_with_its_traceback_and_a_note_of_the_place(tmp_path: Path) -> None:
    with pytest.raises(KeyError) as caught:
        run(spec(tmp_path, map=fails, inputs=str(tmp_path / "in" / "a.txt")), "local")
    assert traceback.extract_tb(caught.value.__traceback__)[-1].name == "fails"
    assert caught.value.__notes__ == [f"in map task 0, record 1 ({tmp_path / 'in' / 'a.txt'}:20)"]
    assert not (tmp_path / "out").exists()


def test_bad_records_are_skipped_when_asked_and_named(tmp_path: Path) -> None:
    text = tmp_path / "short.txt"
    text.write_text("one\njumps\ntwo\njumps\n")
    result = run(
        spec(tmp_path, map=fails, reduce=total, inputs=str(text), skip_bad_records=True, reduces=1), "local"
    )
    assert list(result) == [("one", 1), ("two", 1)]
    assert result.skipped == [f"map 0: {text}:4", f"map 0: {text}:14"]


def test_one_task_can_be_run_alone(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "kept").write_text("")
    job = spec(tmp_path, split_bytes=1000, output=str(tmp_path / "new"))
    pairs = list(run(job, "local", only=("map", 2)))
    assert {word for word, _ in pairs} <= set(TEXT.split()) and pairs
    one = dict(run(job, "local", only=("reduce", 1)))
    assert {word: 2 * TEXT.split().count(word) for word in one} == one
    assert not (tmp_path / "new").exists()
    with pytest.raises(SpecError, match="there is no map task 10; there are 10 of them"):
        run(job, "local", only=("map", 10))


def test_bad_input_is_named_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match=r"nowhere \(no such file or folder\), .*nothing \(no such"):
        run(spec(tmp_path, inputs=[str(tmp_path / "nowhere"), str(tmp_path / "nothing")]), "local")
    (tmp_path / "out").mkdir()
    with pytest.raises(SpecError, match="out exists already"):
        run(spec(tmp_path), "local")
    with pytest.raises(SpecError, match="engine: 'cloud' is none of grpc, local, dask"):
        run(spec(tmp_path), "cloud")


def test_a_damaged_file_ends_the_job_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "bad.gz").write_bytes(gzip.compress(TEXT.encode())[:-20])
    with pytest.raises(JobFailed, match=r"map task 0: .*bad.gz: cannot be read"):
        run(spec(tmp_path, inputs=str(tmp_path / "bad.gz")), "local")
    assert not (tmp_path / "out").exists()


def test_compressed_output_is_read_back(tmp_path: Path) -> None:
    result = run(spec(tmp_path, output_type=TextOutput(compress=True)), "local")
    assert [Path(part).name for part in result.parts] == [f"part-{n:05}.gz" for n in range(3)]
    assert dict(result)["the"] == 800
    assert gzip.decompress(Path(result.parts[0]).read_bytes()).count(b"\n") == len(list(result)[:99]) - sum(
        gzip.decompress(Path(part).read_bytes()).count(b"\n") for part in result.parts[1:]
    )


def test_pairs_of_any_type_come_back_by_their_hints(tmp_path: Path) -> None:
    def longest(key: str, values: Iterator[int]) -> tuple[int, list[str]]:
        return sum(values), [key]

    def one(offset: int, line: str) -> Iterable[tuple[str, int]]:
        return [(line, 1)]

    result = run(spec(tmp_path, map=one, reduce=longest), "local")
    assert ("the quick brown fox", (400, ["the quick brown fox"])) in list(result)
