"""One task alone, in the local engine: its pairs can be looked at, whatever kind of job it belongs to."""

from __future__ import annotations

from pathlib import Path

from services.mapreduce.inputs import Records
from services.mapreduce.job import Job, Spec, run
from services.mapreduce.outputs import PairsOutput
from services.mapreduce.tasks import streaming


class Sort(Job):
    output = PairsOutput()


def test_a_streaming_map_gives_its_lines_cut_at_the_first_tab(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"b\t1\r\tx\na\nb\t0\n")
    spec = streaming.spec(
        "cat", "uniq", inputs=str(tmp_path / "in"), output=str(tmp_path / "out"), reduces=1, memory=1 << 28
    )
    result = run(spec, "local", only=("map", 0))
    assert list(result) == [(b"a", b""), (b"b", b"0"), (b"b", b"1\r\tx")]
    assert (result.maps, result.reduces) == (1, 0)
    assert result.bytes["input"] == 13


def test_a_map_of_fixed_records_gives_keys_and_the_rest(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"b1a2c3")
    spec = Spec(
        Sort, inputs=str(tmp_path / "in"), output=str(tmp_path / "out"), input=Records(2, key=1), reduces=1
    )
    assert list(run(spec, "local", only=("map", 0))) == [(b"a", b"2"), (b"b", b"1"), (b"c", b"3")]


def test_a_reduce_alone_says_that_the_maps_before_it_ran_too(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"b1a2c3d4")
    spec = Spec(
        Sort,
        inputs=str(tmp_path / "in"),
        output=str(tmp_path / "out"),
        input=Records(2, key=1),
        reduces=1,
        split_bytes=4,
    )
    result = run(spec, "local", only=("reduce", 0))
    assert (result.maps, result.reduces, result.bytes["input"]) == (2, 1, 8)
