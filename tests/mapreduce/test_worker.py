"""What a worker does with what its master says, and what it says itself; data is scripted."""

from __future__ import annotations

import asyncio
import struct

import pytest

from protos import mapreduce_pb2 as pb
from services.mapreduce.worker.outbox import Outbox
from tests.mapreduce.scripted import Rig, a_map, a_reduce, run, until


def test_it_registers_with_its_slots_and_says_how_tasks_ended() -> None:
    async def case(rig: Rig) -> None:
        await rig.up(map_slots=2, reduce_slots=1, rack="r7")
        first = rig.master.registrations[0]
        assert (first.worker, first.incarnation, first.rack) == ("w", 0, "r7")
        assert (first.map_slots, first.reduce_slots) == (2, 1)
        await rig.assign(a_map(3, 1))
        await until(lambda: bool(rig.master.calls))
        (done,) = rig.master.calls[0]
        assert (done.job, done.kind, done.number, done.attempt) == ("job", pb.MAP, 3, 1)
        assert (done.worker, done.incarnation, done.failure, done.output_bytes) == ("w", 0, 0, 7)

    run(case)


def test_a_task_assigned_twice_is_executed_once_also_when_it_has_ended() -> None:
    async def case(rig: Rig) -> None:
        await rig.up()
        await rig.assign(a_map(0, 1), a_map(0, 1))
        await rig.assign(a_map(0, 1))
        await until(lambda: bool(rig.master.calls))
        await rig.assign(a_map(0, 1))
        await asyncio.sleep(2)
        assert rig.events.count("begin 0.1") == 1
        assert rig.master.completions == [(0, 1)]

    run(case)


def test_tasks_sent_ahead_begin_in_order_as_slots_are_free() -> None:
    async def case(rig: Rig) -> None:
        await rig.up(map_slots=2)
        await rig.assign(*[a_map(n, n + 1) for n in range(5)])
        await asyncio.sleep(0.5)
        pong = await rig.ping()
        assert [(r.number, r.progress, dict(r.counters.values)) for r in pong.running] == [
            (0, 0.5, {"seen": 3}),
            (1, 0.5, {"seen": 3}),
        ]
        await until(lambda: len(rig.master.completions) == 5)
        begun = [event for event in rig.events if event.startswith("begin")]
        assert sorted(begun) == ["begin 0.1", "begin 1.2", "begin 2.3", "begin 3.4", "begin 4.5"]
        assert rig.events.index("begin 2.3") > rig.events.index("done 0.1")

    run(case)


def test_maps_and_reduces_have_slots_of_their_own() -> None:
    async def case(rig: Rig) -> None:
        await rig.up()
        await rig.assign(a_map(0, 1), a_reduce(0, 2, maps=9))
        await until(lambda: rig.events[1:] == ["begin 0.1", "begin 0.2"] or len(rig.events) > 2)
        assert set(rig.events[1:3]) == {"begin 0.1", "begin 0.2"}

    run(case)


def test_what_is_withdrawn_ends_and_is_not_reported() -> None:
    async def case(rig: Rig) -> None:
        await rig.up()
        await rig.assign(a_map(0, 1), a_map(1, 2), a_map(2, 3))
        await asyncio.sleep(0.5)
        await rig.worker.Withdraw(pb.Tasks(tasks=[a_map(0, 1), a_map(1, 2), a_map(9, 99)]))
        await until(lambda: bool(rig.master.calls))
        assert rig.master.completions == [(2, 3)]
        assert rig.events[1:4] == ["begin 0.1", "withdrawn 0.1", "begin 2.3"]
        await rig.assign(a_map(9, 99))  # its assignment comes after its end
        await asyncio.sleep(2)
        assert "begin 9.99" not in rig.events

    run(case)


def test_a_completion_is_told_until_the_master_has_it() -> None:
    """The reply is lost, or the master is away: told twice is as good as told once (3.3)."""

    async def case(rig: Rig) -> None:
        await rig.up()
        rig.master.replies_lost = 3
        await rig.assign(a_map(0, 1))
        await until(lambda: len(rig.master.calls) == 4)
        await asyncio.sleep(5)
        assert rig.master.completions == [(0, 1)] * 4

    run(case)


