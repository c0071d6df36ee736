"""The paper, section by section: one test for what each says (Dean & Ghemawat, OSDI 2004).

Read with the paper open. User code runs in the engine "local" (4.7), what takes a cluster on simulated hosts:
`simulated` has real data and real user code on them, `Rig` a real master among workers that only pretend.
The other files of this folder test each module at length; here stands one plain case of each mechanism.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import signal
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import zstandard
from msgspec import Struct

from protos.trace import Message, Note, TraceEvent
from scenarios.mapreduce.cluster import TEXTS, WORD_COUNT, Cluster, counted, word_counts
from scenarios.mapreduce.invariants import WATCHED
from services.files.api import Range
from services.mapreduce import (
    Input,
    Job,
    KeyValue,
    Pair,
    SequenceInput,
    SequenceOutput,
    Spec,
    TotalOrder,
    by_hash,
    count,
    current,
    run,
)
from services.mapreduce.client import JobFailed
from services.mapreduce.counters import MAP_IN, MAP_OUT, REDUCE_OUT
from services.mapreduce.master.backups import Rule
from services.mapreduce.master.state import Kind, State
from services.mapreduce.sizes import from_byte, to_byte
from services.real.shared_folder import SharedFolder
from sim import run as run_scenario
from sim import scenario
from sim.faults import Crash, Cut, Isolate

from . import shuffling
from .rig import Rig, check_story
from .sequential import Tasks, cut
from .shuffling import outputs, region
from .test_status_page import told

PAPER_TEXT = "the map function\nthe reduce function\nthe master\n"


# The ground on which the cases stand


def local(tmp_path: Path, files: dict[str, bytes] | str = PAPER_TEXT, **fields: Any) -> Any:
    """Runs a job on these files in this process; its output is `tmp_path / "out"` unless it says else."""
    given = {"a.txt": files.encode()} if isinstance(files, str) else files
    (tmp_path / "in").mkdir(exist_ok=True)
    for name, data in given.items():
        (tmp_path / "in" / name).write_bytes(data)
    spec = Spec(**{"inputs": str(tmp_path / "in"), "output": str(tmp_path / "out"), **fields})
    return run(spec, engine="local")


def part(tmp_path: Path, number: int = 0) -> str:
    return (tmp_path / "out" / f"part-{number:05}").read_text()


class Trace(Struct):
    """A check that keeps the trace."""

    events: list[TraceEvent] = []
    name: str = "trace"

    def begin(self) -> Trace:
        return self

    def see(self, events: Sequence[TraceEvent]) -> None:
        self.events.extend(events)

    def verdict(self) -> tuple[bool, str]:
        return True, ""

    def notes(self, name: str, **fields: Any) -> list[dict[str, Any]]:
        return [
            event.fields
            for event in self.events
            if isinstance(event, Note) and event.name == name and fields.items() <= event.fields.items()
        ]


def simulated(
    story: Callable[[Cluster], Awaitable[Any]], *, seed: int = 0, workers: int = 4, **how: Any
) -> tuple[Any, Trace]:
    """Runs `story(cluster)` on a simulated cluster, invariants watched; returns its value and the trace."""
    trace, values = Trace(), []

    @scenario(checks=("ends", trace, *WATCHED))  # type: ignore[arg-type]
    async def a_cluster(world: Any) -> None:
        """A cluster on which a test runs jobs."""
        cluster = await Cluster.start(world, workers, **how)
        await cluster.put("texts", TEXTS)
        values.append(await story(cluster))
        world.check("ends", True)

    summary = run_scenario(a_cluster, seed=seed)
    assert summary.passed, summary
    return values[0], trace


def words(offset: int, line: str) -> Iterator[tuple[str, int]]:
    for word in line.split():
        yield word, 1


def add(word: str, counts: Iterable[int]) -> int:
    return sum(counts)


# 2 Programming model


def test_2_reduce_is_given_a_key_and_all_its_values_through_an_iterator(tmp_path: Path) -> None:
    """An iterator: "lists of values that are too large to fit in memory" must be possible."""

    def reduce(word: str, counts: Iterator[int]) -> str:
        assert iter(counts) is counts
        return "".join(map(str, counts))

    local(tmp_path, map=words, reduce=reduce)
    assert part(tmp_path) == "function\t11\nmap\t1\nmaster\t1\nreduce\t1\nthe\t111\n"


def test_2_typically_zero_or_one_output_value_is_produced_but_any_number_may(tmp_path: Path) -> None:
    def reduce(word: str, counts: Iterable[int]) -> Iterator[int]:
        yield from range(sum(counts) - 1)

    local(tmp_path, map=words, reduce=reduce)
    assert part(tmp_path) == "function\t0\nthe\t0\nthe\t1\n"


def test_2_1_word_count(tmp_path: Path) -> None:
    local(tmp_path, map=words, reduce=add)
    assert part(tmp_path) == "function\t2\nmap\t1\nmaster\t1\nreduce\t1\nthe\t3\n"


def test_2_2_strings_cross_the_border_and_the_user_converts(tmp_path: Path) -> None:
    """Bytes pass untouched, whatever they hold; what is no string is converted by the types in the hints."""

    def untouched(offset: int, line: bytes) -> Iterator[tuple[bytes, int]]:
        yield line, offset

    local(tmp_path, {"a": b"\xff\x00\nplain\n"}, map=untouched)
    assert (tmp_path / "out" / "part-00000").read_bytes() == b"plain\t3\n\xff\x00\t0\n"


def grep(offset: int, line: str) -> Iterator[tuple[str, str]]:
    if "GET" in line:
        yield line, ""


def url_access(offset: int, line: str) -> Iterator[tuple[str, int]]:
    yield line.split()[2], 1


def links(offset: int, line: str) -> Iterator[tuple[str, str]]:
    source, _, target = line.split()
    yield target, source


def linked(target: str, sources: Iterable[str]) -> str:
    return ",".join(sorted(sources))


def terms(offset: int, line: str) -> Iterator[tuple[str, dict[str, int]]]:
    source, *found = line.split()
    yield source, Counter(found)


def vector(host: str, vectors: Iterable[dict[str, int]]) -> dict[str, int]:
    total: Counter[str] = Counter()
    for one in vectors:
        total.update(one)
    return dict(sorted(total.items()))


def postings(offset: int, line: str) -> Iterator[tuple[str, int]]:
    for word in line.split():
        yield word, offset


def index(word: str, offsets: Iterable[int]) -> list[int]:
    return [*sorted({*offsets})]


def by_key(offset: int, line: str) -> Iterator[tuple[str, str]]:
    yield line[:1], line


LOG = "b GET x\na GET y\na PUT x\n"


@pytest.mark.parametrize(
    ("example", "map_", "reduce", "out"),
    [
        ("distributed grep", grep, None, "a GET y\t\nb GET x\t\n"),
        ("count of URL access frequency", url_access, add, "x\t2\ny\t1\n"),
        ("reverse web-link graph", links, linked, "x\ta,b\ny\ta\n"),
        ("term vector per host", terms, vector, 'a\t{"GET":1,"PUT":1,"x":1,"y":1}\nb\t{"GET":1,"x":1}\n'),
        (
            "inverted index",
            postings,
            index,
            "GET\t0\nGET\t8\nPUT\t16\na\t8\na\t16\nb\t0\nx\t0\nx\t16\ny\t8\n",
        ),
        ("distributed sort", by_key, None, "a\ta GET y\na\ta PUT x\nb\tb GET x\n"),
    ],
)
def test_2_3_more_examples(tmp_path: Path, example: str, map_: Any, reduce: Any, out: str) -> None:
    local(tmp_path, LOG, map=map_, reduce=reduce)
    assert part(tmp_path) == out, example


# 3.1 Execution overview


def test_3_1_the_input_is_split_in_m_pieces_at_the_borders_of_records() -> None:
    async def story(cluster: Cluster) -> Any:
        return await cluster.submit(Spec(WORD_COUNT, inputs="texts", output="out", split_bytes=1000)).done()

    last, _ = simulated(story)
    assert last.maps >= sum(len(text) for text in TEXTS.values()) / 1000
    lines = sum(len(text.splitlines()) for text in TEXTS.values())
    assert last.counters.values[MAP_IN] == lines, "each line is in one split"


def test_3_1_the_master_gives_m_plus_r_tasks_to_idle_workers() -> None:
    rig = Rig(3, maps=10, worker={"slots": 1})
    check_story(rig.notes, rig.files, rig.run(Rig.do), 10, 2)
    assert len(rig.noted("assigned", kind="map")) == 10
    assert len(rig.noted("assigned", kind="reduce")) == 2
    assert {fields["worker"] for fields in rig.noted("assigned")} == {"w0", "w1", "w2"}


def test_3_1_pairs_are_buffered_in_memory_and_written_to_the_local_disk_in_r_regions(tmp_path: Path) -> None:
    """What does not fit the buffer is spilled, again and again; the task leaves one file of R regions."""
    (tmp_path / "in").write_text("".join(f"word{n % 977} x\n" for n in range(4000)))
    spec = Spec(map=words, reduce=add, inputs="in", output="out", reduces=3)
    size = (tmp_path / "in").stat().st_size
    roomy, tight = Tasks(tmp_path, spec), Tasks(tmp_path, spec)
    tight.memory = 1 << 16
    answers = [tasks.all(cut("in", size, size)) for tasks in (roomy, tight)]
    assert answers[0] == answers[1]
    done = tight.map(0, Range("in", 0, size))
    assert len(done.offsets) == 3 + 1
    assert done.offsets[-1] == tight.disk.size(done.path)
    assert all(start < end for start, end in pairwise(done.offsets))


def test_3_1_a_reduce_worker_reads_its_region_from_the_disks_of_all_map_workers_by_rpc() -> None:
    async def story(cluster: Cluster) -> Any:
        await cluster.submit(Spec(WORD_COUNT, inputs="texts", output="out", split_bytes=1000)).done()
        return counted(await cluster.parts("out"))

    found, trace = simulated(story)
    assert {word: number for _, word, number in found} == word_counts(TEXTS)
    (reducer,) = {note["worker"] for note in trace.notes("completed", kind="reduce")}
    mappers = {note["worker"] for note in trace.notes("completed", kind="map")}
    asked = {
        event.host
        for event in trace.events
        if isinstance(event, Message) and event.method.endswith("/Fetch") and event.source == reducer
    }
    assert {host for host in asked if host != reducer} == mappers - {reducer}


def test_3_1_when_all_is_done_the_call_returns_and_the_r_files_can_be_the_input_of_another_job(
    tmp_path: Path,
) -> None:
    """Also 6.1: indexing was "a sequence of five to ten MapReduce operations"."""

    def swap(word: str, times: str) -> Iterator[tuple[int, str]]:
        yield -int(times), word

    first = local(tmp_path, map=words, reduce=add, reduces=3)
    assert sorted(os.listdir(first.output)) == ["_SUCCESS", "part-00000", "part-00001", "part-00002"]
    second = run(
        Spec(map=swap, inputs=first.output, input=KeyValue(), output=str(tmp_path / "second")), engine="local"
    )
    assert next(iter(second)) == (-3, "the")
    assert [times for times, _ in second] == [-3, -2, -1, -1, -1]


# 3.2 Master data structures


def test_3_2_a_task_is_idle_in_progress_or_completed_and_has_a_worker_unless_it_is_idle() -> None:
    async def story(rig: Rig) -> Any:
        job = rig.start()
        await rig.until("completed", kind="map")
        state = next(iter(rig.master.scheduler.jobs.values())).state  # type: ignore[union-attr]
        seen = {task.state: task for task in state.tasks[Kind.MAP]}
        assert set(seen) == {State.IDLE, State.IN_PROGRESS, State.COMPLETED}
        assert (seen[State.IDLE].worker, seen[State.IDLE].executions) == (None, ())
        assert seen[State.IN_PROGRESS].executions[0].worker[0] in rig.workers
        assert seen[State.COMPLETED].worker[0] in rig.workers  # type: ignore[index]
        return await job

    Rig(2, maps=40).run(story)  # its master's invariants are looked at after every note


def test_3_2_locations_and_sizes_are_pushed_to_workers_with_reduce_tasks_in_progress() -> None:
    rig = Rig(3, maps=30)
    rig.run(Rig.do)
    names = [name for name, fields in rig.notes if fields.get("kind") == "map" and name == "completed"]
    reduce = rig.notes.index(("assigned", rig.noted("assigned", kind="reduce")[0]))
    after = [
        fields for name, fields in rig.notes[reduce:] if (name, fields.get("kind")) == ("completed", "map")
    ]
    assert 0 < len(after) < len(names), "reduces begin to pull while maps are executed"


# 3.3 Fault tolerance


def test_3_3_maps_of_a_worker_that_does_not_answer_pings_are_executed_again_completed_ones_too() -> None:
    async def story(rig: Rig) -> Any:
        job = rig.start()
        await rig.until("completed", worker="w0", kind="map")
        rig.faults.inject(Isolate(host="w0"))
        return await job

    rig = Rig(3, maps=30)
    check_story(rig.notes, rig.files, rig.run(story), 30, 2)
    assert rig.noted("worker failed", worker="w0", why="silent")
    again = [fields["number"] for fields in rig.noted("reopened")]
    assert (
        {fields["number"] for fields in rig.noted("completed", worker="w0", kind="map")}
        >= set(again)
        != set()
    )


def test_3_3_a_completed_reduce_task_is_not_executed_again_its_output_is_in_the_global_file_system() -> None:
    async def story(rig: Rig) -> Any:
        job = rig.start(rig.job(reduces=8))
        done = await rig.until("completed", kind="reduce")
        rig.faults.inject(Crash(host=done["worker"]))
        return await job

    rig = Rig(3, maps=6, worker={"slots": 1})
    check_story(rig.notes, rig.files, rig.run(story), 6, 8)
    kept = rig.noted("completed", kind="reduce")[0]
    assert len(rig.noted("completed", kind="reduce", number=kept["number"])) == 1


def test_3_3_a_reduce_that_has_not_read_from_a_reads_from_b_where_the_map_was_executed_again() -> None:
    async def case(rig: shuffling.Rig) -> None:
        rig.peer("a", (0, 1, 10), (1, 1, 10))
        rig.peer("b", (0, 2, 10))
        shuffle = rig.shuffle(maps=2)
        shuffle.offer(outputs((1, "a", 1, 10)))
        shuffle.withdraw([0], [1])
        shuffle.offer(outputs((0, "b", 2, 10)))
        pulled = await rig.pulled(await shuffle.run())
        assert sorted([pulled[:10], pulled[10:]]) == sorted([region(0, 2, 10), region(1, 1, 10)])
        assert (0, 1) not in rig.asked["a"]

    shuffling.run(case)


def test_3_3_groups_of_machines_unreachable_for_minutes_delay_the_job_and_no_more() -> None:
    async def story(rig: Rig) -> Any:
        job = rig.start()
        await rig.until("completed", kind="map", number=20)
        cuts = [rig.faults.inject(Isolate(host=f"w{n}")) for n in range(4)]
        await asyncio.sleep(90)
        for number in cuts:
            rig.faults.lift(number)
        return await job

    rig = Rig(8, maps=100, worker={"slots": 1, "seconds": 2.0})
    check_story(rig.notes, rig.files, rig.run(story), 100, 2)
    assert {f["worker"] for f in rig.noted("worker failed")} >= {"w0", "w1", "w2", "w3"}


def test_3_3_the_master_writes_checkpoints_and_a_new_one_goes_on_from_there() -> None:
    """The paper says that this would be easy, and aborts the job instead; here it goes on."""

    async def story(rig: Rig) -> Any:
        job = rig.start()
        await rig.until("completed", kind="map", number=15)
        rig.faults.lift(rig.faults.inject(Crash(host="master")))
        return await job

    rig = Rig(3, maps=30)
    outcome = rig.run(story)
    check_story(rig.notes, rig.files, outcome, 30, 2)
    assert rig.noted("job started", recovered=True)
    assert len(rig.noted("completed", kind="map")) < 2 * 30, "what was done is not done again"


def test_3_3_a_completion_of_a_task_that_is_completed_is_ignored() -> None:
    rig = Rig(3, maps=12, worker={"wrong": {"repeat": 0.5}})
    check_story(rig.notes, rig.files, rig.run(Rig.do), 12, 2)


def test_3_3_of_two_executions_of_a_reduce_the_final_file_has_the_bytes_of_one(tmp_path: Path) -> None:
    """The file system's atomic rename is what this rests on."""
    files = SharedFolder(str(tmp_path))

    async def commits() -> list[bool]:
        for name in ("one", "two"):
            await files.write(f"out/.temporary/{name}", name.encode() * 1000)
        return await asyncio.gather(
            *(files.commit(f"out/.temporary/{name}", "out/part-00000") for name in ("one", "two"))
        )

    assert sorted(asyncio.run(commits())) == [False, True]
    assert (tmp_path / "out/part-00000").read_bytes() in (b"one" * 1000, b"two" * 1000)


