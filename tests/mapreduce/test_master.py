"""The master, one situation at a time, with workers that do as they are told, or not (MapReduce 3 and 4)."""

from __future__ import annotations

import asyncio

import pytest

from services.mapreduce import client
from services.mapreduce.client import JobCancelled, JobFailed
from services.mapreduce.master.backups import Rule
from services.mapreduce.master.state import Kind
from sim.faults import Crash, DiskFull, Isolate, LoseReply, Slow

from .rig import Rig, check_story


def test_a_job_is_done_when_all_of_its_tasks_are() -> None:
    rig = Rig()
    outcome = rig.run(Rig.do)
    check_story(rig.notes, rig.files, outcome, 6, 2)
    assert (outcome.executions, outcome.backups, outcome.workers) == (8, 0, 3)
    assert (outcome.input_bytes, outcome.total_input_bytes) == (600, 600)
    assert 0 < outcome.map_phase_s < outcome.elapsed_s


def test_an_empty_input_gives_empty_parts() -> None:
    rig = Rig(maps=0)
    outcome = rig.run(Rig.do)
    check_story(rig.notes, rig.files, outcome, 0, 2)


def test_a_map_only_job_has_one_part_a_map() -> None:
    rig = Rig()
    rig.run(lambda rig: rig.do(rig.job(reduces=0)))
    assert [path for path in sorted(rig.files.data) if "part" in path] == [
        f"out/part-{n:05}" for n in range(6)
    ]


# What is refused


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"reduces": -1}, "the number of reduces must be from 0 to 100,000, not -1"),
        ({"split_bytes": -5}, "the split size must be at least 1 byte, not -5"),
        ({"max_attempts": -1}, "the number of attempts must be at least 1, not -1"),
        ({"inputs": ["in", "nowhere", "nor/here"]}, "no such input: nowhere, nor/here"),
        ({"inputs": []}, "a job needs at least one input"),
        ({"output": ""}, "a job needs an output folder"),
        ({"settings": {"dsim.input.splits": "["}}, "truncated"),
    ],
)
def test_a_job_that_makes_no_sense_is_refused_in_one_line(wrong, said) -> None:
    rig = Rig(1)
    with pytest.raises(ValueError, match=said) as refused:
        rig.run(lambda rig: rig.do(rig.job(**wrong)))
    assert "\n" not in str(refused.value)
    assert rig.files.folders == set()


def test_a_huge_number_of_maps_is_refused_with_a_split_size_that_would_do() -> None:
    rig = Rig(1, maps=20_000)
    with pytest.raises(ValueError, match=r"2,000,000 map tasks.*at least 4 bytes"):
        rig.run(lambda rig: rig.do(rig.job(split_bytes=1)))


def test_an_output_folder_that_exists_is_refused() -> None:
    async def story(rig: Rig):
        await rig.files.create("out")
        await rig.do()

    with pytest.raises(ValueError, match="the output folder exists already: out"):
        Rig(1).run(story)


def test_a_submission_whose_answer_is_lost_starts_one_job() -> None:
    async def story(rig: Rig):
        rig.faults.inject(LoseReply(host="master", method="Submit", count=2))
        return await rig.do()

    rig = Rig()
    rig.run(story)
    assert len(rig.noted("job started")) == 1


# Workers fail


def test_3_3_completed_maps_of_a_dead_worker_are_executed_again() -> None:
    async def story(rig: Rig):
        job = rig.start()
        await rig.until("completed", kind="map", worker="w0")
        rig.faults.inject(Crash(host="w0"))
        return await job

    rig = Rig(maps=12, worker={"slots": 1})
    outcome = rig.run(story)
    check_story(rig.notes, rig.files, outcome, 12, 2)
    assert rig.noted("worker failed", worker="w0", why="silent")
    assert rig.noted("reopened", kind="map", worker="w0")
    assert list(outcome.failed_workers) == ["w0"]


def test_a_restarted_worker_is_another_worker() -> None:
    async def story(rig: Rig):
        job = rig.start()
        await rig.until("completed", kind="map", worker="w0")
        rig.faults.lift(rig.faults.inject(Crash(host="w0")))
        return await job

    rig = Rig(maps=12, worker={"slots": 1})
    check_story(rig.notes, rig.files, rig.run(story), 12, 2)
    assert rig.noted("worker failed", worker="w0", why="restarted")
    assert rig.noted("worker registered", worker="w0", incarnation=1)


