"""What a worker's executions leave behind, and as what their failures are told (3.3, 4.6)."""

from __future__ import annotations

import asyncio
import os
import signal
from array import array
from collections.abc import Awaitable, Callable, Iterable, Iterator
from typing import Any

import pytest

from protos import mapreduce_pb2 as pb
from services.files import connect, server
from services.mapreduce.job import Spec
from services.mapreduce.message import job_message
from services.mapreduce.sizes import from_byte
from services.mapreduce.worker.local_data import LocalData
from services.mapreduce.worker.plane import MapOutputs
from sim.world.simulation import Simulation

LINES = b"a b a\nc\nb\n"


def words(offset: int, line: str) -> Iterator[tuple[str, int]]:
    if line == "raise":
        raise ValueError("a bad line")
    if line == "die":
        os.kill(os.getpid(), signal.SIGSEGV)
    if line == "eat":
        raise MemoryError
    print("seen", line)
    for word in line.split():
        yield word, 1


def add(word: str, counts: Iterable[int]) -> int:
    return sum(counts)


def fragile(word: str, counts: Iterable[int]) -> int:
    if word == "deadly":
        os.kill(os.getpid(), signal.SIGSEGV)
    return sum(counts)


class Rig:
    """A worker's data plane on the host "here"; the shared files are on another."""

    def __init__(self, simulation: Simulation, host: Any) -> None:
        self.simulation = simulation
        self.host = host
        self.files = connect(host, "files")
        self.plane = LocalData(host, self.files)

    def job(self, **fields: Any) -> pb.Job:
        given = {"map": words, "reduce": add, "reduces": 2, **fields}
        return job_message(Spec(inputs="in", output="out", **given), "job")

    def map_task(self, attempt: int = 1, size: int = 1000, skip: Iterable[int] = ()) -> pb.Task:
        piece = pb.Piece(path="in/text", offset=0, size=size)
        return pb.Task(job="job", kind=pb.MAP, number=0, attempt=attempt, split=[piece], skip=skip)

    async def map(self, text: bytes = LINES, job: pb.Job | None = None, **fields: Any) -> pb.Completion:
        await self.files.write("in/text", text)
        job = job or self.job()
        return await self.plane.map(job, self.map_task(size=len(text), **fields)).run()

    async def reduce(self, attempt: int, number: int = 0, job: pb.Job | None = None) -> pb.Completion:
        task = pb.Task(job="job", kind=pb.REDUCE, number=number, attempt=attempt, maps=1)
        reduction = self.plane.reduce(job or self.job(), task, lambda lost: None)
        reduction.offer(MapOutputs(array("I", [0]), array("I", [0]), array("Q", [1]), bytes([9]), ["here"]))
        return await reduction.run()

    async def on_disk(self) -> list[str]:
        return [f"job/{name}" for name in await self.host.disk.list("job")]

    async def names(self) -> list[str]:
        return [info.path for info in await self.files.list("out")]


def run(case: Callable[[Rig], Awaitable[None]]) -> None:
    simulation = Simulation(1, limit_s=3000.0)
    simulation.boot("files", server.serve)
    host = simulation.boot("here")

    async def main() -> None:
        rig = Rig(simulation, host)
        await rig.files.create("out")
        await case(rig)

    simulation.run(main(), name="case")


def test_a_map_leaves_one_file_of_sorted_regions_and_says_their_sizes() -> None:
    async def case(rig: Rig) -> None:
        done = await rig.map()
        assert done.failure == pb.Completion.NONE, done.error
        assert await rig.on_disk() == ["job/map-00000.1"]
        assert len(done.region_sizes) == 2
        for region in (0, 1):
            wanted = pb.Regions(job="job", region=region, maps=[0], attempts=[1])
            chunks = [chunk async for chunk in rig.plane.fetch(wanted)]
            size = sum(len(chunk.data) for chunk in chunks)
            assert size <= from_byte(done.region_sizes[region]) <= 1.11 * size + 1
            assert [chunk.last for chunk in chunks] == [True]
        assert done.counters.values["map input records"] == 3
        assert done.input_bytes >= len(LINES)
        log = b"".join([chunk.data async for chunk in rig.plane.read_log(done.log)])
        assert log == b"seen a b a\nseen c\nseen b\n"

    run(case)


def test_a_reduce_commits_and_leaves_nothing_else() -> None:
    async def case(rig: Rig) -> None:
        await rig.map()
        for number in (0, 1):
            done = await rig.reduce(attempt=7 + number, number=number)
            assert done.failure == pb.Completion.NONE, done.error
        assert await rig.on_disk() == ["job/map-00000.1"]
        parts = await rig.names()
        assert parts == ["out/part-00000", "out/part-00001"]
        text = b"".join([await rig.files.read(part) for part in parts])
        assert sorted(text.splitlines()) == [b"a\t2", b"b\t2", b"c\t1"]

    run(case)


def test_of_two_executions_of_a_reduce_the_first_ones_bytes_stand_and_both_are_done() -> None:
    async def case(rig: Rig) -> None:
        await rig.map()
        await asyncio.gather(rig.reduce(attempt=7), rig.reduce(attempt=8))
        assert await rig.names() == ["out/part-00000"]
        assert not await rig.files.exists("out/.temporary/reduce-00000.7/part-00000")
        assert not await rig.files.exists("out/.temporary/reduce-00000.8/part-00000")

    run(case)


