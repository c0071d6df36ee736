"""The engine "dask", on clusters of local processes."""

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from services.mapreduce.job import Job, JobFailed, Result, Spec, SpecError, run, run_async
from services.mapreduce.tasks import streaming

pytest.importorskip("distributed")  # an extra of users; `make setup` has it


class Words(Job):
    def map(self, offset: int, line: str) -> Iterator[tuple[str, int]]:
        for word in line.split():
            if word == "die":
                signal.raise_signal(signal.SIGSEGV)
            if word == "hang":
                time.sleep(600)
            if word == "raise":
                print("words before the end")
                raise LookupError("no such word")
            yield word, 1

    def reduce(self, word: str, counts: Iterator[int]) -> int:
        return sum(counts)


@contextlib.contextmanager
def two_processes() -> Iterator[str]:
    """A cluster of two processes; yields its address."""
    import dask
    from distributed import LocalCluster

    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=":0", memory_limit=0, silence_logs=60
        ) as cluster,
    ):
        yield cluster.scheduler_address


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    with two_processes() as address:
        yield address


@pytest.fixture
def own_scheduler() -> Iterator[str]:
    """Nobody else's: user code that hangs when its job is over keeps its place on a cluster by address."""
    with two_processes() as address:
        yield address


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    folder = tmp_path / "texts"
    folder.mkdir()
    (folder / "a").write_text("to be or not to be\n" * 100)
    (folder / "b").write_text("that is the question\n" * 100)
    return folder


def count(texts: Path, scheduler: str, **more: Any) -> Result:
    spec = Spec(Words, inputs=str(texts), output=str(texts.parent / "out"), split_bytes=1000, **more)
    return run(spec, "dask", scheduler=scheduler)


def test_a_job_on_a_cluster_given_by_address(texts: Path, scheduler: str) -> None:
    result = count(texts, scheduler, reduces=3)
    assert dict(result) == {
        "to": 200, "be": 200, "or": 100, "not": 100, "that": 100, "is": 100, "the": 100, "question": 100
    }  # fmt: skip
    assert result.counters["map input records"] == 200
    assert (result.maps, result.reduces) == (5, 3)
    out = sorted(path.name for path in (texts.parent / "out").iterdir())
    assert out == ["_SUCCESS", "part-00000", "part-00001", "part-00002"]


def test_the_same_job_with_executables(texts: Path, scheduler: str) -> None:
    spec = streaming.spec(
        "tr -s ' ' '\\n'", "uniq -c", inputs=str(texts), output=str(texts.parent / "out"), reduces=2
    )
    lines = [key.split() for key, _ in run(spec, "dask", scheduler=scheduler)]
    assert sorted((int(times), word) for times, word in lines)[-2:] == [(200, b"be"), (200, b"to")]


def test_a_record_that_raises_fails_the_job_which_says_where(texts: Path, scheduler: str) -> None:
    (texts / "b").write_text("good\nraise\n")
    with pytest.raises(JobFailed) as failure:
        count(texts, scheduler, max_attempts=2)
    said = str(failure.value)
    assert "failed 2 times; the last time: map raised LookupError: no such word" in said
    assert f"{texts / 'b'}:5" in said
    assert "words before the end" in failure.value.log
    out = texts.parent / "out"
    assert [path.name for path in out.iterdir()] == ["_logs"]
    (log,) = (out / "_logs").iterdir()
    assert said.endswith(f"log: {log}")


def test_a_record_that_kills_its_process_is_left_out_after_two_deaths(texts: Path, scheduler: str) -> None:
    (texts / "b").write_text("good\ndie\ngood\n")
    result = count(texts, scheduler, skip_bad_records=True)
    assert dict(result)["good"] == 2
    assert [record.partition(": ")[2] for record in result.skipped] == [f"{texts / 'b'}:5"]


def test_a_record_that_kills_its_process_fails_the_job_when_nobody_asked(texts: Path, scheduler: str) -> None:
    (texts / "b").write_text("good\ndie\n")
    with pytest.raises(JobFailed, match="failed 2 times; the last time: the worker process died on record"):
        count(texts, scheduler, max_attempts=2)


def test_a_task_that_stands_still_is_ended(texts: Path, scheduler: str) -> None:
    (texts / "a").unlink()  # on a busy machine another task, too, may take longer
    (texts / "b").write_text("good\nhang\n")
    with pytest.raises(JobFailed, match="failed once: no progress for 1 s"):
        count(texts, scheduler, max_attempts=1, task_timeout=1.0)


def test_a_cluster_of_its_own_is_gone_afterwards(texts: Path) -> None:
    spec = Spec(Words, inputs=str(texts), output=str(texts.parent / "out"))
    assert dict(run(spec, "dask", workers=1))["to"] == 200


def test_no_cluster_at_the_address(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from services.mapreduce.engines import dask

    monkeypatch.setattr(dask, "CONNECT_WITHIN", 0.5)
    for address in ("tcp://127.0.0.1:1", "nonsense://x"):
        with pytest.raises(SpecError, match=f"scheduler {address}: no dask cluster there"):
            count(texts, address)
    assert not (texts.parent / "out").exists()


def test_without_dask_the_error_says_what_to_install(texts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(SpecError, match=r"dask is not installed \(pip install 'dsim\[dask\]'\)"):
        count(texts, "")


def test_a_job_that_is_cancelled_leaves_nothing(texts: Path, own_scheduler: str) -> None:
    (texts / "b").write_text("good\nhang\n")
    spec = Spec(Words, inputs=str(texts), output=str(texts.parent / "out"))

    async def begin_and_cancel() -> None:
        job = asyncio.create_task(run_async(spec, "dask", scheduler=own_scheduler))
        while not (texts.parent / "out" / ".temporary" / "dask" / "marks").exists():
            await asyncio.sleep(0.05)
        job.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await job

    asyncio.run(begin_and_cancel())
    assert [path.name for path in texts.parent.iterdir()] == ["texts"]