def test_3_3_with_deterministic_functions_the_output_is_that_of_a_sequential_execution() -> None:
    async def story(cluster: Cluster) -> Any:
        run = cluster.submit(Spec(WORD_COUNT, inputs="texts", output="out", reduces=3, split_bytes=1000))
        await run.maps(0.3)
        await cluster.world.inject(Crash(host="w2"))
        await cluster.world.inject(Cut(source="w1", target="w3"))
        await run.done()
        return counted(await cluster.parts("out"))

    found, trace = simulated(story)
    assert {word: number for _, word, number in found} == word_counts(TEXTS)
    assert trace.notes("reopened")


def test_3_3_with_others_each_reduce_is_explained_by_one_execution_of_each_map() -> None:
    assert run_scenario("mapreduce/nondeterministic").passed


# 3.4 Locality


def test_3_4_a_map_goes_to_a_machine_with_a_replica_of_its_input_or_near_one() -> None:
    async def story(rig: Rig) -> Any:
        for number in range(4):
            rig.add(f"w{number}", rack=f"rack{number // 2}", slots=1)
        await asyncio.sleep(1.0)
        return await rig.do()

    rig = Rig(0, maps=40)
    rig.files.hosts = {f"in/a:{100 * n}": (f"w{n % 4}",) for n in range(40)}
    rig.run(story)
    taken = Counter(fields["near"] for fields in rig.noted("assigned", kind="map"))
    assert taken["data-local"] > 30
    assert taken["data-local"] + taken["rack-local"] + taken["remote"] == len(
        rig.noted("assigned", kind="map")
    )