def test_a_worker_thought_dead_comes_back_and_its_late_completions_change_nothing() -> None:
    async def story(rig: Rig):
        job = rig.start()
        await rig.until("assigned", worker="w0")
        cut = rig.faults.inject(Isolate(host="w0"))
        await rig.until("worker failed", worker="w0")
        rig.faults.lift(cut)
        return await job

    rig = Rig(maps=30, worker={"slots": 1, "seconds": 1.0})
    check_story(rig.notes, rig.files, rig.run(story), 30, 2)
    assert rig.noted("ignored", worker="w0")


def test_4_9_completions_said_twice_are_counted_once() -> None:
    rig = Rig(maps=20, worker={"wrong": {"repeat": 1.0}})
    check_story(rig.notes, rig.files, rig.run(Rig.do), 20, 2)
    assert rig.noted("ignored")


def test_a_worker_whose_machine_fails_often_is_no_longer_used() -> None:
    async def story(rig: Rig):
        await rig.until("worker registered", worker="w0")
        rig.workers["w0"].wrong = {"machine": 1.0}
        return await rig.do()

    rig = Rig(maps=60)
    check_story(rig.notes, rig.files, rig.run(story), 60, 2)
    (ban,) = rig.noted("worker banned")
    assert ban["worker"] == "w0"
    after = rig.notes[rig.notes.index(("worker banned", ban)) :]
    assert not [f for n, f in after if n == "assigned" and f["worker"] == "w0"]


def test_but_never_the_last_worker() -> None:
    async def story(rig: Rig):
        await rig.until("worker registered", worker="w0")
        rig.workers["w0"].wrong = {"machine": 0.4}
        return await rig.do()

    rig = Rig(1, maps=12)
    check_story(rig.notes, rig.files, rig.run(story), 12, 2)
    assert len(rig.noted("failed", mishap=True)) > 4


def test_without_any_worker_for_long_a_job_fails_instead_of_waiting_for_ever() -> None:
    rig = Rig(0)
    with pytest.raises(JobFailed, match="no worker left for 20 s"):
        rig.run(Rig.do)
    assert rig.files.folders == set(), "not even an empty folder is left"


def test_a_task_that_workers_die_of_is_named_when_none_is_left() -> None:
    async def story(rig: Rig):
        job = rig.start()
        for number in range(2):
            assigned = await rig.until("assigned", kind="map", number=0, worker=f"w{number}")
            rig.faults.inject(Crash(host=assigned["worker"]))
            rig.add(f"w{number + 1}", seconds=100.0)
        await rig.until("assigned", worker="w2")
        rig.faults.inject(Crash(host="w2"))
        await job

    rig = Rig(1, maps=1, worker={"seconds": 100.0})
    with pytest.raises(JobFailed, match=r"20 s; .* workers were executing map task 0 \(3 times\)"):
        rig.run(story)


def test_when_the_last_worker_dies_too() -> None:
    async def story(rig: Rig):
        job = rig.start()
        await rig.until("completed")
        rig.faults.inject(Crash(host="w0"))
        await job

    rig = Rig(1)
    with pytest.raises(JobFailed, match="no worker left"):
        rig.run(story)
    assert "out/_SUCCESS" not in rig.files.data


# Workers come and go


def test_a_worker_that_joins_gets_work() -> None:
    async def story(rig: Rig):
        job = rig.start()
        await rig.until("completed")
        rig.add("late")
        return await job

    rig = Rig(1, maps=20)
    check_story(rig.notes, rig.files, rig.run(story), 20, 2)
    assert rig.noted("completed", worker="late")


def test_a_worker_that_leaves_gets_no_more_work_and_its_outputs_stay_until_it_is_gone() -> None:
    async def story(rig: Rig):
        job = rig.start()
        await rig.until("completed", worker="w0")
        rig.workers["w0"].leaving = True
        await rig.workers["w0"].register()
        await rig.until("worker leaving", worker="w0")
        await rig.until("completed", kind="map", number=25)
        assert not rig.noted("reopened")
        rig.faults.inject(Crash(host="w0"))
        return await job

    rig = Rig(2, maps=30)
    check_story(rig.notes, rig.files, rig.run(story), 30, 2)
    leaving = rig.noted("worker leaving")[0]
    after = rig.notes[rig.notes.index(("worker leaving", leaving)) :]
    assert not [f for n, f in after if n == "assigned" and f["worker"] == "w0"]
    assert rig.noted("worker failed", worker="w0", why="left")
    assert rig.noted("reopened", worker="w0")


# User code fails


