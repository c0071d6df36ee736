"""What a job that was killed left on this machine goes with the next one."""

from __future__ import annotations

import fcntl
import tempfile
from pathlib import Path

import pytest

from services.mapreduce.engines import scratch as module
from services.mapreduce.engines.scratch import LOCK, PREFIX, scratch


def test_a_folder_goes_with_its_job_and_what_dead_jobs_left_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    monkeypatch.setattr(module, "_FRESH_S", 0.0)
    dead, older, living, other = (
        tmp_path / name for name in (f"{PREFIX}dead", f"{PREFIX}older", f"{PREFIX}living", "other")
    )
    for folder in (dead, older, living, other):
        folder.mkdir()
        (folder / "data").write_bytes(b"much")
    (dead / LOCK).touch()
    with (living / LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with scratch() as mine:
            assert sorted(tmp_path.iterdir()) == sorted([living, other, mine])
            with scratch() as second:
                assert mine.is_dir() and second != mine
    assert sorted(tmp_path.iterdir()) == sorted([living, other])


def test_a_folder_that_is_being_made_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    fresh = tmp_path / f"{PREFIX}fresh"
    fresh.mkdir()
    with scratch():
        assert fresh.is_dir()