# 3.5 Task granularity


def test_3_5_the_master_makes_m_plus_r_decisions_and_keeps_about_a_byte_for_each_pair() -> None:
    seen = []

    async def story(rig: Rig) -> Any:
        job = rig.start(rig.job(reduces=40))
        await rig.until("completed", kind="map", number=49)
        running = next(iter(rig.master.scheduler.jobs.values()))  # type: ignore[union-attr]
        seen.append(running.locations.bytes_of_sizes)
        return await job

    rig = Rig(4, maps=50, backups=Rule(share=0.0, least=0))
    outcome = rig.run(story)
    assert outcome.executions == len(rig.noted("assigned")) == 50 + 40
    assert seen[0] <= 50 * 40


def test_3_5_a_byte_says_how_large_a_region_is() -> None:
    for size in (0, 1, 99, 12_345, 64 << 20, 10 << 30):
        assert size <= from_byte(to_byte(size)) <= size * 1.1 + 1


# 3.6 Backup tasks


@pytest.mark.parametrize("backups", [True, False])
def test_3_6_near_the_end_backups_of_what_is_in_progress_overtake_a_straggler(backups: bool) -> None:
    async def story(rig: Rig) -> Any:
        await rig.until("worker registered", worker="w2")
        rig.workers["w0"].seconds = 100.0
        return await rig.do(rig.job(no_backups=not backups))

    rig = Rig(maps=12, worker={"slots": 1})
    outcome = rig.run(story)
    check_story(rig.notes, rig.files, outcome, 12, 2)
    assert bool(outcome.backups) is backups
    assert (outcome.elapsed_s < 20) is backups
    for backup in rig.noted("assigned", backup=True):
        before = rig.notes[: rig.notes.index(("assigned", backup))]
        given = {f["number"] for n, f in before if n == "assigned" and f["kind"] == backup["kind"]}
        assert len(given) == (12 if backup["kind"] == "map" else 2), "some were still idle"