def test_a_task_that_fails_four_times_ends_the_job_which_names_task_error_and_log() -> None:
    async def story(rig: Rig):
        await rig.until("worker registered", worker="w0")
        rig.workers["w0"].wrong = {"user": 1.0}
        await rig.do()

    rig = Rig(1)
    said = (
        r"map task 0 failed 4 times; the last time: ValueError: no \(on worker w0\); log: out/_logs/map-00000"
    )
    with pytest.raises(JobFailed, match=said) as failed:
        rig.run(story)
    path = str(failed.value).rpartition("log: ")[2]
    assert rig.files.data[path].startswith(b"log log-")
    assert failed.value.__notes__ == [rig.files.data[path].decode()]
    assert [path for path in rig.files.data if "_SUCCESS" in path or ".temporary" in path] == []


def test_4_6_a_record_that_kills_twice_is_skipped_and_the_result_says_which() -> None:
    async def story(rig: Rig):
        await rig.until("worker registered", worker="w1")
        for worker in rig.workers.values():
            worker.bad = {17: "SIGSEGV"}
        return await rig.do(rig.job(skip_bad_records=True))

    rig = Rig(2, maps=3)
    outcome = rig.run(story)
    check_story(rig.notes, rig.files, outcome, 3, 2)
    assert [(bad.task, bad.number) for bad in outcome.skipped] == [(0, 17), (1, 17), (2, 17)]
    assert len(rig.noted("failed", kind="map")) == 6, "two reports each"
    assert len(rig.noted("skipping", record=17)) == 3


def test_4_6_only_when_the_user_asks_for_it() -> None:
    async def story(rig: Rig):
        await rig.until("worker registered", worker="w1")
        for worker in rig.workers.values():
            worker.bad = {17: "SIGSEGV"}
        await rig.do()

    with pytest.raises(JobFailed, match="killed by SIGSEGV"):
        Rig(2, maps=3).run(story)


def test_a_cancelled_job_leaves_nothing() -> None:
    async def story(rig: Rig):
        job = rig.start()
        done = await rig.until("completed")
        await client.cancel(rig.user, "master", done["job"])
        with pytest.raises(JobCancelled, match="cancelled"):
            await job
        await asyncio.sleep(1.0)

    rig = Rig(maps=30)
    rig.run(story)
    assert rig.files.data == {}
    assert rig.files.folders == set()
    assert not any(worker.running for worker in rig.workers.values())


def test_a_client_that_is_cancelled_cancels_its_job() -> None:
    async def story(rig: Rig):
        job = rig.start()
        await rig.until("completed")
        job.cancel()
        with pytest.raises(asyncio.CancelledError):
            await job

    rig = Rig(maps=30)
    rig.run(story)
    assert rig.noted("job finished", state="cancelled")


# Backups


def test_3_6_a_straggler_is_overtaken_by_a_backup_and_told_to_stop() -> None:
    async def story(rig: Rig):
        await rig.until("worker registered", worker="w2")
        rig.workers["w0"].seconds = 100.0
        return await rig.do()

    rig = Rig(maps=12, worker={"slots": 1})
    outcome = rig.run(story)
    check_story(rig.notes, rig.files, outcome, 12, 2)
    assert outcome.elapsed_s < 20
    assert 1 <= outcome.backups <= 10
    assert rig.noted("withdrawn", worker="w0")
    for backup in rig.noted("assigned", backup=True):
        before = rig.notes[: rig.notes.index(("assigned", backup))]
        given = {f["number"] for n, f in before if n == "assigned" and f["kind"] == backup["kind"]}
        assert len(given) == (12 if backup["kind"] == "map" else 2), "some were still idle"


def test_without_backups_everybody_waits_for_the_straggler() -> None:
    async def story(rig: Rig):
        await rig.until("worker registered", worker="w2")
        rig.workers["w0"].seconds = 100.0
        return await rig.do(rig.job(no_backups=True))

    outcome = Rig(maps=12, worker={"slots": 1}).run(story)
    assert outcome.backups == 0
    assert outcome.elapsed_s > 50


def test_backups_cost_little_and_change_no_counter() -> None:
    rig = Rig(5, maps=100, worker={"seconds": 2.0}, backups=Rule(share=0.05))
    outcome = rig.run(Rig.do)
    check_story(rig.notes, rig.files, outcome, 100, 2)
    assert outcome.backups <= 10


# Locality


