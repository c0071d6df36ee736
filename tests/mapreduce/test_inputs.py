"""Input types: whatever the cuts, each record is read once, by one map, with its place."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from services.files.api import Range
from services.mapreduce.inputs import Input, KeyValue, Records, SequenceInput, Text, TextBlocks
from services.mapreduce.outputs import SequenceOutput
from services.mapreduce.tasks.order import InputError

from .folder_storage import FolderStorage
from .sequential import cut


def raw(source: Input) -> Input:
    return source.typed(bytes)


@given(data=st.lists(st.sampled_from([b"a", b"bc", b"\n", b"\r\n", b"\xff"]), max_size=40).map(b"".join),
       split=st.integers(1, 50))  # fmt: skip
def test_every_line_is_read_once_wherever_the_file_is_cut(
    tmp_path_factory: Any, data: bytes, split: int
) -> None:
    folder = FolderStorage(tmp_path_factory.mktemp("in"))
    with folder.open("f", "wb") as file:
        file.write(data)
    expected, at = [], 0
    for line in data.split(b"\n"):
        expected.append((at, line.removesuffix(b"\r")))
        at += len(line) + 1
    if data.endswith(b"\n") or not data:
        expected.pop()
    for source, of in ((raw(Text()), bytes), (Text(), str)):
        lines = [record for [piece] in cut("f", len(data), split) for record in source.read(piece, folder)]
        assert lines == (
            expected
            if of is bytes
            else [(at, line.decode("utf-8", "surrogateescape")) for at, line in expected]
        )
    blocks = [b for [piece] in cut("f", len(data), split) for b in raw(TextBlocks()).read(piece, folder)]
    assert b"".join(block for _, block in blocks) == data
    assert all(data[at : at + len(block)] == block for at, block in blocks)


@given(records=st.integers(0, 30), size=st.integers(1, 9), split=st.integers(1, 40))
def test_every_fixed_size_record_is_read_once(
    tmp_path_factory: Any, records: int, size: int, split: int
) -> None:
    folder = FolderStorage(tmp_path_factory.mktemp("in"))
    data = bytes(n % 256 for n in range(records * size))
    with folder.open("f", "wb") as file:
        file.write(data)
    read = [r for [piece] in cut("f", len(data), split) for r in Records(size).read(piece, folder)]
    assert read == [(at, data[at : at + size]) for at in range(0, len(data), size)]
    keyed = [r for [piece] in cut("f", len(data), split) for r in Records(size, key=1).read(piece, folder)]
    assert [key + rest for key, rest in keyed] == [record for _, record in read]


def test_a_file_of_records_that_ends_in_the_middle_of_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x" * 105)
    with pytest.raises(InputError, match="f: ends with 5 bytes that are no record of 10 bytes"):
        list(Records(10).read(Range("f", 0, 105), FolderStorage(tmp_path)))


@pytest.mark.parametrize("name", ["f.gz", "f.zst"])
def test_compressed_files_are_read_as_a_whole(tmp_path: Path, name: str) -> None:
    text = b"".join(b"line %d\n" % n for n in range(300_000))  # several blocks
    compress = gzip.compress if name == "f.gz" else zstandard.compress
    (tmp_path / name).write_bytes(
        compress(text[:1000]) + compress(text[1000:])
    )  # two members, as `cat` makes
    lines = list(raw(Text()).read(Range(name, 0, -1), FolderStorage(tmp_path)))
    assert [line for _, line in lines] == text.splitlines()
    assert lines[-1][0] == text.rindex(b"line")


def test_key_and_value_are_cut_at_the_first_tab(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"k\tv\tw\nalone\n\tv\n")
    files = FolderStorage(tmp_path)
    assert list(KeyValue().read(Range("f", 0, 16), files)) == [("k", "v\tw"), ("alone", ""), ("", "v")]
    assert KeyValue().place(Range("f", 0, 16), files, "alone", 1) == "f:6"


def test_sequences_come_back_as_they_were_written(tmp_path: Path) -> None:
    pairs = [("a", (1, 2)), ("b" * 100_000, (3, 4))]
    (tmp_path / "f.seq").write_bytes(SequenceOutput().encode(pairs))
    source = SequenceInput(str, tuple[int, int])
    assert source.whole
    assert list(source.read(Range("f.seq", 0, -1), FolderStorage(tmp_path))) == pairs
    (tmp_path / "cut.seq").write_bytes(SequenceOutput().encode(pairs)[:-1])
    with pytest.raises(InputError, match=r"cut.seq: the record at byte 10 is cut off"):
        list(source.read(Range("cut.seq", 0, -1), FolderStorage(tmp_path)))


def test_a_line_longer_than_allowed_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"short\n" + b"x" * 5_000_000 + b"\nshort\n")
    files = FolderStorage(tmp_path)
    with pytest.raises(InputError, match=r"f: the line at byte 6 is longer than 2,000,000 bytes"):
        list(Text(longest=2_000_000).read(Range("f", 0, 5_000_013), files))
    assert len(list(Text().read(Range("f", 0, 5_000_013), files))) == 3
    # A map whose piece lies within the line has nothing to do, and keeps nothing of it.
    assert list(Text(longest=1_000).read(Range("f", 1_000_000, 1_000_000), files)) == []
