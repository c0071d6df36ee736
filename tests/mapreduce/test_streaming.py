"""Executables as mapper, combiner and reducer: the contract of Hadoop Streaming, at the level of tasks."""

import gzip
import os
import random
import subprocess
from pathlib import Path
from typing import Any

import pytest

from services.files.api import Range
from services.mapreduce.tasks import line_runs, streaming
from services.mapreduce.tasks.executable import Reporter, pipe
from services.mapreduce.tasks.order import Done, InputError, Order, UserError

from .folder_storage import Inside


class Job:
    """A streaming job, run task by task."""

    def __init__(self, folder: Path, reduces: int = 2, memory: int = 0, **commands: str) -> None:
        self.inside = Inside(folder)
        self.folder = folder
        self.reduces = reduces
        self.memory = memory
        self.settings = {f"streaming.{what}": command for what, command in commands.items()}
        self.settings["streaming.folder"] = str(folder)
        self.maps: list[Done] = []

    def _order(self, **more: Any) -> Order:
        return Order(
            job="j1", code=("", b""), attempt=7, reduces=self.reduces, memory_bytes=self.memory, output="out",
            settings=self.settings, **more,
        )  # fmt: skip

    def map(self, *split: Range) -> Done:
        order = self._order(number=len(self.maps), split=split)
        self.maps.append(streaming.run_map(self.inside, order, self.inside.disk))
        return self.maps[-1]

    def reduce(self, number: int) -> bytes:
        """Returns what the reduce task writes."""
        done = self.reduce_done(number)
        return (self.folder / done.path).read_bytes()

    def reduce_done(self, number: int) -> Done:
        segment = f"j1/segment-{number}"
        with self.inside.disk.open(segment, "wb") as file:
            for done in self.maps:
                begin, end = done.offsets[number : number + 2]
                file.write((self.folder / done.path).read_bytes()[begin:end])
        order = self._order(number=number, segments=(segment,), maps=len(self.maps))
        return streaming.run_reduce(self.inside, order, self.inside.disk)


def whole(folder: Path, name: str, data: bytes) -> Range:
    (folder / name).write_bytes(data)
    return Range(name, 0, len(data))


def sort(data: bytes) -> bytes:
    return subprocess.run(["sort"], input=data, capture_output=True, check=True, env={"LC_ALL": "C"}).stdout


def test_a_reducer_reads_lines_sorted_by_key_and_a_key_is_in_one_part(tmp_path: Path) -> None:
    draw = random.Random(1)
    data = b"".join(b"key%d\t%d\n" % (draw.randrange(50), draw.randrange(1000)) for _ in range(5000))
    job = Job(tmp_path, reduces=3, mapper="cat", reducer="cat")
    job.map(whole(tmp_path, "a", data[:20_000]), whole(tmp_path, "b", data[20_000:]))
    parts = [job.reduce(number) for number in range(3)]
    assert all(part == sort(part) and part for part in parts)
    assert sort(b"".join(parts)) == sort(
        data[:20_000] + b"\n" * (data[19_999:20_000] != b"\n") + data[20_000:]
    )
    keys = [{line.partition(b"\t")[0] for line in part.splitlines()} for part in parts]
    assert sum(map(len, keys)) == len(set().union(*keys))


@pytest.mark.parametrize("cut", [1, 3, 4, 5, 8, 9, 30])
def test_each_line_is_read_by_the_split_in_which_it_begins(tmp_path: Path, cut: int) -> None:
    data = b"one\ntwo\n\nthree\n" + b"x" * 20 + b"\nlast"
    whole(tmp_path, "a", data)
    seen = [
        (tmp_path / Job(tmp_path, reduces=0, mapper="cat").map(piece).path).read_bytes()
        for piece in (Range("a", 0, cut), Range("a", cut, len(data) - cut))
    ]
    assert b"".join(seen) == data + b"\n"
    assert all(part.endswith(b"\n") or not part for part in seen)