def test_3_4_maps_go_where_their_input_is_then_to_its_rack_then_anywhere() -> None:
    async def story(rig: Rig):
        for number in range(4):
            rig.add(f"w{number}", rack=f"rack{number // 2}", slots=1)
        await asyncio.sleep(1.0)
        return await rig.do()

    rig = Rig(0, maps=40)
    rig.files.hosts = {f"in/a:{100 * n}": (f"w{n % 2}",) for n in range(40)}  # all on rack0
    rig.run(story)
    near = {
        name: rig.noted("assigned", kind="map", near=name) for name in ("data-local", "rack-local", "remote")
    }
    assert {f["worker"] for f in near["data-local"]} == {"w0", "w1"}
    assert {f["worker"] for f in near["remote"]} == {"w2", "w3"}
    for fields in near["data-local"]:
        assert fields["worker"] == f"w{fields['number'] % 2}"


def test_3_4_most_input_is_read_locally_when_every_host_has_some() -> None:
    rig = Rig(6, maps=120, worker={"slots": 1})
    rig.files.hosts = {f"in/a:{100 * n}": tuple(f"w{(n + k) % 6}" for k in (0, 1, 3)) for n in range(120)}
    rig.run(Rig.do)
    assert len(rig.noted("assigned", kind="map", near="data-local")) > 110


def test_3_4_maps_that_come_back_go_to_the_idle_workers_that_have_their_input() -> None:
    async def story(rig: Rig):
        for number in range(8):
            rig.add(f"w{number}", slots=1)
        await asyncio.sleep(1.0)
        job = rig.start()
        for number in range(16):
            await rig.until("completed", kind="map", number=number)
        before = len(rig.noted("assigned", kind="map"))
        rig.faults.inject(Crash(host="w7"))
        await rig.until("reopened")
        await asyncio.sleep(0.0)
        again = rig.noted("assigned", kind="map")[before:]
        await job
        return again

    rig = Rig(0, maps=16, worker={"seconds": 3.0})
    rig.files.hosts = {f"in/a:{100 * n}": ("w7", f"w{6 - n % 7}") for n in range(16)}
    again = rig.run(story)
    assert again
    assert {fields["near"] for fields in again} == {"data-local"}, again


@pytest.mark.parametrize("holder", ["w1", "w5"])
def test_3_4_and_3_6_a_backup_runs_where_the_input_is_when_that_worker_is_free(holder) -> None:
    rig = Rig(0, maps=12, backups=Rule(share=0.5))

    async def story(rig: Rig):
        for number in range(6):
            rig.add(f"w{number}", slots=1, seconds=60.0 if number == 0 else 1.0)
        return await rig.do()

    rig.files.hosts = {f"in/a:{100 * n}": ("w0", holder) if n < 2 else () for n in range(12)}
    rig.run(story)
    backups = rig.noted("assigned", kind="map", backup=True)
    assert {f["worker"] for f in backups if f["number"] < 2} == {holder}, backups


# The master fails


def test_a_restarted_master_goes_on_with_the_job_and_takes_over_what_is_running() -> None:
    async def story(rig: Rig):
        job = rig.start()
        await rig.until("completed", kind="map", number=6)
        await asyncio.sleep(0.2)  # until that is durable
        rig.faults.lift(rig.faults.inject(Crash(host="master")))
        return await job

    rig = Rig(maps=18, worker={"seconds": 1.0})
    check_story(rig.notes, rig.files, rig.run(story), 18, 2)
    assert rig.noted("job started", recovered=True)
    assert rig.noted("adopted")
    attempts = [f["attempt"] for f in rig.noted("assigned")]
    assert len(set(attempts)) == len(attempts), "numbers are unique over restarts"
    restart = rig.notes.index(("job started", rig.noted("job started", recovered=True)[0]))
    before = {f["number"] for n, f in rig.notes[:restart] if n == "completed" and f["kind"] == "map"}
    again = {f["number"] for n, f in rig.notes[restart:] if n == "assigned" and f["kind"] == "map"}
    assert len(before & again) <= 1, "what was durable was executed again"


def test_maps_of_a_worker_that_died_with_the_master_are_executed_again() -> None:
    async def story(rig: Rig):
        job = rig.start()
        await rig.until("completed", kind="map", worker="w0")
        await asyncio.sleep(0.2)
        rig.faults.inject(Crash(host="w0"))
        rig.faults.lift(rig.faults.inject(Crash(host="master")))
        return await job

    rig = Rig(maps=18)
    check_story(rig.notes, rig.files, rig.run(story), 18, 2)
    assert rig.noted("reopened", worker="w0")