# 4.1 Partitioning function


def test_4_1_the_default_is_hash_of_key_mod_r(tmp_path: Path) -> None:
    result = local(tmp_path, map=words, reduce=add, reduces=4)
    for number in range(4):
        for line in part(tmp_path, number).splitlines():
            assert by_hash(line.split("\t")[0], 4) == number
    assert len(list(result)) == 5


def by_host(url: str, reduces: int) -> int:
    return by_hash(url.split("/")[0], reduces)


def test_4_1_hash_of_hostname_of_url_puts_all_urls_of_a_host_in_one_file(tmp_path: Path) -> None:
    urls = "".join(f"host{n % 5}/page{n}\n" for n in range(50))
    local(tmp_path, urls, map=words, reduce=add, reduces=4, partitioner=by_host)
    hosts = [{line.split("/")[0] for line in part(tmp_path, n).splitlines()} for n in range(4)]
    assert sum(map(len, hosts)) == 5


def test_4_1_and_5_3_a_sample_of_the_keys_finds_the_split_points_of_a_total_order(tmp_path: Path) -> None:
    numbers = "".join(f"{n * 7919 % 1000:03}\n" for n in range(1000))
    local(tmp_path, numbers, map=words, reduce=add, reduces=4, partitioner=TotalOrder())
    files = [part(tmp_path, n).splitlines() for n in range(4)]
    lines = [line for file in files for line in file]
    assert lines == sorted(lines)
    assert all(200 <= len(file) <= 300 for file in files)


