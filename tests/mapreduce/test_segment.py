"""Runs of pairs on disk: told apart one behind the other, read by frames, merged in any memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.mapreduce.hints import Codec, Types
from services.mapreduce.tasks import segment
from services.mapreduce.tasks.merge import Merge
from services.mapreduce.tasks.segment import FRAME_BYTES, FRAME_PAIRS, RunWriter, read, runs_of

from .folder_storage import FolderStorage

CODEC = Codec(Types(key=str, value=bytes))
pairs = st.lists(st.tuples(st.text("ab\udc80", max_size=3), st.binary(max_size=5)), max_size=30)


def write(disk: FolderStorage, path: str, runs: list[list[tuple[str, bytes]]]) -> None:
    with disk.open(path, "wb") as file:
        writer = RunWriter(file, path, CODEC)
        for run in runs:
            writer.write([run])


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    runs=st.lists(pairs, max_size=12),
    memory=st.sampled_from([1, 1000, 10_000, 1 << 20]),
    files=st.integers(1, 3),
)
def test_a_merge_gives_all_pairs_in_order_whatever_the_memory(
    tmp_path_factory: Any, runs: list[list[tuple[str, bytes]]], memory: int, files: int
) -> None:
    disk = FolderStorage(tmp_path_factory.mktemp("merge"))
    runs = [sorted(run, key=lambda pair: pair[0]) for run in runs]
    for n in range(files):
        write(disk, f"f{n}", runs[n::files])
    found = [run for n in range(files) for run in runs_of(f"f{n}", disk)]
    assert sorted(run.pairs for run in found) == sorted(len(run) for run in runs if run)
    with Merge(disk, CODEC, memory, "scratch") as merge:
        merged = [pair for block in merge.blocks(found) for pair in block]
    assert [key for key, _ in merged] == sorted(key for run in runs for key, _ in run)
    assert sorted(merged) == sorted(pair for run in runs for pair in run)
    assert disk.list() == [f"f{n}" for n in range(files)]  # no intermediate run is left


def test_frames_stay_small_and_a_merge_holds_few_of_them(tmp_path: Path) -> None:
    disk = FolderStorage(tmp_path)
    runs = [[(f"{n:06}", bytes(100)) for n in range(start, 40_000, 8)] for start in range(8)]
    write(disk, "f", runs)
    found = runs_of("f", disk)
    assert [run.pairs for run in found] == [5000] * 8
    with disk.open("f") as file:
        sizes = [sum(len(value) for _, value in block) for block in read(file, found[0], CODEC)]
    assert len(sizes) > 5 and max(sizes) <= 2 * FRAME_BYTES
    memory = 8 * 3 * max(run.largest for run in found)
    with Merge(disk, CODEC, memory, "scratch") as merge:
        blocks = [len(block) for block in merge.blocks(found)]
    assert sum(blocks) == 40_000
    assert max(blocks) * segment.PAIR_BYTES < memory / 2


def test_a_run_that_is_cut_off_is_noticed(tmp_path: Path) -> None:
    disk = FolderStorage(tmp_path)
    write(disk, "f", [[("a", b"x" * 1000)]])
    whole = (tmp_path / "f").read_bytes()
    (run,) = runs_of("f", disk)
    for cut in (len(whole) - 1, 5):
        (tmp_path / "f").write_bytes(whole[:cut])
        with pytest.raises(EOFError, match="f: a run of pairs is cut off"):
            runs_of("f", disk)
        with disk.open("f") as file, pytest.raises(EOFError):
            list(read(file, run, CODEC))


def test_memory_does_not_grow_with_what_is_merged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.mapreduce.tasks.merge.WHOLE_BYTES", 1 << 20)
    disk, codec = FolderStorage(tmp_path), Codec(Types(key=int, value=int))
    with disk.open("runs", "wb") as file:
        writer = RunWriter(file, "runs", codec)
        for run in range(8):
            writer.write(([(8 * n + run, run) for n in range(5000)],))
    with Merge(disk, codec, 1 << 30, "scratch") as merge:
        blocks = list(merge.blocks(runs_of("runs", disk)))
    assert [key for block in blocks for key, _ in block] == [*range(40_000)]
    assert max(map(len, blocks)) <= 8 * FRAME_PAIRS, "though a gigabyte was free"