def test_a_job_that_was_over_before_the_crash_stays_over() -> None:
    async def story(rig: Rig):
        outcome = await rig.do()
        rig.faults.lift(rig.faults.inject(Crash(host="master")))
        again = [report async for report in client.watch(rig.user, "master", outcome.job)]
        assert again == [outcome]
        assert await client.submit(rig.user, "master", rig.job(id=outcome.job)) == outcome.job

    rig = Rig()
    rig.run(story)
    assert len(rig.noted("job started")) == 1


def test_a_master_that_dies_while_it_claims_the_output_folder_knows_it_as_its_own() -> None:
    async def story(rig: Rig):
        create = rig.files.create

        async def create_and_die(path, exclusive=False):
            await create(path, exclusive)
            rig.files.create = create
            rig.faults.lift(rig.faults.inject(Crash(host="master")))
            await asyncio.sleep(1.0)

        rig.files.create = create_and_die
        return await rig.do()

    rig = Rig()
    check_story(rig.notes, rig.files, rig.run(story), 6, 2)


def test_a_master_that_never_comes_back_is_given_up_in_one_line() -> None:
    async def story(rig: Rig):
        rig.faults.inject(Crash(host="master"))
        await client.run(rig.user, "master", rig.job(), patience_s=10.0)

    with pytest.raises(JobFailed, match="the master on master has not answered for 10 s"):
        Rig().run(story)


def test_a_full_disk_of_the_master_delays_acknowledgements_but_not_the_job() -> None:
    async def story(rig: Rig):
        job = rig.start()
        await rig.until("completed")
        full = rig.faults.inject(DiskFull(host="master"))
        await rig.until("checkpoint failed")
        await asyncio.sleep(2.0)
        rig.faults.lift(full)
        return await job

    rig = Rig(maps=20)
    check_story(rig.notes, rig.files, rig.run(story), 20, 2)


# Many


def test_two_jobs_share_the_workers() -> None:
    async def story(rig: Rig):
        return await asyncio.gather(rig.do(), rig.do(rig.job(output="other")))

    outcomes = Rig(maps=20).run(story)
    assert [outcome.maps_completed for outcome in outcomes] == [20, 20]


def test_tiny_tasks_are_sent_ahead_in_batches() -> None:
    rig = Rig(2, maps=400, worker={"slots": 1, "seconds": 0.001})
    outcome = rig.run(Rig.do)
    assert outcome.maps_completed == 400
    assert sum(worker.assigned for worker in rig.workers.values()) < 40, "calls for 402 tasks"


def test_the_status_page_sees_jobs_workers_and_attempts() -> None:
    async def story(rig: Rig):
        await rig.until("worker registered", worker="w2")
        rig.workers["w0"].wrong = {"user": 1.0}
        job = rig.start()
        failed = await rig.until("failed")
        rig.workers["w0"].wrong = {}
        view = rig.master.view
        assert [worker.name for worker in view.workers()] == ["w0", "w1", "w2"]
        assert sum(worker.running for worker in view.workers()) == len(
            [attempt for attempt in view.running(failed["job"]) if attempt.state == "running"]
        )
        assert [progress.maps for progress in view.jobs()] == [30]
        attempt = next(a for a in view.failed(failed["job"]) if a.attempt == failed["attempt"])
        assert (attempt.worker, attempt.error) == ("w0", "ValueError: no")
        (task,) = view.tasks(failed["job"], Kind.MAP, failed["number"], 1)
        assert task.failures == 1
        log = view.log(failed["job"], Kind.MAP, failed["number"], failed["attempt"])
        assert b"".join([data async for data in log]) == f"log log-{failed['attempt']}".encode()
        rig.faults.inject(Crash(host="w1"))
        await rig.until("worker failed", worker="w1")
        assert [gone.name for gone in view.failed_workers()] == ["w1"]
        await job

    Rig(maps=30).run(story)


def test_a_slow_master_is_not_mistaken_for_a_dead_one() -> None:
    async def story(rig: Rig):
        rig.faults.inject(Slow(host="master", cpu=20.0))
        return await rig.do()

    rig = Rig()
    check_story(rig.notes, rig.files, rig.run(story), 6, 2)
    assert not rig.noted("worker failed")


def test_the_same_seed_gives_the_same_notes() -> None:
    def notes():
        rig = Rig(maps=20, seed=3, worker={"wrong": {"repeat": 0.5, "machine": 0.1}})
        rig.run(Rig.do)
        return rig.notes

    assert notes() == notes()