def test_bytes_of_any_kind_pass_through_untouched(tmp_path: Path) -> None:
    data = bytes(byte for byte in range(256) if byte != 10) + b"\xff\xfe\t\x80\r\n" + b"\0\n"
    job = Job(tmp_path, reduces=1, mapper="cat", reducer="cat")
    job.map(whole(tmp_path, "a", data))
    assert sorted(job.reduce(0).split(b"\n")) == sorted(data.split(b"\n"))


def test_keys_are_in_order_even_where_lines_are_not(tmp_path: Path) -> None:
    data = b"a\t1\na\x01\t2\na\na\t0\nb\x02c\t1\nb\n"
    job = Job(tmp_path, reduces=1, memory=0, mapper="cat", reducer="cat")
    job.map(whole(tmp_path, "a", data))
    job.map(whole(tmp_path, "b", b"a\t2\nb\t1\n"))
    keys = [line.partition(b"\t")[0] for line in job.reduce(0).splitlines()]
    assert keys == sorted(keys)
    assert keys == [b"a"] * 4 + [b"a\x01"] + [b"b"] * 2 + [b"b\x02c"]


def test_a_map_spills_what_does_not_fit_and_the_result_is_the_same(tmp_path: Path) -> None:
    draw = random.Random(2)
    data = b"".join(b"%d\t%d\n" % (draw.randrange(10**6), n) for n in range(200_000))
    job = Job(tmp_path, reduces=1, memory=1 << 20, mapper="cat", reducer="cat")
    done = job.map(whole(tmp_path, "a", data))
    assert job.inside.disk.list("j1") == ["map-00000.7"]
    assert done.counters["map output records"] == 200_000
    assert job.reduce(0) == sort(data)