# 4.2 Ordering guarantees


def test_4_2_within_a_partition_keys_are_processed_in_increasing_order(tmp_path: Path) -> None:
    def number(offset: int, line: str) -> Iterator[tuple[int, str]]:
        yield int(line), line

    local(tmp_path, "10\n9\n-3\n200\n9\n", map=number, reduces=1)
    assert [line.split("\t")[0] for line in part(tmp_path).splitlines()] == ["-3", "9", "9", "10", "200"]


# 4.3 Combiner function


def test_4_3_a_combiner_merges_on_the_map_worker_and_changes_nothing_but_the_amount(tmp_path: Path) -> None:
    job = {"map": words, "reduce": add, "combine": add}
    text = "so many of the same words words words\n" * 100
    with_ = local(tmp_path, text, **job)
    without = local(tmp_path, text, combiner=False, output=str(tmp_path / "without"), **job)
    assert list(with_) == list(without)
    assert with_.bytes["intermediate"] * 10 < without.bytes["intermediate"]


# 4.4 Input and output types


def echo(key: Any, value: Any) -> Iterator[tuple[Any, Any]]:
    yield key, value


def test_4_4_text_gives_the_offset_and_the_line_and_splits_only_at_line_boundaries(tmp_path: Path) -> None:
    result = local(tmp_path, "first\nsecond\n\nlast", map=echo, split_bytes=4)
    assert result.maps > 3
    assert part(tmp_path) == "0\tfirst\n6\tsecond\n13\t\n14\tlast\n"


