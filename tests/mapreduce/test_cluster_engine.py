"""Jobs on own clusters of real processes come out right, or fail with a clear word, and leave nothing."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from protos import mapreduce_pb2 as pb
from services.cluster import Cluster
from services.mapreduce.engines import cluster as engine
from services.mapreduce.job import JobFailed, Spec, SpecError, run

TEXT = "the quick brown fox\njumps over the lazy dog\n" * 500


def words(offset: int, line: str) -> Iterator[tuple[str, int]]:
    for word in line.split():
        yield word, 1


def slow_words(offset: int, line: str) -> Iterator[tuple[str, int]]:
    if offset % 4400 == 0:
        time.sleep(0.1)
    return words(offset, line)


def add(word: str, counts: Iterable[int]) -> int:
    return sum(counts)


def raises(offset: int, line: str) -> Iterator[tuple[str, int]]:
    if offset == 20:
        print("what it printed before")
        raise ValueError("no such fox")
    yield line, 1


def dies(offset: int, line: str) -> Iterator[tuple[str, int]]:
    if "jumps" in line:
        os.kill(os.getpid(), signal.SIGSEGV)
    yield line, 1


def hangs(word: str, counts: Iterable[int]) -> int:
    time.sleep(1000)
    return 0


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files, which is empty again at the end."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def spec(tmp_path: Path, **fields: object) -> Spec:
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        (tmp_path / "in" / name).write_text(TEXT)
    given = {"map": words, "reduce": add, "combine": add, "reduces": 2, "split_bytes": 10_000, **fields}
    return Spec(inputs=str(tmp_path / "in"), output=str(tmp_path / "out"), **given)  # type: ignore[arg-type]


def test_a_job_comes_out_right_and_leaves_its_output_alone(tmp_path: Path, temporary: Path) -> None:
    seen: list[pb.Progress] = []
    result = run(spec(tmp_path), workers=2, progress=lambda report: seen.append(report))
    assert Counter(dict(result)) == Counter((TEXT * 2).split())
    assert sorted(os.listdir(tmp_path / "out")) == ["_SUCCESS", "part-00000", "part-00001"]
    assert (result.maps, result.reduces, result.bytes["input"]) == (6, 2, 2 * len(TEXT))
    assert result.counters["map input records"] == 2000
    assert seen[-1].state == pb.Progress.DONE
    assert seen[-1].maps_completed == 6


def test_a_job_without_reduces_leaves_the_pairs_of_its_maps(tmp_path: Path, temporary: Path) -> None:
    result = run(spec(tmp_path, reduce=None, combine=None, reduces=0), workers=2)
    assert Counter(word for word, _ in result) == Counter((TEXT * 2).split())
    assert len(result.parts) == 6


def test_what_fails_is_named_with_its_record_and_its_log(tmp_path: Path, temporary: Path) -> None:
    with pytest.raises(JobFailed, match=r"map task \d.*no such fox.*") as failed:
        run(spec(tmp_path, map=raises, max_attempts=2), workers=2)
    assert f"{tmp_path}/in/" in str(failed.value), "which record"
    assert any("what it printed before" in line for line in failed.value.log)
    assert any("ValueError" in line for line in failed.value.log)
    assert os.listdir(tmp_path / "out") == ["_logs"]


def test_a_record_that_kills_its_process_is_skipped_and_named(tmp_path: Path, temporary: Path) -> None:
    given = spec(tmp_path, map=dies, skip_bad_records=True)
    (tmp_path / "in" / "b").unlink()
    (tmp_path / "in" / "a").write_text("one\njumps\ntwo\n")
    result = run(given, workers=2)
    assert {key for key, _ in result} == {"one", "two"}
    assert len(result.skipped) == 1
    assert f"{tmp_path}/in/a:4" in result.skipped[0]


def test_a_reduce_that_hangs_is_ended(tmp_path: Path, temporary: Path) -> None:
    with pytest.raises(JobFailed, match=r"reduce task \d.*no progress for 0.5 s"):
        run(spec(tmp_path, reduce=hangs, task_timeout=0.5, max_attempts=1), workers=2)


def test_nodes_that_die_are_started_again_and_the_job_goes_on(tmp_path: Path, temporary: Path) -> None:
    killed: list[int] = []

    def kill_all(report: pb.Progress) -> None:
        if report.maps_completed > 2 and not killed:
            files = temporary.glob("dsim-mr-*/cluster/nodes/*/process.json")
            killed.extend(json.loads(file.read_text())["pid"] for file in files)
            for number in killed:
                os.kill(number, signal.SIGKILL)

    given = spec(tmp_path, map=slow_words)
    assert Counter(dict(run(given, workers=2, progress=kill_all))) == Counter((TEXT * 2).split())
    assert len(killed) == 3, "the master and both workers"


def test_an_output_that_exists_is_left_as_it_is(tmp_path: Path, temporary: Path) -> None:
    given = spec(tmp_path)
    (tmp_path / "out").mkdir()
    with pytest.raises(SpecError, match="exists already"):
        run(given, workers=1)
    assert os.listdir(tmp_path / "out") == []


def test_a_folder_without_a_cluster_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="there is no cluster in"):
        run(spec(tmp_path), cluster=tmp_path / "nothing")


def test_a_job_runs_on_a_cluster_that_is_up_which_stays_up(tmp_path: Path) -> None:
    async def jobs() -> None:
        async with Cluster.create(tmp_path / "cluster") as cluster:
            await asyncio.gather(*engine.nodes(cluster, 1))
            given = spec(tmp_path)
            for number in range(2):
                given.output = str(tmp_path / f"out{number}")
                result = await engine.run(given, cluster=tmp_path / "cluster")
                assert Counter(dict(result)) == Counter((TEXT * 2).split())
            assert cluster.alive() == ["master", "worker1"]

    asyncio.run(jobs())


SCRIPT = """
import sys, time
from services.mapreduce.job import Spec, run