@pytest.mark.parametrize("turns", range(8))
def test_a_completion_is_sent_at_whatever_moment_it_comes(turns: int) -> None:
    """Also when the one before has just been confirmed, and whoever sent it is about to end."""

    class Confirms:
        def __init__(self) -> None:
            self.told: list[int] = []

        async def Complete(self, request: pb.Completions, timeout: float) -> pb.Ack:
            self.told += [done.attempt for done in request.completions]
            return pb.Ack()

    async def case() -> None:
        master = Confirms()
        outbox = Outbox(master, lambda: None)  # type: ignore[arg-type]
        outbox.complete(pb.Completion(job="job", attempt=1))
        for _ in range(turns):
            await asyncio.sleep(0)
        outbox.complete(pb.Completion(job="job", attempt=2))
        await outbox.flush()
        assert (master.told, outbox.waiting) == ([1, 2], [])

    asyncio.run(case())


def test_completions_that_wait_for_the_master_come_in_one_message() -> None:
    async def case(rig: Rig) -> None:
        await rig.up(map_slots=50)
        await rig.assign(*[a_map(n, n + 1) for n in range(50)])
        await asyncio.sleep(0.5)
        rig.simulation.network.cut("w", "master")
        await asyncio.sleep(1)
        rig.simulation.network.heal("w", "master")
        await until(lambda: len(set(rig.master.completions)) == 50)
        assert max(len(call) for call in rig.master.calls) >= 40

    run(case)


def test_a_silent_master_is_registered_with_again_with_all_that_is_executed() -> None:
    async def case(rig: Rig) -> None:
        rig.master.job.settings["seconds"] = "60"
        await rig.up(ping_timeout_s=2.0)
        await rig.assign(a_map(0, 1), a_map(1, 2))
        await until(lambda: len(rig.master.registrations) == 3)
        assert 4.0 <= asyncio.get_running_loop().time() < 5.0
        assert [(r.number, r.attempt) for r in rig.master.registrations[-1].running] == [(0, 1), (1, 2)]
        for _ in range(20):
            await asyncio.sleep(0.5)
            await rig.ping()
        assert len(rig.master.registrations) == 3, "it is not silent"

    run(case)


def test_a_ping_of_a_restarted_master_is_answered_with_a_registration_at_once() -> None:
    async def case(rig: Rig) -> None:
        await rig.up(ping_timeout_s=100.0)
        await rig.ping()
        rig.master.incarnation = 1
        await rig.ping()
        await until(lambda: len(rig.master.registrations) == 2)
        assert asyncio.get_running_loop().time() < 1.0
        await rig.ping()
        await asyncio.sleep(1)
        assert len(rig.master.registrations) == 2

    run(case)


def test_a_completion_that_nobody_has_confirmed_is_part_of_the_registration() -> None:
    async def case(rig: Rig) -> None:
        await rig.up()
        await rig.assign(a_map(0, 1))
        await asyncio.sleep(0.5)
        rig.simulation.network.cut("w", "master")
        await until(lambda: "done 0.1" in rig.events)
        await asyncio.sleep(3)
        before = len(rig.master.registrations)
        rig.simulation.network.heal("w", "master")
        await until(lambda: len(rig.master.registrations) > before)
        running = [(r.number, r.progress) for r in rig.master.registrations[-1].running]
        assert running == [(0, 1.0)] or rig.master.completions

    run(case)


def columns(
    *entries: tuple[int, int, int, int], names: list[str], lost: list[tuple[int, int]]
) -> pb.Locations:
    maps, workers, attempts, sizes = zip(*entries, strict=True) if entries else ((), (), (), ())
    return pb.Locations(
        maps=struct.pack(f"<{len(maps)}I", *maps),
        workers=struct.pack(f"<{len(maps)}I", *workers),
        attempts=struct.pack(f"<{len(maps)}Q", *attempts),
        sizes=bytes(sizes),
        names=names,
        lost=[number for number, _ in lost],
        lost_attempts=[attempt for _, attempt in lost],
    )


def test_a_reduce_hears_where_map_outputs_are_and_which_are_lost() -> None:
    async def case(rig: Rig) -> None:
        rig.master.job.settings["seconds"] = "60"
        rig.master.locations = [
            columns((0, 1, 5, 9), (2, 0, 1 << 40, 0), names=["a", "b"], lost=[]),
            None,  # the stream breaks, and is opened again
            columns((0, 0, 6, 9), names=["c"], lost=[(0, 5), (2, 1 << 40)]),
            columns((1, 0, 7, 1), (2, 0, 8, 1), names=["a"], lost=[]),
        ]
        await rig.up()
        await rig.assign(a_reduce(0, 1, maps=3))
        await until(lambda: bool(rig.master.calls))
        assert rig.events[1:] == [
            "begin 0.1",
            "offer [0, 2]",
            "lost [0, 2]",
            "offer [0]",
            "offer [1, 2]",
            "done 0.1",
        ]

    run(case)