def test_4_4_sequences_of_pairs_are_written_by_one_job_and_read_by_another(tmp_path: Path) -> None:
    class Points(Job):
        output = SequenceOutput()

        def map(self, offset: int, line: str) -> Iterator[tuple[tuple[int, str], list[bytes]]]:
            yield (offset, line), [line.encode()]

    first = local(tmp_path, job=Points)
    read = SequenceInput(tuple[int, str], list[bytes])
    second = run(
        Spec(map=echo, input=read, inputs=first.output, output=str(tmp_path / "second")), engine="local"
    )
    assert second.counters[MAP_IN] == 3
    assert next(iter(first)) == ((0, "the map function"), [b"the map function"])


@pytest.mark.parametrize(("suffix", "pack"), [("gz", gzip.compress), ("zst", zstandard.compress)])
def test_4_4_a_compressed_file_is_one_split(tmp_path: Path, suffix: str, pack: Any) -> None:
    files = {f"a.{suffix}": pack(PAPER_TEXT.encode()), "b.txt": b"the end\n" * 10}
    result = local(tmp_path, files, map=words, reduce=add, split_bytes=20)
    assert result.maps == 1 + 4
    assert ("the", 13) in list(result)


class Squares(Input):
    """A reader need not read a file: this one "generates records", as one may from a database."""

    def split(self, files: Any, split_bytes: int) -> list[list[Range]]:
        return [[Range("squares", start, 10)] for start in range(0, 30, 10)]

    def read(self, piece: Range, files: Any) -> Iterator[tuple[int, int]]:
        for n in range(piece.offset, piece.offset + piece.size):
            yield n, n * n


def test_4_4_users_add_a_type_by_a_reader_which_need_not_read_a_file(tmp_path: Path) -> None:
    result = local(tmp_path, {}, map=echo, input=Squares(), inputs=[])
    assert result.maps == 3
    assert dict(result) == {str(n): str(n * n) for n in range(30)}


def test_4_4_reduce_may_give_a_pair_of_its_own_and_several_outputs_are_written(tmp_path: Path) -> None:
    def reduce(word: str, counts: Iterable[int]) -> Iterator[Pair]:
        if (times := sum(counts)) > 1:
            current().write("frequent", times, word)
        yield Pair(len(word), word)

    result = local(tmp_path, map=words, reduce=reduce)
    assert part(tmp_path) == "8\tfunction\n3\tmap\n6\tmaster\n6\treduce\n3\tthe\n"
    assert (tmp_path / "out/frequent-00000").read_text() == "2\tfunction\n3\tthe\n"
    assert len(list(result)) == 5, "other outputs are no part of the result"