def test_short_lines_spill_before_they_take_more_than_their_share(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A block of the mapper's output is many times as large in memory when its lines are short."""
    most: list[int] = []
    take = line_runs.Lines.take
    monkeypatch.setattr(line_runs.Lines, "take", lambda lines: most.append(lines.memory) or take(lines))
    job = Job(tmp_path, reduces=1, memory=10 << 20, mapper="cat", reducer="cat")
    job.map(whole(tmp_path, "in", b"a\n" * (1 << 20)))
    share = (10 << 20) * streaming.SHARE
    one_piece = streaming.PIECE * (1 + line_runs.LINE_OVERHEAD // 2)
    assert len(most) > 1 and max(most) <= share + one_piece


@pytest.mark.parametrize("line", [b"ab\n", b"x" * 99 + b"\n"])
def test_a_run_is_read_in_blocks_that_fit_the_memory_as_lines(line: bytes, tmp_path: Path) -> None:
    data = line * (3_000_000 // len(line))
    (tmp_path / "run").write_bytes(data)
    with (tmp_path / "run").open("rb") as file:
        run = line_runs.Run(file, 0, len(data), plain=True)
        blocks = 0
        while run.advance(run.fitting(1 << 19)):
            assert sum(map(len, run.lines)) + line_runs.LINE_OVERHEAD * len(run.lines) <= 1.1 * (1 << 19)
            blocks += 1
    assert (
        3_000_000 / (1 << 19)
        < blocks
        < 2 * 3_000_000 * (len(line) + line_runs.LINE_OVERHEAD) / len(line) / (1 << 19)
    )


def test_runs_that_are_too_many_for_the_memory_are_merged_in_passes(tmp_path: Path) -> None:
    lines = [b"%05d" % n for n in range(3000)]
    with (tmp_path / "runs").open("wb") as file:
        for n in range(100):
            line_runs.end_run(file, line_runs.write_lines(file, lines[n::100]), True)
    job = Job(tmp_path, reduces=1, memory=1 << 20, reducer="cat")
    job.maps = [Done("runs", [0, (tmp_path / "runs").stat().st_size])]
    assert job.reduce(0).split() == lines


def test_a_combiner_changes_nothing_but_the_amount(tmp_path: Path) -> None:
    total = "awk -F'\\t' '{n[$1] += $2} END {for (k in n) print k \"\\t\" n[k]}'"
    draw = random.Random(3)
    data = b"".join(b"%d\t1\n" % draw.randrange(20) for _ in range(100_000))
    results = []
    for memory, combiner in ((0, ""), (0, total), (1 << 20, total)):  # the last one spills
        folder = tmp_path / f"{memory}{bool(combiner)}"
        folder.mkdir()
        job = Job(folder, memory=memory, mapper="cat", combiner=combiner, reducer=total)
        job.map(whole(folder, "a", data))
        results.append((b"".join(sort(job.reduce(n)) for n in range(2)), job.maps[0].offsets[-1]))
    assert results[0][0] == results[1][0] == results[2][0]
    assert results[1][1] < 500 < results[0][1]
    assert results[2][1] < 500


def test_without_reducers_the_mapper_writes_the_output(tmp_path: Path) -> None:
    job = Job(tmp_path, reduces=0, mapper="tr a-z A-Z; printf end")
    done = job.map(whole(tmp_path, "a", b"b\na\n"))
    assert (tmp_path / done.path).read_bytes() == b"B\nA\nend\n"
    assert done.outputs == [("out/.temporary/part-00000.7", "out/part-00000")]


def test_an_empty_region_is_an_empty_part(tmp_path: Path) -> None:
    job = Job(tmp_path, mapper="cat", reducer="cat")
    job.map(whole(tmp_path, "a", b""))
    assert job.maps[0].offsets == [0, 0, 0]
    assert job.reduce(0) == b""


def test_counters_and_status_come_from_stderr_and_the_rest_goes_to_the_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    said = [
        "reporter:counter:words,long,3",
        "reporter:counter:words,long,4",
        "reporter:status:half way",
        "plain words",
        "reporter:counter:not a counter",
    ]
    mapper = "cat; " + "; ".join(f"echo '{line}' >&2" for line in said) + "; sleep 0.7"
    job = Job(tmp_path, mapper=mapper)
    done = job.map(whole(tmp_path, "a", b"x\n"))
    assert done.counters["words.long"] == 7
    assert job.inside.told[-1].status == "half way"
    assert capfd.readouterr().err == "plain words\nreporter:counter:not a counter\n"


def test_an_executable_knows_where_it_is(tmp_path: Path) -> None:
    names = [
        "mapreduce_job_id", "mapreduce_task_id", "mapreduce_task_attempt_id", "mapreduce_task_partition",
        "mapreduce_task_ismap", "mapreduce_job_reduces", "mapreduce_map_input_file", "map_input_file",
        "mapreduce_map_input_start", "mapreduce_map_input_length", "mapred_task_id", "my_own_setting",
    ]  # fmt: skip
    job = Job(tmp_path, reduces=0, mapper="cat >/dev/null; " + "; ".join(f'echo "${name}"' for name in names))
    job.settings["my.own-setting"] = "42"
    whole(tmp_path, "a", b"12345\n12345\n")
    done = job.map(Range("a", 6, 6))
    attempt = "attempt_j1_m_000000_7"
    assert (tmp_path / done.path).read_text().split("\n")[:-1] == [
        "job_j1", "task_j1_m_000000", attempt, "0", "true", "0", "a", "a", "6", "6", attempt, "42",
    ]  # fmt: skip


def test_a_reducer_knows_m_and_that_it_is_no_mapper(tmp_path: Path) -> None:
    job = Job(
        tmp_path, mapper="cat", reducer='echo "$mapreduce_job_maps $mapred_map_tasks $mapreduce_task_ismap"'
    )
    job.map(whole(tmp_path, "a", b"x\n"))
    job.map(whole(tmp_path, "b", b"x\n"))
    assert job.reduce(1) == b"2 2 false\n"


def test_each_file_of_a_split_has_a_mapper_of_its_own(tmp_path: Path) -> None:
    job = Job(tmp_path, reduces=0, mapper='sed "s/^/$mapreduce_map_input_file /"')
    done = job.map(whole(tmp_path, "a", b"1\n"), whole(tmp_path, "b", b"2"))
    assert (tmp_path / done.path).read_bytes() == b"a 1\nb 2\n"


@pytest.mark.parametrize(
    ("mapper", "said"),
    [
        ("cat; echo first >&2; echo it broke >&2; exit 3", "mapper exited with status 3: first | it broke"),
        ("kill -SEGV $$", "mapper was killed by SIGSEGV"),
        ("python3 -c 'import os; os.abort()' | cat; exit 134", "mapper was killed by SIGABRT"),
        ("grep nothing", "mapper exited with status 1: grep's word for nothing found; append '|| true'"),
        ("cat >/dev/null; exit 1", "mapper exited with status 1"),
        ("./nowhere", "mapper exited with status 127: /bin/sh: 1: ./nowhere: not found"),
    ],
)
def test_a_mapper_that_fails_fails_the_attempt_and_says_how(tmp_path: Path, mapper: str, said: str) -> None:
    job = Job(tmp_path, mapper=mapper)
    with pytest.raises(UserError) as failure:
        job.map(whole(tmp_path, "a", b"x\n"))
    assert str(failure.value).replace("/bin/sh: line 1:", "/bin/sh: 1:").startswith(said)


def test_a_map_that_fails_leaves_nothing(tmp_path: Path) -> None:
    data = b"".join(b"%d\n" % n for n in range(100_000))
    for reduces in (0, 2):
        job = Job(tmp_path, reduces=reduces, memory=1 << 20, mapper="cat; exit 1", reducer="cat")
        with pytest.raises(UserError):
            job.map(whole(tmp_path, "a", data))
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["a"]


def test_a_mapper_need_not_read_its_input(tmp_path: Path) -> None:
    job = Job(tmp_path, reduces=0, mapper="head -n 1")
    done = job.map(whole(tmp_path, "a", b"line\n" * 10**6))
    assert (tmp_path / done.path).read_bytes() == b"line\n"


def test_a_mapper_may_say_all_before_it_has_read_all() -> None:
    out: list[bytes] = []
    big = b"y\n" * (2 << 20)
    command = f"yes | head -c {len(big)}; cat >/dev/null"
    pipe("mapper", command, [big], out.append, environment=os.environ, reporter=Reporter())
    assert sum(map(len, out)) == len(big)


def test_what_the_source_or_the_sink_raises_comes_out_and_the_command_is_gone() -> None:
    def broken() -> Any:
        yield b"x\n"
        raise OSError(5, "read error")

    def full(block: bytes) -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="read error"):
        pipe("mapper", "cat; sleep 60", broken(), print, environment=os.environ, reporter=Reporter())
    with pytest.raises(OSError, match="No space left"):
        pipe("mapper", "cat; sleep 60", [b"x\n"], full, environment=os.environ, reporter=Reporter())


def test_compressed_input_is_read_whole(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(gzip.compress(b"b\na\n"))
    job = Job(tmp_path, reduces=1, mapper="cat", reducer="cat")
    job.map(Range("a.gz", 0, -1))
    assert job.reduce(0) == b"a\nb\n"


def test_input_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.gz").write_bytes(b"no gzip")
    job = Job(tmp_path, mapper="cat")
    for name, why in (("nowhere", "No such file"), ("a.gz", "Not a gzipped file")):
        with pytest.raises(InputError, match=f"{name}: {why}"):
            job.map(Range(name, 0, -1))


def test_a_command_is_found_beside_the_job_as_in_hadoop(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("#!/bin/sh\ncat; echo mine")
    (tmp_path / "mine").chmod(0o755)
    job = Job(tmp_path, reduces=0, mapper="mine")
    assert (tmp_path / job.map(whole(tmp_path, "a", b"")).path).read_bytes() == b"mine\n"
