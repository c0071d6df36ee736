"""What happens to data: splits, partitions, map, combine, reduce."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.mapreduce.jobs.word_count import tokens
from services.mapreduce.records import map_split, partition, plan_splits, reduce_partition, user_function

MAP = "services.mapreduce.jobs.word_count:count_words"
ADD = "services.mapreduce.jobs.word_count:add"


@given(st.lists(st.integers(0, 50), max_size=8), st.integers(1, 40))
def test_splits_cover_every_byte_of_the_input_once_and_in_order(sizes: list[int], split: int) -> None:
    files = [(f"f{n}", size) for n, size in enumerate(sizes)]
    splits = plan_splits(files, split)
    covered: dict[str, int] = {}
    for pieces in splits:
        assert 0 < sum(size for _, _, size in pieces) <= split
        for path, offset, size in pieces:
            assert offset == covered.get(path, 0)
            covered[path] = offset + size
    assert covered == {path: size for path, size in files if size}


@given(st.text() | st.integers(-(2**60), 2**60), st.integers(1, 50))
def test_the_partition_of_a_key_depends_on_nothing_but_the_key(key: object, reduces: int) -> None:
    assert 0 <= partition(key, reduces) < reduces
    assert partition(key, reduces) == partition(key, reduces)


def test_the_partition_function_is_the_same_in_every_process_and_release() -> None:
    assert [partition(word, 100) for word in ("a", "b", "paper")] == [85, 55, 77]


@given(st.lists(st.text(alphabet="ab c\n", max_size=40), max_size=5), st.integers(1, 4), st.booleans())
def test_any_cut_of_the_input_with_or_without_combiner_counts_the_same_words(
    texts: list[str], reduces: int, combine: bool
) -> None:
    """Sequential equivalence and combiner neutrality (3.3, 4.3), keys in order (4.2)."""
    regions = [
        map_split(MAP, ADD if combine else "", reduces, [("f", 0, text.encode())])[0] for text in texts
    ]
    counted: Counter[str] = Counter()
    for number in range(reduces):
        lines = reduce_partition(ADD, [r[number] for r in regions]).decode().splitlines()
        keys = [line.split("\t")[0] for line in lines]
        assert keys == sorted(set(keys))
        assert all(partition(key, reduces) == number for key in keys)
        counted.update({key: int(value) for key, value in (line.split("\t") for line in lines)})
    assert counted == Counter(word for text in texts for word in tokens(text))


@given(st.lists(st.binary(min_size=1, max_size=20), max_size=6))
def test_bytes_that_are_not_utf_8_pass_through_untouched(lines: list[bytes]) -> None:
    lines = [line.translate(None, b"\n\r\t") + b"." for line in lines]
    regions, records = map_split(
        "services.mapreduce.jobs.line_count:count_lines", "", 1, [("f", 0, b"\n".join(lines))]
    )
    assert records == len(lines)
    expected = {line: b"%d" % count for line, count in Counter(lines).items()}
    assert dict(line.split(b"\t") for line in reduce_partition(ADD, regions).split(b"\n") if line) == expected


def test_a_function_that_does_not_exist_is_named() -> None:
    with pytest.raises(ValueError, match=r"no such function: 'services.mapreduce.records:nothing'"):
        user_function("services.mapreduce.records:nothing")
    with pytest.raises(ValueError, match="no such function: 'nowhere'"):
        user_function("nowhere")