# 4.5 Side-effects


def with_side_file(offset: int, line: str) -> Iterator[tuple[str, int]]:
    with current().side_file(f"letters/{line[:1]}/{current().number}.txt") as file:
        file.write(line.encode())
    if line.startswith("bad"):
        raise ValueError("too late")
    yield line, 1


def test_4_5_additional_files_appear_as_a_whole_when_their_task_is_committed(tmp_path: Path) -> None:
    """The paper leaves temporary file and rename to the application; here `side_file` is both."""
    result = local(tmp_path, {"a": b"alpha\n", "b": b"beta\n"}, map=with_side_file, split_bytes=6)
    out = tmp_path / "out"
    assert {str(path.relative_to(out)) for path in out.rglob("*.txt")} == {
        "letters/a/0.txt",
        "letters/b/1.txt",
    }
    assert (out / "letters/b/1.txt").read_bytes() == b"beta"
    assert len(list(result)) == 2


def test_4_5_and_not_at_all_when_it_fails_on_a_cluster() -> None:
    async def story(cluster: Cluster) -> Any:
        await cluster.put("in", {"a": b"alpha\n", "b": b"bad\n"})
        spec = Spec(map=with_side_file, inputs="in", output="out", split_bytes=6, max_attempts=2)
        why = await cluster.submit(spec).failed()
        await cluster.put("in", {"b": b"beta\n"})
        spec.output = "again"
        await cluster.submit(spec).done()
        return why, [await cluster.parts(folder) for folder in ("out", "again")]

    (why, (failed, done)), _ = simulated(story)
    assert "too late" in why
    assert not any("/b/" in name or name == "_SUCCESS" for name in failed)
    assert done["letters/b/1.txt"] == b"beta"


# 4.6 Skipping bad records


def deadly(offset: int, line: str) -> Iterator[tuple[str, int]]:
    if line == "bad":
        os.kill(os.getpid(), signal.SIGSEGV)
    yield line, 1


@pytest.mark.parametrize("asked", [True, False])
def test_4_6_a_record_that_kills_the_process_is_left_out_after_two_failures_when_asked(asked: bool) -> None:
    async def story(cluster: Cluster) -> Any:
        await cluster.put("in", {"a": b"good\nbad\nfine\n"})
        job = cluster.submit(Spec(map=deadly, inputs="in", output="out", skip_bad_records=asked))
        return await (job.done() if asked else job.failed()), await cluster.parts("out")

    (last, parts), trace = simulated(story)
    if asked:
        assert parts == {"part-00000": b"fine\t1\ngood\t1\n"}
        assert [(bad.number, bad.where) for bad in last.skipped] == [(1, "in/a:5")]
        assert len(trace.notes("failed", kind="map")) == 2
    else:
        assert "in/a:5" in last
        assert "SIGSEGV" in last


# 4.7 Local execution


def test_4_7_a_job_runs_in_this_process_where_a_debugger_sees_it(tmp_path: Path) -> None:
    def here(offset: int, line: str) -> Iterator[tuple[int, int]]:
        yield os.getpid(), threading.get_ident()

    assert {*local(tmp_path, map=here)} == {(os.getpid(), threading.get_ident())}


def test_4_7_controls_limit_the_computation_to_particular_tasks(tmp_path: Path) -> None:
    (tmp_path / "in").write_text(PAPER_TEXT)
    spec = Spec(
        map=words, reduce=add, inputs=str(tmp_path / "in"), output=str(tmp_path / "out"), split_bytes=20
    )
    assert list(run(spec, engine="local", only=("map", 1))) == [("master", 1), ("the", 1)]
    assert len(list(run(spec, engine="local", only=("reduce", 0)))) == 5
    assert not (tmp_path / "out").exists()


# 4.8 Status information