def test_a_reduce_that_cannot_hear_of_map_outputs_fails_instead_of_waiting_for_ever() -> None:
    async def case(rig: Rig) -> None:
        rig.master.locations = [pb.Locations(maps=b"no number")]
        await rig.up()
        await rig.assign(a_reduce(0, 1, maps=1))
        await until(lambda: bool(rig.master.calls))
        assert rig.master.completions == [(0, 1)]
        assert rig.master.calls[0][0].failure == pb.Completion.WORKER

    run(case)


def test_a_job_that_the_master_does_not_know_is_not_executed() -> None:
    async def case(rig: Rig) -> None:
        rig.master.job = None
        await rig.up()
        await rig.assign(a_map(0, 1))
        await asyncio.sleep(3)
        assert (rig.events, rig.master.calls) == (["open"], [])

    run(case)


def test_a_job_that_is_over_is_forgotten_and_no_late_message_wakes_it() -> None:
    async def case(rig: Rig) -> None:
        await rig.up()
        await rig.assign(a_map(0, 1), a_map(1, 2))
        await asyncio.sleep(0.5)
        await rig.worker.Forget(pb.JobId(job="job"))
        await rig.assign(a_map(2, 3))
        await asyncio.sleep(3)
        assert set(rig.events) == {"open", "begin 0.1", "the job is over 0.1", "forget job"}
        assert rig.master.calls == []
        assert (await rig.ping()).running == []

    run(case)


def test_a_fault_of_the_workers_own_is_a_failure_of_the_worker() -> None:
    async def case(rig: Rig) -> None:
        await rig.up(fails=True)
        await rig.assign(a_map(0, 1))
        await until(lambda: bool(rig.master.calls))
        (done,) = rig.master.calls[0]
        assert done.failure == pb.Completion.WORKER
        assert "a fault of ours" in done.error

    run(case)


def test_it_leaves_in_order_when_it_is_told_to_end() -> None:
    """What can be ended soon is ended and told; what waits, and what takes long, is given back."""

    async def case(rig: Rig) -> None:
        await rig.up()
        await rig.assign(a_map(0, 1), a_map(1, 2))
        await asyncio.sleep(0.5)
        await rig.machine.stop()
        assert rig.master.registrations[-1].leaving
        assert rig.master.completions == [(0, 1)]
        assert rig.events == ["open", "begin 0.1", "done 0.1", "close"]

    run(case)


def test_it_does_not_wait_for_long_when_it_is_told_to_end() -> None:
    async def case(rig: Rig) -> None:
        rig.master.job.settings["seconds"] = "60"
        await rig.up()
        await rig.assign(a_map(0, 1))
        await asyncio.sleep(0.5)
        await rig.machine.stop()
        assert asyncio.get_running_loop().time() < 3.5
        assert rig.master.completions == []
        assert rig.events[-2:] == ["the worker leaves 0.1", "close"]

    run(case)


@pytest.mark.parametrize("after", [0.0, 0.0003, 0.5, 1.0, 1.0003])
def test_killed_at_any_moment_it_comes_back_with_nothing(after: float) -> None:
    async def case(rig: Rig) -> None:
        await rig.up()
        await rig.assign(a_map(0, 1))
        await asyncio.sleep(after)
        rig.machine.crash()
        await asyncio.sleep(0.1)
        await rig.up()
        last = rig.master.registrations[-1]
        assert (last.incarnation, list(last.running)) == (1, [])
        await rig.assign(a_map(0, 2))
        await until(lambda: (0, 2) in rig.master.completions)

    run(case)


def test_others_read_regions_and_logs_from_it() -> None:
    async def case(rig: Rig) -> None:
        await rig.up()
        regions = [
            chunk async for chunk in rig.worker.Fetch(pb.Regions(job="job", maps=[4, 5], attempts=[1, 1]))
        ]
        assert [(chunk.map, chunk.data) for chunk in regions] == [(4, b"region"), (5, b"region")]
        log = [chunk.data async for chunk in rig.worker.ReadLog(pb.LogRequest(log="logs/x"))]
        assert log == [b"logs/x"]

    run(case)
