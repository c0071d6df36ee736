"""Records of a fixed size are sorted in blocks, with the result that one by one they would have."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.files.api import Range
from services.mapreduce import counters
from services.mapreduce.code import program_of
from services.mapreduce.inputs import Records
from services.mapreduce.job import Job, Spec
from services.mapreduce.outputs import PairsOutput, TextOutput
from services.mapreduce.partition import TotalOrder, by_hash
from services.mapreduce.tasks import fixed
from services.mapreduce.tasks.order import InputError

from .sequential import Tasks, cut


class Sort(Job):
    """All identity: only input, output and order are said."""

    output = PairsOutput()


def spec(size: int, key: int, **more: Any) -> Spec:
    return Spec(Sort, inputs="f", output="out", input=Records(size, key=key), **more)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.data(),
    size=st.integers(1, 30),
    reduces=st.integers(1, 4),
    split=st.integers(1, 300),
    memory=st.sampled_from([0, 1, 200, 2000]),
    ordered=st.booleans(),
    files=st.integers(1, 2),
    block=st.sampled_from([1, 64, 1 << 16]),
)
def test_it_sorts_whatever_the_sizes(
    tmp_path_factory: Any, data: Any, size: int, reduces: int, split: int, memory: int, ordered: bool,
    files: int, block: int,
) -> None:  # fmt: skip
    key = data.draw(st.integers(1, size))
    alphabet = st.sampled_from([b"\0", b"a", b"\x80", b"\xff"])
    records = data.draw(st.lists(st.lists(alphabet, min_size=size, max_size=size).map(b"".join), max_size=40))
    cuts = sorted({record[:key] for record in records})[1:reduces]
    partitioner = TotalOrder(cuts) if ordered else by_hash
    folder = tmp_path_factory.mktemp("sort")
    (folder / "f").write_bytes(b"".join(records))
    job = spec(size, key, reduces=reduces, partitioner=partitioner, memory=memory)
    assert program_of(job).fixed
    tasks = Tasks(folder, job)
    smallest, fixed.SMALLEST_BLOCK = fixed.SMALLEST_BLOCK, block
    try:
        parts = tasks.all(cut("f", size * len(records), split), files=files)
    finally:
        fixed.SMALLEST_BLOCK = smallest
    for number, part in enumerate(parts):
        mine = [record for record in records if partitioner(record[:key], reduces) == number]
        found = [part[at : at + size] for at in range(0, len(part), size)]
        assert [record[:key] for record in found] == sorted(record[:key] for record in mine)
        assert sorted(found) == sorted(mine)
    left = {path.name for path in (folder / "job").glob("*") if "pulled" not in path.name}
    assert all(name.startswith("map-") and name.count(".") == 1 for name in left)


def test_it_counts_records_and_groups(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"b1a1b2c1")
    tasks = Tasks(tmp_path, spec(2, 1))
    maps = [tasks.map(number, *pieces) for number, pieces in enumerate(cut("f", 8, 4))]
    assert [done.counters for done in maps] == [{counters.MAP_IN: 2, counters.MAP_OUT: 2}] * 2
    done = tasks.reduce(0, maps)
    assert done.counters == {counters.GROUPS: 3, counters.REDUCE_IN: 4, counters.REDUCE_OUT: 4}
    assert tasks.bytes(done.path) == b"a1b1b2c1"


def test_a_job_with_code_of_its_own_is_looked_at_record_by_record() -> None:
    class Own(Sort):
        def map(self, key: bytes, value: bytes) -> list[tuple[bytes, bytes]]:
            return [(key, value)]

    assert not program_of(Spec(Own, input=Records(10, key=2))).fixed
    assert not program_of(Spec(Sort, input=Records(10))).fixed
    assert not program_of(Spec(Sort, input=Records(10, key=2), output_type=TextOutput())).fixed
    assert not program_of(Spec(Sort, input=Records(10, key=2), partitioner=lambda key, reduces: 0)).fixed
    assert not program_of(Spec(Sort, input=Records(10, key=2), partitioner=TotalOrder([b"abc"]))).fixed


def test_a_damaged_input_is_named(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 105)
    tasks = Tasks(tmp_path, spec(10, 3))
    with pytest.raises(InputError, match="f: ends with 5 bytes that are no record of 10 bytes"):
        tasks.map(0, Range("f", 0, 105))
    with pytest.raises(InputError, match="nothing: cannot be read: No such file"):
        tasks.map(0, Range("nothing", 0, 105))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["f"]