def slow(offset: int, line: str):
    print("begun", flush=True)
    time.sleep(1000)
    yield line, 1

if __name__ == "__main__":
    run(Spec(map=slow, inputs=sys.argv[1], output=sys.argv[2]), workers=2)
"""


def processes(word: str) -> list[int]:
    """Numbers of living processes with a word in their command lines or working files."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                if (
                    word.encode() in text
                    and (entry / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
                ):
                    found.append(int(entry.name))
            except OSError:
                continue
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_interrupted_or_killed_it_leaves_no_process(tmp_path: Path, how: signal.Signals) -> None:
    (tmp_path / "job.py").write_text(SCRIPT)
    (tmp_path / "in").write_text(TEXT)
    (tmp_path / "temporary").mkdir()
    word = f"DSIM_TEST={tmp_path}"
    job = subprocess.Popen(
        [sys.executable, tmp_path / "job.py", tmp_path / "in", tmp_path / "out"],
        env={
            **os.environ,
            "TMPDIR": str(tmp_path / "temporary"),
            "DSIM_TEST": str(tmp_path),
            "PYTHONPATH": os.pathsep.join(filter(None, (os.getcwd(), os.environ.get("PYTHONPATH")))),
        },
        stderr=(tmp_path / "said").open("w"),
    )
    try:
        logs = tmp_path / "temporary"
        deadline = time.monotonic() + 30
        while not any("begun" in log.read_text() for log in logs.glob("**/logs/*/map-*")):
            assert time.monotonic() < deadline, "the job does not begin"
            assert job.poll() is None, (tmp_path / "said").read_text()
            time.sleep(0.05)
        assert len(processes(word)) >= 4, "a master, two workers, and a child"
        job.send_signal(how)
        assert job.wait(20) != 0
        deadline = time.monotonic() + 10
        while processes(word) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert processes(word) == []
        if how is signal.SIGINT:
            assert list(logs.iterdir()) == []
            assert not (tmp_path / "out").exists()
    finally:
        for number in processes(word):
            os.kill(number, signal.SIGKILL)
        job.wait()