def test_4_8_the_master_serves_pages_with_tasks_bytes_rates_logs_and_failed_workers() -> None:
    async def story(simulation: Any, get: Any, start: Any) -> Any:
        job = start()
        await asyncio.sleep(2)
        simulation.machines["w1"].crash()
        await asyncio.sleep(4)
        about = json.loads((await get("/api/job/j%2F1"))[1])
        attempt = next(one for one in about["running"] if one["state"] == "running")
        log = await get(f"/job/j%2F1/log/{attempt['kind']}/{attempt['number']}/{attempt['attempt']}")
        top = json.loads((await get("/api"))[1])
        page = (await get("/"))[1]
        simulation.machines["w1"].restart()
        await job
        return about, log, top, page

    about, log, top, page = told(story, seconds=3.0, maps=12)
    job = about["job"]
    assert job["maps_completed"] > 0
    assert job["maps_running"] > 0
    assert {"input_bytes", "intermediate_bytes", "output_bytes"} == set(job["rates"])
    assert job["input_bytes"] > 0
    assert job["rates"]["input_bytes"] > 0
    assert log[0].startswith("HTTP/1.1 200")
    (failed,) = top["failed_workers"]
    assert failed["name"] == "w1"
    assert any("map task" in task for task in failed["executing"])
    assert all(task in page for task in failed["executing"])


# 4.9 Counters


def test_4_9_user_code_counts_and_pairs_are_counted_by_themselves(tmp_path: Path) -> None:
    def upper(offset: int, line: str) -> Iterator[tuple[str, int]]:
        for word in line.split():
            if word.isupper():
                count("uppercase")
            yield word, 1

    counters = local(tmp_path, "NO yes\nYES no\n", map=upper, reduce=add).counters
    assert counters["uppercase"] == 2
    assert (counters[MAP_IN], counters[MAP_OUT], counters[REDUCE_OUT]) == (2, 4, 4)


def test_4_9_of_repeated_and_backup_executions_each_task_is_counted_once_also_in_the_live_values() -> None:
    live: list[int] = []

    async def story(rig: Rig) -> Any:
        job = rig.start(progress=lambda report: live.append(report.counters.values["tasks"]))
        await rig.until("completed", worker="w0", kind="map")
        rig.faults.inject(Crash(host="w0"))
        return await job

    rig = Rig(4, maps=30, worker={"slots": 1, "wrong": {"repeat": 0.3, "late": 0.2}})
    outcome = rig.run(story)
    check_story(rig.notes, rig.files, outcome, 30, 2)  # counters among it
    assert outcome.executions > 32
    assert 0 < max(live) <= 32
    assert len(set(live)) > 5


# Appendix A


def test_appendix_a_a_specification_names_files_functions_and_tuning_and_a_result_says_what_was_done() -> (
    None
):
    """As its program: 100 output tasks, a combiner, memory for each task; how long it took, on how many."""

    async def story(cluster: Cluster) -> Any:
        spec = Spec(
            WORD_COUNT, inputs=["texts"], output="freq", reduces=100, split_bytes=2000, memory=100 << 20
        )
        return await cluster.submit(spec).done(), await cluster.parts("freq")

    (last, parts), _ = simulated(story)
    assert list(parts) == [f"part-{n:05}" for n in range(100)]
    assert {word: number for _, word, number in counted(parts)} == word_counts(TEXTS)
    assert last.elapsed_s > 0
    assert last.workers == 4
    assert last.counters.values[REDUCE_OUT] == len(word_counts(TEXTS))


# What follows from all that (1.C of the reading notes), watched in the trace


@pytest.mark.parametrize("seed", range(2))
def test_the_invariants_hold_while_everything_fails(seed: int) -> None:
    """Those of the README of `services/mapreduce` that a trace shows, and the answer of a sequential run."""
    summary = run_scenario("mapreduce/swarm", {"seconds": 10.0}, seed=seed)
    assert summary.passed, summary
    assert {check.name for watched in WATCHED for check in summary.checks if check.name == watched.name}


def test_8_no_reduce_task_is_completed_before_all_m_map_tasks_are() -> None:
    rig = Rig(3, maps=9)
    rig.run(Rig.do)
    done = [fields["kind"] for name, fields in rig.notes if name == "completed"]
    assert done == ["map"] * 9 + ["reduce"] * 2


def test_a_job_that_cannot_be_done_fails_with_a_word_and_leaves_no_success() -> None:
    async def story(rig: Rig) -> Any:
        await rig.until("worker registered", worker="w0")
        rig.workers["w0"].wrong = {"user": 1.0}
        await rig.do()

    rig = Rig(1)
    with pytest.raises(JobFailed, match=r"map task 0 failed 4 times.*log: out/_logs/map-00000"):
        rig.run(story)
    assert "out/_SUCCESS" not in rig.files.data
