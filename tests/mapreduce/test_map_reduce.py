"""Map and reduce tasks together give what a sequential program gives (3.3), whatever limits hold them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.files.api import BeyondView, Range
from services.mapreduce import counters
from services.mapreduce.counters import count, current, status
from services.mapreduce.inputs import Input, Text
from services.mapreduce.job import Job, Pair, Spec
from services.mapreduce.outputs import SequenceOutput, ValuesOutput
from services.mapreduce.partition import TotalOrder, by_hash
from services.mapreduce.tasks.order import InputError, Progress, UserError

from .sequential import Tasks, cut

SMALL = [HealthCheck.function_scoped_fixture]


class Memory(Input):
    """Records that never were in a file: one of the pieces is a range of a list in this process."""

    records: list[Any] = []  # noqa: RUF012

    def read(self, piece: Range, files: object) -> Iterator[tuple[Any, Any]]:
        yield from enumerate(self.records[piece.offset : piece.offset + piece.size], piece.offset)


def tasks_of(folder: Path, records: list[Any], **spec: Any) -> Tasks:
    Memory.records = records
    return Tasks(folder, Spec(inputs="memory", output="out", input=Memory(), **spec))


def splits_of(records: list[Any], size: int) -> list[list[Range]]:
    return [[Range("memory", at, min(size, len(records) - at))] for at in range(0, len(records), size)]


def emit(number: int, pairs: list[tuple[str, int]]) -> list[tuple[str, int]]:
    return pairs


def add(key: str, values: Iterable[int]) -> Iterator[int]:
    yield sum(values)


def gather(key: str, values: Iterable[int]) -> Iterator[list[int]]:
    yield sorted(values)


# All sums stay below 2^63: what is written has 64 bits.
keys = st.text(alphabet="ab\udcff\u00e9\U0001f600\t", max_size=3)
records = st.lists(st.lists(st.tuples(keys, st.integers(-(2**56), 2**56)), max_size=6), max_size=12)


@settings(max_examples=50, deadline=None, suppress_health_check=SMALL)
@given(
    records=records,
    split=st.integers(1, 5),
    reduces=st.integers(1, 4),
    memory=st.sampled_from([0, 1, 800, 4000]),
    combined=st.booleans(),
    files=st.integers(1, 3),
    order=st.booleans(),
)
def test_a_job_gives_what_a_sequential_program_gives(
    tmp_path_factory: Any,
    records: list[list[tuple[str, int]]],
    split: int,
    reduces: int,
    memory: int,
    combined: bool,
    files: int,
    order: bool,
) -> None:
    cuts = sorted({key for record in records for key, _ in record})[: reduces - 1]
    partitioner = TotalOrder(cuts) if order else by_hash
    tasks = tasks_of(
        tmp_path_factory.mktemp("job"), records, map=emit, reduce=add if combined else gather,
        combine=add if combined else None, reduces=reduces, partitioner=partitioner, memory=memory,
        output_type=SequenceOutput(),
    )  # fmt: skip
    expected: dict[str, list[int]] = defaultdict(list)
    for record in records:
        for key, value in record:
            expected[key].append(value)
    maps = [tasks.map(number, *pieces) for number, pieces in enumerate(splits_of(records, split))]
    found: list[tuple[str, Any]] = []
    for number in range(reduces):
        done = tasks.reduce(number, maps, files=files)
        pairs = list(SequenceOutput().read(done.path, tasks.disk, str, Any))
        assert all(partitioner(key, reduces) == number for key, _ in pairs)
        assert [key for key, _ in pairs] == sorted({key for key, _ in pairs})
        assert done.counters[counters.GROUPS] == len(pairs)
        found += pairs
    assert dict(found) == {
        key: sum(values) if combined else sorted(values) for key, values in expected.items()
    }
    assert len(found) == len(expected)
    assert sum(done.counters[counters.MAP_OUT] for done in maps) == sum(map(len, records))
    left = sorted(path.name for path in (tasks.disk.root / "job").glob("*")) if records else []
    assert [name for name in left if "pulled" not in name] == sorted(
        done.path.removeprefix("job/") for done in maps
    )  # nothing else is left behind


@pytest.mark.parametrize("memory", [0, 100_000])
def test_many_values_of_one_key_come_through_an_iterator(tmp_path: Path, memory: int) -> None:
    tasks = tasks_of(tmp_path, list(range(20)), map=thousands, reduce=add, memory=memory)
    (part,) = tasks.all(splits_of(list(range(20)), 3))
    assert part == b"k\t20000\n"


def thousands(number: int, value: int) -> Iterator[tuple[str, int]]:
    for _ in range(1000):
        yield "k", 1


def many(number: int, pairs: tuple[int, int, int, bool]) -> Iterator[tuple[Any, Any]]:
    """Gives so many pairs of so many keys, bit by bit or at once."""
    amount, distinct, value, listed = pairs
    some = ((f"k{at % distinct}", value if value else at) for at in range(amount))
    return [*some] if listed else some  # type: ignore[return-value]


def totals(key: str, values: Iterable[int]) -> Iterator[int]:
    yield sum(values)


def all_values(key: str, values: Iterator[int]) -> Iterator[int]:
    """As many values as there are."""
    yield from values


@settings(max_examples=25, deadline=None, suppress_health_check=SMALL)
@given(
    records=st.lists(
        st.tuples(
            st.sampled_from([0, 1, 7, 1023, 1024, 1025, 2047, 2048, 2049, 6000]),
            st.sampled_from([1, 3, 5000]),
            st.sampled_from([0, 1, 2]),
            st.booleans(),
        ),
        max_size=6,
    ),
    memory=st.sampled_from([0, 1, 20_000, 400_000]),
    combined=st.booleans(),
    through=st.booleans(),
    maps=st.sampled_from([0, 1, 1000]),
)
def test_records_of_very_many_pairs_lose_none(
    tmp_path_factory: Any,
    records: list[tuple[int, int, int, bool]],
    memory: int,
    combined: bool,
    through: bool,
    maps: int,
) -> None:
    tasks = tasks_of(
        tmp_path_factory.mktemp("job"), records, map=many, reduce=all_values if through else totals,
        combine=totals if combined else None, reduces=2, memory=memory, output_type=SequenceOutput(),
    )  # fmt: skip
    expected: dict[str, int] = defaultdict(int)
    for record in records:
        for key, value in many(0, record):
            expected[key] += value
    done = [tasks.map(n, *pieces, maps=maps) for n, pieces in enumerate(splits_of(records, 3))]
    assert sum(task.records_out for task in done) == sum(amount for amount, *_ in records)
    found: dict[str, int] = defaultdict(int)
    values = 0
    for number in range(2):
        part = tasks.reduce(number, done)
        pairs = list(SequenceOutput().read(part.path, tasks.disk, str, int))
        assert [key for key, _ in pairs] == sorted(key for key, _ in pairs)
        values += len(pairs)
        for key, value in pairs:
            found[key] += value
    assert found == expected
    if through and not combined:
        assert values == sum(amount for amount, *_ in records)


@pytest.mark.parametrize("memory", [0, 20_000])
def test_keys_that_cannot_be_hashed_are_combined_too(tmp_path: Path, memory: int) -> None:
    records = [(n % 7, n) for n in range(500)]
    tasks = tasks_of(tmp_path, records, map=late_lists, reduce=added, combine=added, memory=memory)
    (part,) = tasks.all(splits_of(records, 250))
    expected: dict[str, int] = defaultdict(int)
    for k, n in records:
        expected[str([k, 1])] += n
    assert {line.split(b"\t")[0].decode(): int(line.split(b"\t")[1]) for line in part.splitlines()} == {
        name.replace(" ", ""): total for name, total in expected.items()
    }


def added(key: Any, values: Iterable[int]) -> int:
    return sum(values)


def late_lists(number: int, record: tuple[int, int]) -> Iterator[tuple[Any, int]]:
    """Keys are tuples at first, then lists."""
    key = (record[0], 1) if number < 100 else [record[0], 1]
    yield key, record[1]


@dataclass(order=True, frozen=True)
class Point:
    x: int
    y: int


class Visit(msgspec.Struct, frozen=True):
    url: str
    seconds: float


class Typed(Job):
    """Keys and values of types that MessagePack does not know."""

    def map(self, key: int, value: tuple[int, str]) -> Iterator[tuple[tuple[Point, str], Visit]]:
        yield (Point(value[0], 1), "k"), Visit(value[1], 1.5)

    def reduce(self, key: tuple[Point, str], values: Iterator[Visit]) -> str:
        assert type(key) is tuple and type(key[0]) is Point
        return ",".join(sorted(f"{visit.url}@{key[0].x}" for visit in values))


def test_tuples_dataclasses_and_structs_arrive_as_what_they_were(tmp_path: Path) -> None:
    tasks = tasks_of(tmp_path, [(2, "b"), (1, "a"), (2, "c")], job=Typed, output_type=ValuesOutput())
    assert tasks.all(splits_of([0, 0, 0], 1)) == [b"a@1\nb@2,c@2\n"]


def test_without_hints_the_tuples_of_a_key_stay_tuples(tmp_path: Path) -> None:
    def untyped(number, value):  # type: ignore[no-untyped-def]
        yield (value, ("x", 1)), [value]

    def kinds(key, values):  # type: ignore[no-untyped-def]
        return [f"{key!r} {list(values)!r}"]

    tasks = tasks_of(tmp_path, ["a"], map=untyped, reduce=kinds, output_type=ValuesOutput())
    assert tasks.all(splits_of([0], 1)) == [b"('a', ('x', 1)) [['a']]\n"]


def test_text_that_is_no_utf8_passes_through_untouched(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"caf\xe9 \xff\xfe x\n\xe9\n")

    def words(offset: int, line: str) -> Iterator[tuple[str, dict[str, str]]]:
        for word in line.split():
            yield word, {word: line}

    tasks = Tasks(tmp_path, Spec(map=words, reduce=count_values, inputs="f", output="out"))
    assert tasks.all(cut("f", 13, 5)) == [b"caf\xe9\t1\nx\t1\n\xe9\t1\n\xff\xfe\t1\n"]

    def raw(offset: int, line: bytes) -> Iterator[tuple[bytes, int]]:
        yield line, 1

    tasks = Tasks(tmp_path, Spec(map=raw, reduce=count_values, inputs="f", output="out"))
    assert tasks.all(cut("f", 13, 5)) == [b"caf\xe9 \xff\xfe x\t1\n\xe9\t1\n"]


def count_values(key: Any, values: Iterator[Any]) -> int:
    return sum(1 for _ in values)


def test_an_empty_input_gives_r_empty_parts(tmp_path: Path) -> None:
    assert tasks_of(tmp_path, [], map=emit, reduce=add, reduces=3).all([]) == [b"", b"", b""]


def test_a_map_only_job_writes_what_map_gives(tmp_path: Path) -> None:
    tasks = tasks_of(tmp_path, [[("b", 1)], [("a", 2)]], map=emit, reduces=0)
    assert tasks.all(splits_of([0, 0], 2)) == [b"b\t1\na\t2\n"]


def test_a_pair_given_by_reduce_stands_under_its_own_key(tmp_path: Path) -> None:
    def swap(key: str, values: Iterator[int]) -> Iterator[Pair]:
        for value in values:
            yield Pair(value, key)

    tasks = tasks_of(tmp_path, [[("b", 1), ("a", 2)]], map=emit, reduce=swap)
    assert tasks.all(splits_of([0], 1)) == [b"2\ta\n1\tb\n"]


class Counting(Job):
    """Counts, says where it is, and writes beside its part."""

    input = Memory()

    def setup(self, task: counters.Task) -> None:
        self.seen = 0

    def map(self, key: int, value: int) -> Iterator[tuple[int, int]]:
        count("odd", value % 2)
        status(f"at {key}")
        self.seen += 1
        yield value, current().number
        if value == 3:
            current().write("threes", "three", key)
            with current().side_file("seen.txt") as file:
                file.write(b"3")

    def teardown(self) -> list[tuple[int, int]]:
        return [(-1, self.seen)] if current().kind == "map" else []

    def reduce(self, key: int, values: Iterator[int]) -> int:
        return sum(values)


def test_user_code_counts_reports_and_has_other_outputs(tmp_path: Path) -> None:
    tasks = tasks_of(tmp_path, [3, 4, 5], job=Counting)
    done = tasks.map(7, Range("memory", 0, 3))
    assert done.counters == {"odd": 2, counters.MAP_IN: 3, counters.MAP_OUT: 4}
    assert [(tasks.bytes(path), final) for path, final in done.outputs] == [
        (b"3", "out/seen.txt"),
        (b"three\t0\n", "out/threes-00007"),
    ]
    assert [type(told) for told in tasks.inside.told] == [Progress]
    assert tasks.bytes(tasks.reduce(0, [done]).path) == b"-1\t3\n3\t7\n4\t7\n5\t7\n"


def test_each_record_and_group_is_marked_before_it_is_touched(tmp_path: Path) -> None:
    tasks = tasks_of(tmp_path, [[("a", 1)], [("b", 1), ("a", 2)]], map=emit, reduce=add)
    done = tasks.map(0, Range("memory", 0, 2))
    assert tasks.inside.marks == [0, 1, -1]
    tasks.inside.marks.clear()
    tasks.reduce(0, [done])
    assert tasks.inside.marks == [0, 1, -1]


def test_the_combiner_is_no_records_fault(tmp_path: Path) -> None:
    seen: list[int] = []

    def combine(key: str, values: Iterator[int]) -> int:
        seen.append(tasks.inside.marks[-1])
        return sum(values)

    tasks = tasks_of(tmp_path, [[("a", 1)]] * 3, map=emit, reduce=add)
    tasks.code = ("", b"by value, but not copied")
    from services.mapreduce import code

    code._programs[tasks.code] = code.program_of(Spec(map=emit, reduce=add, combine=combine, input=Memory()))
    tasks.map(0, Range("memory", 0, 3))
    assert seen == [-1]


# What goes wrong


def failing(number: int, value: Any) -> Iterator[tuple[Any, Any]]:
    if value == "raise":
        raise LookupError("no such thing")
    yield value


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("raise", r"map raised LookupError: no such thing \(test_map_reduce.py, line \d+\) \(record 3: "),
        (("k", object()), r"map gave a value of type object that cannot be serialized: .* \(record 3: "),
        ((1j, 1), r"map gave a key of type complex that cannot be serialized: .* \(record 3: "),
        ("abc", r"map gave str 'abc', not a pair \(key, value\) \(record 3: "),
        (("a", "b", "c"), r"map gave tuple \('a', 'b', 'c'\), not a pair"),
    ],
)
@pytest.mark.parametrize("records_before", [3])
def test_what_map_does_wrong_names_the_record(
    tmp_path: Path, value: Any, error: str, records_before: int
) -> None:
    records = [("a", 1)] * records_before + [value, ("a", 1)]
    tasks = tasks_of(tmp_path, records, map=failing, reduce=add)
    with pytest.raises(UserError, match=error) as caught:
        tasks.map(0, Range("memory", 0, 5))
    assert caught.value.number == 3
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("combine", [None, add])
def test_a_set_is_no_key_for_sets_compare_but_have_no_order(tmp_path: Path, combine: Any) -> None:
    tasks = tasks_of(tmp_path, [(frozenset({1, 2}), 1)], map=failing, reduce=add, combine=combine)
    with pytest.raises(UserError, match=r"map gave a key of type frozenset, which has no order.*record 0"):
        tasks.map(0, Range("memory", 0, 1))


def test_a_line_on_which_map_fails_is_named_by_file_and_offset(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"1\n2\nx\n")

    def number(offset: int, line: str) -> Iterator[tuple[int, int]]:
        yield int(line), 1

    tasks = Tasks(tmp_path, Spec(map=number, reduce=add, inputs="f", output="out"))
    with pytest.raises(UserError, match=r"record 2: f:4\)"):
        tasks.map(0, Range("f", 0, 6))
    done = tasks.map(0, Range("f", 0, 6), skip=[2])
    assert [(record.number, record.where) for record in done.skipped] == [(2, "f:4")]
    assert done.counters[counters.SKIPPED] == 1 and done.counters[counters.MAP_IN] == 2


def test_a_group_on_which_reduce_fails_is_named_by_its_key_and_can_be_skipped(tmp_path: Path) -> None:
    def picky(key: str, values: Iterator[int]) -> int:
        if key == "b":
            raise ValueError(key)
        return sum(values)

    records = [[("a", 1), ("b", 2), ("c", 3)]]
    tasks = tasks_of(tmp_path, records, map=emit, reduce=picky)
    done = tasks.map(0, Range("memory", 0, 1))
    with pytest.raises(UserError, match=r"reduce raised ValueError: b .*\(record 1: 'b'\)"):
        tasks.reduce(0, [done])
    skipped = tasks.reduce(0, [done], skip=[1])
    assert tasks.bytes(skipped.path) == b"a\t1\nc\t3\n"
    assert [(record.number, record.where) for record in skipped.skipped] == [(1, "'b'")]


def test_an_output_that_cannot_be_written_names_the_group(tmp_path: Path) -> None:
    tasks = tasks_of(tmp_path, [[("a", 1), ("b", 2)]], map=emit, reduce=complex_of)
    done = tasks.map(0, Range("memory", 0, 1))
    with pytest.raises(UserError, match=r"reduce gave a pair of types str and complex .*\(record 0: 'a'\)"):
        tasks.reduce(0, [done])


def complex_of(key: str, values: Iterator[int]) -> complex:
    return complex(next(values), 1)


@pytest.mark.parametrize("answer", [3, -1, "0", None])
def test_a_partition_function_that_leaves_the_range_is_refused(tmp_path: Path, answer: Any) -> None:
    tasks = tasks_of(
        tmp_path, [[("a", 1)]], map=emit, reduce=add, reduces=3, partitioner=lambda key, reduces: answer
    )
    with pytest.raises(UserError, match=f"gave {answer!r} for the key 'a': not one of the 3 reduce tasks"):
        tasks.map(0, Range("memory", 0, 1))


def test_keys_that_cannot_be_compared_are_the_users_error(tmp_path: Path) -> None:
    records = [[("a", 1)], [(1, 1)]]
    tasks = tasks_of(tmp_path, records, map=loose, reduce=loose)
    with pytest.raises(UserError, match=r"keys cannot be put in order: .*str"):
        tasks.map(0, Range("memory", 0, 2))
    maps = [tasks.map(number, *split) for number, split in enumerate(splits_of(records, 1))]
    with pytest.raises(UserError, match=r"keys cannot be put in order: .*str"):
        tasks.reduce(0, maps)


def loose(key, value):  # type: ignore[no-untyped-def]
    return value


def test_pairs_that_are_not_what_the_hints_say_are_the_users_error(tmp_path: Path) -> None:
    tasks = tasks_of(tmp_path, [[("a", "one")]], map=emit, reduce=add)
    done = tasks.map(0, Range("memory", 0, 1))
    with pytest.raises(UserError, match="not what the hints say: Expected `int`, got `str`"):
        tasks.reduce(0, [done])


def test_a_file_that_is_missing_or_damaged_is_the_inputs_error(tmp_path: Path) -> None:
    (tmp_path / "f.gz").write_bytes(b"no gzip")
    tasks = Tasks(tmp_path, Spec(map=emit, reduce=add, inputs="f", output="out"))
    with pytest.raises(InputError, match="nothing: cannot be read: No such file"):
        tasks.map(0, Range("nothing", 0, 10))
    with pytest.raises(InputError, match=r"f.gz: cannot be read: Not a gzipped file"):
        tasks.map(0, Range("f.gz", 0, -1))


def test_a_line_too_long_for_the_memory_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"short\n" + b"x" * 3_000_000 + b"\n")
    tasks = Tasks(tmp_path, Spec(map=emit_line, reduce=add, inputs="f", output="out", memory=16_000_000))
    with pytest.raises(InputError, match=r"f: the line at byte 6 is longer than 2,000,000 bytes"):
        tasks.map(0, Range("f", 0, 3_000_007))
    tasks = Tasks(tmp_path, Spec(map=emit_line, reduce=add, inputs="f", output="out", memory=32_000_000))
    assert tasks.map(0, Range("f", 0, 3_000_007)).records_in == 2


class Short(Text):
    def read(self, piece: Range, files: object) -> Iterator[tuple[Any, Any]]:
        yield 0, "x"
        raise BeyondView("f")


def test_what_a_view_does_not_hold_is_nobodys_error(tmp_path: Path) -> None:
    tasks = Tasks(tmp_path, Spec(map=emit_line, reduce=add, input=Short(), inputs="f", output="out"))
    with pytest.raises(BeyondView):
        tasks.map(0, Range("f", 0, 10))


def emit_line(offset: int, line: str) -> Iterator[tuple[str, int]]:
    yield line, 1


def test_a_full_disk_is_not_the_users_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = tasks_of(tmp_path, [[("a", 1)]] * 5000, map=emit, reduce=add, memory=1)

    def full(*args: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tasks.inside.disk, "open", full)
    with pytest.raises(OSError, match="No space left"):
        tasks.map(0, Range("memory", 0, 5000))
