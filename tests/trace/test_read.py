"""Traces and histories are read back as they were written, and damage is named."""

from __future__ import annotations

import tracemalloc
from typing import TYPE_CHECKING

import pytest

from protos.trace import Note
from services.recorder import Recorder
from sim.trace import read
from sim.trace.read import TraceError, is_cut_off, read_history, read_trace
from tests.trace.story import save, tell

if TYPE_CHECKING:
    from pathlib import Path


def test_what_was_written_is_read(tmp_path: Path) -> None:
    story = tell(calls=200)
    folder = save(story, tmp_path / "run")
    assert list(read_trace(folder / "trace.jsonl")) == story.events
    assert list(read_history(folder / "history.jsonl")) == story.history


def test_a_file_can_be_read_again(tmp_path: Path) -> None:
    records = read_trace(save(tell(calls=50), tmp_path / "run") / "trace.jsonl")
    assert list(records) == list(records)


@pytest.mark.parametrize("block", [1, 7, 64, 4096])
def test_the_size_of_blocks_does_not_matter(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    story = tell(calls=20)
    path = save(story, tmp_path / "run") / "trace.jsonl"
    monkeypatch.setattr(read, "BLOCK", block)
    assert list(read_trace(path)) == story.events


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_bytes(b"")
    assert list(read_trace(path)) == []


def test_a_last_line_cut_by_a_kill_is_tolerated_and_reported(tmp_path: Path) -> None:
    story = tell(calls=50)
    path = save(story, tmp_path / "run") / "trace.jsonl"
    path.write_bytes(path.read_bytes()[:-9])
    records = read_trace(path)
    assert list(records) == story.events[:-1]
    assert records.cut_off == len(story.events)
    assert is_cut_off(path)


def test_a_last_line_without_its_newline_is_whole(tmp_path: Path) -> None:
    story = tell(calls=50)
    path = save(story, tmp_path / "run") / "trace.jsonl"
    path.write_bytes(path.read_bytes()[:-1])
    records = read_trace(path)
    assert list(records) == story.events
    assert records.cut_off == 0
    assert not is_cut_off(path)


@pytest.mark.parametrize(
    ("content", "cut"),
    [(b"", False), (b"\n", False), (b"{}\n{", True), (b"{", True), (b"{}\n" + b"'" * (3 << 20), True)],
)
def test_whether_a_file_is_cut_off_is_read_off_its_end(tmp_path: Path, content: bytes, cut: bool) -> None:
    path = tmp_path / "trace.jsonl"
    path.write_bytes(content)
    assert is_cut_off(path) == cut
    assert not is_cut_off(tmp_path / "nowhere.jsonl")


@pytest.mark.parametrize(
    "damage",
    [
        b"not json",
        b'{"kind":"message","time":1}',
        b'{"kind":"nonsense","time":1}',
        b'{"kind":"note","time":"noon","host":"a","name":"x"}',
        b"\xff\xfe\x00",
        b"[]",
    ],
)
def test_damage_is_named_by_file_and_line(tmp_path: Path, damage: bytes) -> None:
    path = save(tell(calls=50), tmp_path / "run") / "trace.jsonl"
    lines = path.read_bytes().split(b"\n")
    lines[40] = damage
    path.write_bytes(b"\n".join(lines))
    with pytest.raises(TraceError, match=r"trace\.jsonl, line 41: ") as raised:
        list(read_trace(path))
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=r"trace\.jsonl: No such file"):
        list(read_trace(tmp_path / "trace.jsonl"))


def test_reading_takes_constant_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "trace.jsonl"
    recorder = Recorder(path)
    for number in range(20_000):
        recorder.write(Note(number, "host", "something-happened", "task"))
    recorder.close()
    assert path.stat().st_size > 1_600_000
    monkeypatch.setattr(read, "BLOCK", 1 << 16)
    tracemalloc.start()
    try:
        assert sum(1 for _ in read_trace(path)) == 20_000
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000