@pytest.mark.parametrize(
    ("line", "failure", "said", "record"),
    [
        (b"raise", pb.Completion.USER_CODE, "a bad line", 2),
        (b"die", pb.Completion.USER_CODE, "SIGSEGV", 2),
        (b"eat", pb.Completion.USER_CODE, "MemoryError", 2),
    ],
)
def test_what_user_code_does_counts_against_the_task_and_names_the_record(
    line: bytes, failure: int, said: str, record: int
) -> None:
    async def case(rig: Rig) -> None:
        done = await rig.map(b"a\nb\n" + line + b"\n")
        assert done.failure == failure, done.error
        assert said in done.error
        assert (done.bad_record.number, done.bad_record.kind, done.bad_record.task) == (record, pb.MAP, 0)
        assert done.bad_record.where == "in/text:4"
        assert done.log == "logs/job/map-00000.1"
        assert await rig.on_disk() == []
        done = await rig.map(job=rig.job(), attempt=2)
        assert done.failure == pb.Completion.NONE, "the next one gets a process that works"

    run(case)


def test_a_reduce_whose_process_dies_says_on_which_key() -> None:
    async def case(rig: Rig) -> None:
        await rig.map(b"a\ndeadly\nz\n", job=rig.job(reduce=fragile))
        done = await rig.reduce(attempt=2, number=0, job=rig.job(reduce=fragile))
        assert done.failure == pb.Completion.USER_CODE
        assert "SIGSEGV" in done.error
        assert "'deadly'" in done.bad_record.where

    run(case)


def test_a_record_that_is_to_be_skipped_is_and_is_named() -> None:
    async def case(rig: Rig) -> None:
        done = await rig.map(b"a\ndie\nb\n", skip=[1])
        assert done.failure == pb.Completion.NONE, done.error
        assert [(record.number, record.where) for record in done.skipped] == [(1, "in/text:2")]

    run(case)


def test_an_input_that_is_not_there_is_a_fault_of_the_input() -> None:
    async def case(rig: Rig) -> None:
        done = await rig.plane.map(rig.job(), rig.map_task()).run()
        assert done.failure == pb.Completion.INPUT
        assert "in/text" in done.error

    run(case)


def test_a_full_disk_is_a_fault_of_the_worker() -> None:
    async def case(rig: Rig) -> None:
        await rig.map()
        rig.simulation.machines["here"].disk.full = True
        assert (await rig.map(attempt=2)).failure == pb.Completion.WORKER
        done = await rig.reduce(attempt=3, number=1)
        assert done.failure == pb.Completion.WORKER
        assert "No space" in done.error
        assert await rig.on_disk() == ["job/map-00000.1"]

    run(case)


def test_a_record_that_ends_far_behind_its_split_is_read_to_its_end() -> None:
    async def case(rig: Rig) -> None:
        text = b"x" * 3_000_000 + b"\nnext\n"
        await rig.files.write("in/text", text)
        done = await rig.plane.map(rig.job(), rig.map_task(size=1000)).run()
        assert done.failure == pb.Completion.NONE, done.error
        assert done.counters.values["map input records"] == 1

    run(case)


def test_what_is_killed_ends_soon_and_leaves_no_files() -> None:
    async def case(rig: Rig) -> None:
        await rig.map()
        await rig.files.write("in/text", LINES * 100_000)
        loop = asyncio.get_running_loop()
        executions = [
            rig.plane.map(rig.job(), rig.map_task(attempt=2, size=len(LINES) * 100_000)),
            rig.plane.reduce(
                rig.job(), pb.Task(job="job", kind=pb.REDUCE, attempt=3, maps=2), lambda lost: None
            ),
        ]
        running = [asyncio.ensure_future(execution.run()) for execution in executions]
        await asyncio.sleep(0.1)
        killed = loop.time()
        for execution in executions:
            execution.kill("withdrawn")
        for done in await asyncio.gather(*running):
            assert (done.failure, done.error) == (pb.Completion.WORKER, "withdrawn")
        assert loop.time() - killed < 0.1
        assert await rig.on_disk() == ["job/map-00000.1"]

    run(case)


def test_after_a_restart_the_disk_holds_nothing_but_logs() -> None:
    async def case(rig: Rig) -> None:
        done = await rig.map()
        again = LocalData(rig.host, rig.files)
        await again.open()
        assert await rig.on_disk() == []
        assert [chunk.data async for chunk in again.read_log(done.log)] != []
        wanted = pb.Regions(job="job", maps=[0], attempts=[1])
        assert [chunk.missing async for chunk in again.fetch(wanted)] == [True]
        await again.close()

    run(case)


def test_a_job_that_is_over_leaves_nothing_but_logs() -> None:
    async def case(rig: Rig) -> None:
        done = await rig.map()
        await rig.plane.forget("job")
        assert await rig.on_disk() == []
        assert [chunk.data async for chunk in rig.plane.read_log(done.log)] != []

    run(case)


@pytest.mark.parametrize("path", ["job/map-00000.1", "logs/../job/map-00000.1", "/etc/passwd", "logs/none"])
def test_nothing_but_logs_is_read_as_a_log(path: str) -> None:
    async def case(rig: Rig) -> None:
        await rig.map()
        assert [chunk async for chunk in rig.plane.read_log(path)] == []

    run(case)
